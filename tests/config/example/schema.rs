//! The JSON Schema of the configuration, by an independent validator.

use std::path::Path;

use cosmos_bridge::config::schema;
use jsonschema::Validator;
use serde_json::Value;

use super::{EXAMPLE, FILE, default_line, uncommented, with_each_sample, with_table};

/// Files with mistakes that a schema cannot see: what a value means, what it refers to, what a file or the
/// environment holds, or rules between options.
const BEYOND_FORM: &[&str] = &[];

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

/// TOML as JSON; points in time become texts.
fn json(text: &str) -> Option<Value> {
    fn convert(value: toml::Value) -> Value {
        match value {
            toml::Value::String(text) => text.into(),
            toml::Value::Integer(number) => number.into(),
            toml::Value::Float(number) => number.into(),
            toml::Value::Boolean(value) => value.into(),
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(convert).collect(),
            toml::Value::Table(entries) => Value::Object(
                entries.into_iter().map(|(name, value)| (name, convert(value))).collect(),
            ),
        }
    }
    text.parse::<toml::Table>().ok().map(|table| convert(table.into()))
}

#[test]
fn the_schema_is_one() {
    jsonschema::draft202012::meta::validate(&schema()).unwrap();
}

#[test]
fn the_example_follows_the_schema() {
    let validator = validator();
    let mut texts =
        vec![FILE.to_owned(), uncommented(|_, line| default_line(line)), with_table(&EXAMPLE)];
    texts.extend(with_each_sample());
    assert!(texts.len() > 20);
    for text in texts {
        let json = json(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{text}");
    }
}

#[test]
fn mistakes_of_form_are_rejected() {
    let validator = validator();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/messages");
    let mut accepted = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // A file that is no TOML has no JSON to validate.
        let is_accepted = json(&text).is_some_and(|json| validator.is_valid(&json));
        accepted
            .extend(is_accepted.then(|| path.file_stem().unwrap().to_str().unwrap().to_owned()));
    }
    accepted.sort();
    assert_eq!(accepted, BEYOND_FORM);
}
