//! `partition_key` of a route.

use cosmos_bridge_sink::KeyValue;
use toml::de::DeValue;

use super::reader::Value;
use super::routes::is_id;
use super::{Buckets, KeyRule, KeySource, defaults};

/// The service allows three levels of hierarchy.
const LEVELS: usize = 3;

pub(super) fn partition_key(value: &Value<'_>) -> Option<Vec<KeyRule>> {
    let items = value.list()?;
    if items.len() > LEVELS {
        let message = format!("the key has {} levels", items.len());
        value.problem(message, "The service allows one to three.");
    } else if items.is_empty() {
        // The default, written out: the document already carries the key.
        return Some(Vec::new());
    }
    let rules: Vec<Option<KeyRule>> = items.iter().map(rule).collect();
    for (index, item) in items.iter().enumerate() {
        let Some(Some(rule)) = rules.get(index) else { continue };
        for earlier in rules.iter().take(index).flatten() {
            let (one, other) = (&earlier.path, &rule.path);
            if one == other {
                item.problem(format!("the key has {one} twice"), "Name every level once.");
            } else if one.covers(other) || other.covers(one) {
                let message = format!("{one} and {other} cannot both hold a value of the key");
                item.problem(message, "One of them lies inside the other.");
            }
        }
    }
    rules.into_iter().collect()
}

fn rule(value: &Value<'_>) -> Option<KeyRule> {
    if value.node.is_str() {
        return Some(KeyRule { path: value.path()?, value: KeySource::Keep, buckets: None });
    }
    let table =
        value.table("a path or a table", "Write \"/region\" or { path = \"/region\", .. }.")?;
    let path = table.required("path", "Write path = \"/FIELD\".").and_then(|path| path.path());
    let template = table.maybe("template", |template| template.template().map(KeySource::Template));
    let from = table.maybe("from", |from| from.path().map(KeySource::From));
    let constant = table.maybe("constant", |value| constant(value).map(KeySource::Constant));
    let buckets = table.maybe("buckets", buckets);
    table.finish();

    let mut sources: Vec<KeySource> = [template?, from?, constant?].into_iter().flatten().collect();
    let source = sources.pop().unwrap_or(KeySource::Keep);
    if !sources.is_empty() {
        value.problem(
            "the value of this level comes from more than one place",
            "Keep one of template, from and constant.",
        );
        return None;
    }
    let (path, buckets) = (path?, buckets?);
    if is_id(&path) && (source != KeySource::Keep || buckets.is_some()) {
        value.problem(
            "a document's id is changed by `id` alone",
            "Write the template as the route's id, and \"/id\" as the level.",
        );
        return None;
    }
    Some(KeyRule { path, value: source, buckets })
}

fn constant(value: &Value<'_>) -> Option<KeyValue> {
    let key = match value.node {
        DeValue::Array(_) | DeValue::Table(_) => None,
        _ => KeyValue::from_json(Some(&value.json()?)),
    };
    if key.is_none() {
        value.problem(
            "the service allows no such value in a key",
            "Write text, a number, true or false.",
        );
    }
    key
}

fn buckets(value: &Value<'_>) -> Option<Buckets> {
    let hint = "Write buckets = { count = 16, of = \"/id\" }.";
    let table = value.table("a table", hint)?;
    let count = table.required("count", hint).and_then(|count| count.integer(defaults::BUCKETS));
    let of = table.required("of", hint).and_then(|of| of.path());
    table.finish();
    Some(Buckets { count: count?, of: of? })
}
