//! `where` and jq.

use std::collections::BTreeMap;

use cosmos_bridge_options::{
    ConfigText, Form, Kind, Need, OptionForm, Problem, Problems, Table, TableForm, Value, any_json,
    boolean, filled, kind, path, read_json, read_path, text,
};
use serde_json::json;
use toml::de::{DeTable, DeValue};

use super::Path;
use crate::jq::jq_problem;

/// `where`: a comparison of one field, a combination, or a jq expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    Equals(Path, serde_json::Value),
    NotEquals(Path, serde_json::Value),
    In(Path, Vec<serde_json::Value>),
    Exists(Path, bool),
    StartsWith(Path, String),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// True when the first output is neither `false` nor `null`.
    Jq(String),
}

/// The ways to compare a field.
const COMPARISONS: [&str; 5] = ["equals", "not_equals", "in", "exists", "starts_with"];
/// The conditions without a field.
const COMBINATIONS: [&str; 4] = ["all", "any", "not", "jq"];

pub(super) fn filter() -> impl Kind<Output = Filter> {
    kind(Form::Named { name: "condition", make: form }, read_filter)
}

/// A jq expression that compiles.
pub(super) fn jq() -> impl Kind<Output = String> {
    kind(Form::text("a jq expression"), read_jq)
}

fn form() -> Form {
    let condition = || Form::Named { name: "condition", make: form };
    let conditions = || Form::List { of: Box::new(condition()), least: 1 };
    let values = Form::List { of: Box::new(any_json().form()), least: 1 };
    let options = [
        ("path", "The field to compare.", path().form()),
        ("equals", "The field has this value.", any_json().form()),
        ("not_equals", "The field has another value, or is missing.", any_json().form()),
        ("in", "The field has one of these values.", values),
        ("exists", "Whether the field exists.", boolean().form()),
        ("starts_with", "The field is a text that begins with this one.", text().form()),
        ("all", "All of these conditions hold.", conditions()),
        ("any", "At least one of these conditions holds.", conditions()),
        ("not", "This condition does not hold.", condition()),
        ("jq", "The first output of the expression is neither false nor null.", jq().form()),
    ];
    let options = options.map(|(name, doc, form)| OptionForm {
        name,
        doc: doc.to_owned(),
        need: Need::Optional,
        form,
        example: None,
    });
    let comparisons =
        COMPARISONS.map(|name| json!({ "required": ["path", name], "maxProperties": 2 }));
    let combinations = COMBINATIONS.map(|name| json!({ "required": [name], "maxProperties": 1 }));
    let one_of = [comparisons.as_slice(), &combinations].concat();
    let constraint = Some(json!({ "oneOf": one_of }));
    Form::Table(TableForm { options: options.into(), constraint, ..TableForm::default() })
}

fn read_filter(value: &Value<'_>) -> Option<Filter> {
    const HINT: &str = "Write where = { path = \"/status\", equals = \"paid\" }.";
    let table = value.table("a table", HINT)?;
    let path = table.get("path");
    let comparison = written(&table, &COMPARISONS);
    let combination = written(&table, &COMBINATIONS);
    let problem = |message, hint| {
        value.problem(message, hint);
        None
    };
    let filter = match (path, comparison.as_slice(), combination.as_slice()) {
        (Some(path), [(name, operand)], []) => compare(&path, name, operand),
        (None, [], [(name, operand)]) => combine(name, operand),
        (_, [], []) if table.has_unknown() => None,
        (Some(_), [], []) => problem(
            "the comparison is missing",
            "Add one of equals, not_equals, in, exists and starts_with.",
        ),
        (None, [_], []) => problem("the path is missing", "Add path = \"/field\"."),
        (None, [], []) => problem("the condition is missing", HINT),
        _ => problem(
            "this is more than one condition",
            "Put several into { all = [..] } or { any = [..] }.",
        ),
    };
    table.finish();
    filter
}

fn written<'d>(table: &Table<'d>, names: &[&'static str]) -> Vec<(&'static str, Value<'d>)> {
    names.iter().filter_map(|name| Some((*name, table.get(name)?))).collect()
}

fn compare(path: &Value<'_>, name: &str, operand: &Value<'_>) -> Option<Filter> {
    let path = read_path(path);
    // Both sides are read before either is given up, so that all problems are found.
    match name {
        "equals" => read_json(operand).zip(path).map(|(json, path)| Filter::Equals(path, json)),
        "not_equals" => {
            read_json(operand).zip(path).map(|(json, path)| Filter::NotEquals(path, json))
        }
        "in" => all(operand, read_json).zip(path).map(|(values, path)| Filter::In(path, values)),
        "exists" => {
            boolean().read(operand).zip(path).map(|(exists, path)| Filter::Exists(path, exists))
        }
        _ => filled(operand).zip(path).map(|(text, path)| Filter::StartsWith(path, text)),
    }
}

