//! Kinds of single values: numbers, quantities, texts, files, paths and templates.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_sink::{Path, PathError, Piece, SYSTEM_PROPERTIES, Template, TemplateError};
use serde_json::{Value as Json, json};
use toml::de::DeValue;

use crate::form::Form;
use crate::kind::{Kind, kind};
use crate::problem::meant;
use crate::units::{duration_text, read_duration, read_size, size_text};
use crate::value::Value;

pub fn boolean() -> impl Kind<Output = bool> {
    kind(Form::of("true or false", json!({ "type": "boolean" })), |value| match value.node() {
        DeValue::Boolean(value) => Some(*value),
        _ => value.wrong_type("true or false", "Write it without quotes."),
    })
}

/// A whole number in a range.
pub fn integer<T: TryFrom<u32> + PartialEq>(range: RangeInclusive<u32>) -> impl Kind<Output = T> {
    let (least, most) = (*range.start(), *range.end());
    let words = format!("a whole number from {least} to {most}");
    let schema = json!({ "type": "integer", "minimum": least, "maximum": most });
    kind(Form::of(words, schema), move |value| {
        let DeValue::Integer(written) = value.node() else {
            return value.wrong_type("a whole number", "Write digits alone.");
        };
        let number = i64::from_str_radix(written.as_str(), written.radix());
        let number = number.ok().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            value.problem(
                "the number is out of range",
                format!("Write a number from {least} to {most}."),
            );
        }
        T::try_from(number?).ok()
    })
}

