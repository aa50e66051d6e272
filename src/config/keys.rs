//! `partition_key` of a route.

use cosmos_bridge_options::{
    Form, Kind, Table, Value, field_template, integer, kind, list, options, path, path_from,
    read_json, read_path, table_like,
};
use cosmos_bridge_sink::{KeyValue, Piece};
use serde_json::json;
use toml::de::DeValue;

use super::masks::Mask;
use super::{Path, Template};

/// How one level of the target's partition key is made.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRule {
    /// The target's key path, top level or nested: `/customer/region`.
    pub path: Path,
    pub value: KeySource,
    /// Appends `-<bucket>` to the value, to spread a hot key.
    pub buckets: Option<Buckets>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// The field at `path` itself.
    Keep,
    /// Another field, copied to `path` with its type.
    From(Path),
    /// Several fields joined to a text.
    Template(Template),
    Constant(KeyValue),
}

options! {
    /// A stable hash of a field, modulo `count`, which is appended to the value to spread a hot key.
    pub struct Buckets {
        /// The number of buckets.
        // One bucket spreads nothing; each bucket is a partition key value to be queried.
        count: u32 = required(BUCKETS), integer(2..=10_000);
        /// The field whose hash selects the bucket.
        of: Path = required(BUCKETS), path();
    }
}

options! {
    struct Level {
        /// The target's key path.
        path: Path = required("Write path = \"/FIELD\"."), path();
        /// Several fields joined to a text.
        template: Option<Template> = optional, field_template().check(is_short_key),
            example "{/customerId}-{/status}";
        /// Another field, with its type.
        from: Option<Path> = optional, path(), example "/customerId";
        /// A text, a number, true or false.
        constant: Option<KeyValue> = optional, constant(), example "order";
        /// Spreads a hot key.
        buckets: Option<Buckets> = optional, table_like("a table", BUCKETS),
            example { count = 16, of = "/id" };
    }
    rules(table) {
        level_is_sound(table, path.as_ref());
    }
}

const BUCKETS: &str = "Write buckets = { count = 16, of = \"/id\" }.";
const LEVEL: &str = "Write \"/region\" or { path = \"/region\", .. }.";

pub(super) fn partition_key() -> impl Kind<Output = Vec<KeyRule>> {
    /// The service allows three levels of hierarchy.
    const LEVELS: usize = 3;
    list(rule()).check(|value, rules: &Vec<KeyRule>| {
        for (index, rule) in rules.iter().enumerate() {
            for earlier in rules.iter().take(index) {
                overlap(value, index, &earlier.path, &rule.path);
            }
        }
        if rules.len() > LEVELS {
            let message = format!("the key has {} levels", rules.len());
            value.problem(message, "The service allows one to three.");
        }
        true
    })
}

/// Reports two levels of which one holds the other.
fn overlap(value: &Value<'_>, index: usize, one: &Path, other: &Path) {
    let items = value.list().unwrap_or_default();
    let Some(item) = items.get(index) else { return };
    if one == other {
        item.problem(format!("the key has {one} twice"), "Name every level once.");
    } else if one.covers(other) || other.covers(one) {
        let message = format!("{one} and {other} cannot both hold a value of the key");
        item.problem(message, "One of them lies inside the other.");
    }
}

fn rule() -> impl Kind<Output = KeyRule> {
    let level = || table_like::<Level>("a path or a table", LEVEL);
    kind(Form::Either(vec![path().form(), level().form()]), move |value| {
        if value.node().is_str() {
            let path = read_path(value)?;
            return Some(KeyRule { path, value: KeySource::Keep, buckets: None });
        }
        let Level { path, template, from, constant, buckets } = level().read(value)?;
        let value = match (template, from, constant) {
            (Some(template), ..) => KeySource::Template(template),
            (None, Some(from), _) => KeySource::From(from),
            (None, None, Some(constant)) => KeySource::Constant(constant),
            (None, None, None) => KeySource::Keep,
        };
        Some(KeyRule { path, value, buckets })
    })
}

fn level_is_sound(table: &Table<'_>, path: Option<&Path>) {
    let sources = ["template", "from", "constant"].iter().filter(|key| table.get(key).is_some());
    let sources = sources.count();
    if sources > 1 {
        table.value().problem(
            "the value of this level comes from more than one place",
            "Keep one of template, from and constant.",
        );
    } else if path.is_some_and(is_id) && (sources == 1 || table.get("buckets").is_some()) {
        table.value().problem(
            "only `id` of a route changes a document's id",
            "Write the template as the route's id, and \"/id\" as the level.",
        );
    }
}

/// The service's longest partition key value, in bytes.
/// <https://learn.microsoft.com/azure/cosmos-db/concepts-limits#per-item-limits>
pub(crate) const KEY_BYTES_MAX: usize = 2048;

/// The service's longest id, in bytes.
/// <https://learn.microsoft.com/azure/cosmos-db/concepts-limits#per-item-limits>
pub(crate) const ID_BYTES_MAX: usize = 1023;

fn constant() -> impl Kind<Output = KeyValue> {
    let schema = json!({ "type": ["string", "number", "boolean"] });
    kind(Form::of("text, a number, true or false", schema), key_value)
}

fn key_value(value: &Value<'_>) -> Option<KeyValue> {
    let key = match value.node() {
        DeValue::Array(_) | DeValue::Table(_) => None,
        _ => KeyValue::from_json(Some(&read_json(value)?)),
    };
    match key {
        None => value.problem(
            "the service allows no such value in a key",
            "Write text, a number, true or false.",
        ),
        Some(KeyValue::String(ref text)) if text.len() > KEY_BYTES_MAX => {
            let message = format!("a value of a key has at most {KEY_BYTES_MAX} bytes");
            value.problem(message, "Write a shorter text.");
            return None;
        }
        Some(_) => {}
    }
    key
}

/// Reports constants of `set` that no document can have in its partition key. What a mask replaces is in no
/// key.
pub(super) fn set_values_of_keys(set: &Value<'_>, rules: &[KeyRule], masks: &[(Path, Mask)]) {
    for (written, value) in set.quietly(|set| set.named("")).unwrap_or_default() {
        let path = value.quietly(|value| path_from(value, written));
        if path.as_ref().is_some_and(|path| masks.iter().any(|(masked, _)| masked.covers(path))) {
            continue;
        }
        let is_source = |rule: &KeyRule| match &rule.value {
            KeySource::Keep => path.as_ref() == Some(&rule.path),
            KeySource::From(from) => path.as_ref() == Some(from),
            KeySource::Template(_) | KeySource::Constant(_) => false,
        };
        if rules.iter().any(is_source) && value.quietly(read_json).is_some() {
            key_value(&value);
        }
    }
}

fn is_short_key(value: &Value<'_>, template: &Template) -> bool {
    is_short(value, template, "a value of a key", KEY_BYTES_MAX)
}

pub(super) fn is_short_id(value: &Value<'_>, template: &Template) -> bool {
    is_short(value, template, "an id", ID_BYTES_MAX)
}

/// Reports a template whose text between the fields is longer than what it makes may be.
fn is_short(value: &Value<'_>, template: &Template, made: &str, most: usize) -> bool {
    let bytes = |piece: &Piece| if let Piece::Text(text) = piece { text.len() } else { 0 };
    let is_short = template.0.iter().map(bytes).sum::<usize>() <= most;
    if !is_short {
        value.problem(format!("{made} has at most {most} bytes"), "Write a shorter text.");
    }
    is_short
}

/// True if the path is `/id` or lies below it.
pub(super) fn is_id(path: &Path) -> bool {
    path.segments().first().is_some_and(|first| first == "id")
}