fn combine(name: &str, operand: &Value<'_>) -> Option<Filter> {
    match name {
        "all" => all(operand, read_filter).map(Filter::All),
        "any" => all(operand, read_filter).map(Filter::Any),
        "not" => read_filter(operand).map(Box::new).map(Filter::Not),
        _ => read_jq(operand).map(Filter::Jq),
    }
}

/// Every item of a list that is not empty.
fn all<T>(value: &Value<'_>, read: fn(&Value<'_>) -> Option<T>) -> Option<Vec<T>> {
    let items = value.list()?;
    if items.is_empty() {
        value.problem("the list is empty", "Put something into it, or leave the condition out.");
        return None;
    }
    let items: Vec<Option<T>> = items.iter().map(read).collect();
    items.into_iter().collect()
}

fn read_jq(value: &Value<'_>) -> Option<String> {
    let text = value.text_like("a jq expression", "Write it in quotes.")?;
    match jq_problem(text) {
        None => Some(text.to_owned()),
        Some(message) => {
            let hint = if message.ends_with("may depend on the document alone") {
                "A change that is processed again must give the same result."
            } else if message.starts_with("the jq has more")
                || message.starts_with("the jq is longer")
            {
                "Let other options of the route do a part of it, or several routes."
            } else if message.starts_with("the regular expression") {
                "docs/jq.md says which regular expressions there are."
            } else {
                "docs/jq.md lists the functions, and what differs from the jq command."
            };
            value.problem(message, hint);
            None
        }
    }
}

/// A condition outside of the file, written as the value of `where` in a route.
///
/// # Errors
///
/// The text is not a condition. The error lists all its problems.
pub fn parse_filter(name: &str, text: &str) -> Result<Filter, Problems> {
    const HINT: &str =
        "Write the value of `where` of a route: { path = \"/status\", equals = \"paid\" }.";
    let one = |message: String| Problems::of_file(name, message, HINT);
    let written = format!("where = {text}");
    let root = DeTable::parse(&written)
        .map_err(|error| one(format!("invalid TOML: {}", error.message())))?;
    if root.get_ref().len() != 1 {
        return Err(one("this is more than one condition".to_owned()));
    }
    let root = DeValue::Table(root.into_inner());
    let file = ConfigText::new(&written, ".".as_ref(), BTreeMap::new());
    let read = Value::root(&file, &root).at("where").and_then(|value| read_filter(&value));
    // There is but one line, of which the value is what was written.
    let without_line = |problem| Problem { line: None, ..problem };
    let problems: Vec<_> = file.into_problems().into_iter().map(without_line).collect();
    match read {
        Some(filter) if problems.is_empty() => Ok(filter),
        _ => Err(Problems { name: name.to_owned(), problems }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, Path, parse_filter};

    #[test]
    fn a_condition_of_the_command_line_is_one_of_the_file() {
        let paid = |text: &str| parse_filter("--where", text);
        let path = |text: &str| Path::parse(text).unwrap();
        assert_eq!(
            paid(r#"{ path = "/status", equals = "paid" }"#),
            Ok(Filter::Equals(path("/status"), "paid".into()))
        );
        assert_eq!(
            paid(r#"{ not = { path = "/a", exists = true } }"#),
            Ok(Filter::Not(Box::new(Filter::Exists(path("/a"), true))))
        );
        assert_eq!(paid(r#"{ jq = ".n > 3" }"#), Ok(Filter::Jq(".n > 3".to_owned())));
        for (text, message) in [
            ("paid", "invalid TOML"),
            ("", "invalid TOML"),
            ("{}", "the condition is missing"),
            (r#"{ path = "status", equals = 1 }"#, "path"),
            (r#"{ path = "/a", equal = 1 }"#, "unknown key"),
            (r#"{ jq = "now" }"#, "depend on the document alone"),
            ("{ jq = \".a\" }\nother = 1", "more than one condition"),
        ] {
            let problems = paid(text).unwrap_err().to_string();
            assert!(problems.contains(message), "{text}: {problems}");
            assert!(problems.starts_with("--where: 1 problem\n"), "{problems}");
        }
    }
}