/// One of several words.
pub fn choice<T: Clone + PartialEq>(choices: Vec<(&'static str, T)>) -> impl Kind<Output = T> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let words: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let form = Form::of(words.join(" or "), json!({ "enum": names }));
    kind(form, move |value| value.choice(&choices))
}

/// A duration in a range: `30s`, `500ms`, `1m 30s`.
pub fn duration(range: RangeInclusive<Duration>) -> impl Kind<Output = Duration> {
    const HINT: &str = "Write a number and a unit: \"30s\", \"5m\" or \"500ms\".";
    const PATTERN: &str = "^([0-9]+ ?[a-zA-Z]+ ?)+$";
    let form = Form::pattern(between("a duration", &range, duration_text), PATTERN);
    kind(form, move |value| {
        let read = quantity(value, "a duration", HINT, read_duration)?;
        within(value, read, &range, duration_text)
    })
}

/// A number of bytes in a range: `512 KiB`, `1.5 MiB`.
pub fn size<T: TryFrom<u64> + PartialEq>(range: RangeInclusive<u64>) -> impl Kind<Output = T> {
    const HINT: &str = "Write a number and a unit: \"512 KiB\", \"1.5 MiB\" or \"2 GiB\".";
    const PATTERN: &str = "^[0-9]+(\\.[0-9]+)? ?([KMGTPkmgtp]i?)?[Bb]$";
    let form = Form::pattern(between("a size", &range, size_text), PATTERN);
    kind(form, move |value| {
        let read = quantity(value, "a size", HINT, read_size)?;
        within(value, read, &range, size_text).and_then(|bytes| T::try_from(bytes).ok())
    })
}

fn between<T: Copy>(words: &str, range: &RangeInclusive<T>, show: impl Fn(T) -> String) -> String {
    format!("{words}, {} to {}", show(*range.start()), show(*range.end()))
}

/// The value of a text; the hint says how such texts are written.
pub fn quantity<T>(
    value: &Value<'_>,
    expected: &str,
    hint: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let text = value.text_like(expected, hint)?;
    read(text).map_err(|message| value.problem(message, hint)).ok()
}

/// The quantity, if it lies in the range.
pub fn within<T: PartialOrd + Copy>(
    value: &Value<'_>,
    quantity: T,
    range: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Option<T> {
    if range.contains(&quantity) {
        return Some(quantity);
    }
    let message =
        if quantity < *range.start() { "the value is too small" } else { "the value is too large" };
    let (least, most) = (show(*range.start()), show(*range.end()));
    value.problem(message, format!("Write at least \"{least}\" and at most \"{most}\"."));
    None
}

/// Text that is not empty.
pub fn text() -> impl Kind<Output = String> {
    kind(Form::text("text"), filled)
}

/// Text of a form, which `read` turns into a value.
pub fn text_of<T: PartialEq>(
    words: &'static str,
    read: impl Fn(&Value<'_>, String) -> Option<T>,
) -> impl Kind<Output = T> {
    kind(Form::text(words), move |value| read(value, filled(value)?))
}

/// Text that is not empty.
pub fn filled(value: &Value<'_>) -> Option<String> {
    let text = value.text_like("text", "Write it in double quotes.")?;
    if text.trim().is_empty() {
        value.problem("this is empty", "");
        return None;
    }
    Some(text.to_owned())
}

/// The name of a table elsewhere in the file: an `account`, a `credential`, a `sink`.
pub fn reference(what: &'static str) -> impl Kind<Output = String> {
    kind(Form::text(format!("the name of a {what}")), move |value| {
        let written = value.text_like("text", "Write it in double quotes.")?;
        let names = value.file().names(what);
        if names.contains(&written) {
            return Some(written.to_owned());
        }
        let hint = match (what, names.as_slice()) {
            ("sink", []) => "There are no sinks: write [sinks.cosmos.NAME].".to_owned(),
            (_, []) => format!("There are no {what}s: write [{what}s.NAME]."),
            (_, names) => meant(written, names, what),
        };
        value.problem(format!("no {what} is named `{written}`"), hint);
        None
    })
}

/// A file; a relative path begins at the folder of the configuration file.
pub fn file() -> impl Kind<Output = PathBuf> {
    kind(Form::text("a file"), |value| Some(value.file().base_dir().join(filled(value)?)))
}

/// A file of certificates or of a key in PEM form, which may be replaced while the bridge runs.
pub fn certificates() -> impl Kind<Output = PathBuf> {
    file().check(|value, path: &PathBuf| {
        value.names_certificates(path);
        true
    })
}

/// A text that may hold fields and properties of a change in braces.
pub fn template() -> impl Kind<Output = Template> {
    kind(Form::text("a text with fields in braces"), |value| {
        let template = read_template(value)?;
        if template.constant() == Some("") {
            value.problem("this is empty", TEMPLATE);
            return None;
        }
        Some(template)
    })
}

/// As [`template`], and may be empty.
pub fn template_or_empty() -> impl Kind<Output = Template> {
    let form = Form::of("a text with fields in braces", json!({ "type": "string" }));
    kind(form, read_template)
}

const TEMPLATE: &str = "Write it like \"{database}.{container}\" or \"{/customer/region}\"; {{ and }} \
                        stand for braces.";

fn read_template(value: &Value<'_>) -> Option<Template> {
    const NAMES: &str = "In braces is a path, \"{/tenant}\", or one of {id}, {partition_key}, \
                         {operation}, {account}, {database} and {container}.";
    template_of(value, "a text", TEMPLATE, NAMES)
}

/// A text made of at least one field of the document.
pub fn field_template() -> impl Kind<Output = Template> {
    const HINT: &str = "Write fields in braces, \"{/tenant}-{/day}\"; {{ and }} stand for braces.";
    const NAMES: &str = "A field is a path in braces: \"{/tenant}\".";
    let form = Form::pattern("a text with at least one field in braces", "\\{");
    kind(form, |value| {
        let template = template_of(value, "a template", HINT, NAMES)?;
        if template.0.iter().any(|piece| matches!(piece, Piece::Property(_))) {
            value.problem(TemplateError::Path(PathError::NoSlash).to_string(), NAMES);
            return None;
        }
        if template.fields().next().is_none() {
            value.problem("the template has no field, so every document would get the same", HINT);
            return None;
        }
        Some(template)
    })
}

/// `names` is the hint for braces that hold something else than a path.
fn template_of(value: &Value<'_>, what: &str, hint: &str, names: &str) -> Option<Template> {
    let text = value.text_like(what, hint)?;
    let template = Template::read(text).map_err(|error| {
        let hint = if matches!(error, TemplateError::Path(_)) { names } else { hint };
        value.problem(error.to_string(), hint);
    });
    let template = template.ok()?;
    let fields: Vec<Option<Path>> =
        template.fields().map(|field| path_from(value, &field.to_string())).collect();
    fields.iter().all(Option::is_some).then_some(template)
}

/// A path of property names.
pub fn path() -> impl Kind<Output = Path> {
    kind(Form::pattern("a path", "^/."), read_path)
}

/// A path of property names.
pub fn read_path(value: &Value<'_>) -> Option<Path> {
    path_from(value, value.text_like("a path", "Write it like \"/customer/region\".")?)
}

/// A path that is written as this value or as its key.
pub fn path_from(value: &Value<'_>, text: &str) -> Option<Path> {
    if !text.contains('"') && text.split('/').any(|name| name == "*") {
        value.problem(
            "paths do not go into arrays",
            "Use jq for the elements of an array: `.items[].mail = \"x\"`. The property named `*` is \
             written /\"*\".",
        );
        return None;
    }
    let path = Path::read(text);
    let path = path.map_err(|error| value.problem(error.to_string(), error.hint(text))).ok()?;
    if let [first, ..] = path.segments()
        && SYSTEM_PROPERTIES.contains(&first.as_str())
    {
        let message = format!("`{first}` is a system property, which is removed before any route");
        value.problem(message, "The service writes its own into the target.");
        return None;
    }
    Some(path)
}

/// Any value that JSON has.
pub fn any_json() -> impl Kind<Output = Json> {
    kind(Form::of("any value that JSON has", json!({})), read_json)
}

/// The value as the service would hold it.
pub fn read_json(value: &Value<'_>) -> Option<Json> {
    let none = |message: &str| {
        value.problem(message, "Write it as text, in double quotes.");
        None
    };
    match value.node() {
        DeValue::String(text) => Some(Json::String(text.clone().into_owned())),
        DeValue::Boolean(value) => Some(Json::Bool(*value)),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            number.ok().map(Json::from).or_else(|| none("the number is too large"))
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Json::Number).or_else(|| none("JSON has no such number"))
        }
        DeValue::Datetime(_) => none("JSON has no points in time"),
        DeValue::Array(_) => {
            let items: Vec<_> = value.list()?.iter().map(read_json).collect();
            items.into_iter().collect::<Option<_>>().map(Json::Array)
        }
        DeValue::Table(_) => {
            let entries = value.named("a value")?.into_iter();
            let read: Vec<_> = entries.map(|(name, value)| (name, read_json(&value))).collect();
            read.into_iter().map(|(name, value)| Some((name.to_owned(), value?))).collect()
        }
    }
}
