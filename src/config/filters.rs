//! `where` and jq.

use super::Filter;
use super::jq::jq_problem;
use super::reader::Value;
use super::table::Table;

/// The ways to compare a field.
const COMPARISONS: [&str; 5] = ["equals", "not_equals", "in", "exists", "starts_with"];
/// The ways to say it without a field.
const COMBINATIONS: [&str; 4] = ["all", "any", "not", "jq"];

pub(super) fn filter(value: &Value<'_>) -> Option<Filter> {
    const HINT: &str = "Write where = { path = \"/status\", equals = \"paid\" }.";
    // A filter inside another has the same options, however deep it lies.
    let shape = value
        .shape
        .find(".where")
        .map_or(value.shape.as_str(), |at| value.shape.split_at(at + ".where".len()).0);
    let value = value.shaped(shape);
    let table = value.table("a table", HINT)?;
    let path = table.get("path");
    let comparison = written(&table, &COMPARISONS);
    let combination = written(&table, &COMBINATIONS);

    let filter = match (path, comparison.as_slice(), combination.as_slice()) {
        (Some(path), [(name, operand)], []) => compare(&path, name, operand),
        (None, [], [(name, operand)]) => combine(name, operand),
        (_, [], []) if table.has_unknown() => None,
        (Some(_), [], []) => {
            value.problem(
                "the comparison is missing",
                "Add one of equals, not_equals, in, exists and starts_with.",
            );
            None
        }
        (None, [_], []) => {
            value.problem("the path is missing", "Add path = \"/field\".");
            None
        }
        (None, [], []) => {
            value.problem("the condition is missing", HINT);
            None
        }
        _ => {
            value.problem(
                "this is more than one condition",
                "Put several into { all = [..] } or { any = [..] }.",
            );
            None
        }
    };
    table.finish();
    filter
}

fn written<'d>(table: &Table<'d>, names: &[&'static str]) -> Vec<(&'static str, Value<'d>)> {
    names.iter().filter_map(|name| Some((*name, table.get(name)?))).collect()
}

fn compare(path: &Value<'_>, name: &str, operand: &Value<'_>) -> Option<Filter> {
    let path = path.path();
    let filter: Option<Box<dyn FnOnce(_) -> Filter>> = match name {
        "equals" => operand.json().map(|json| Box::new(|path| Filter::Equals(path, json)) as _),
        "not_equals" => {
            operand.json().map(|json| Box::new(|path| Filter::NotEquals(path, json)) as _)
        }
        "in" => some(operand)
            .and_then(|()| operand.all(Value::json))
            .map(|values| Box::new(|path| Filter::In(path, values)) as _),
        "exists" => {
            operand.boolean().map(|exists| Box::new(move |path| Filter::Exists(path, exists)) as _)
        }
        _ => operand.filled().map(|text| Box::new(|path| Filter::StartsWith(path, text)) as _),
    };
    Some(filter?(path?))
}

fn combine(name: &str, operand: &Value<'_>) -> Option<Filter> {
    match name {
        "all" => some(operand).and_then(|()| operand.all(filter)).map(Filter::All),
        "any" => some(operand).and_then(|()| operand.all(filter)).map(Filter::Any),
        "not" => filter(operand).map(Box::new).map(Filter::Not),
        _ => jq(operand).map(Filter::Jq),
    }
}

/// Refuses an empty list.
fn some(value: &Value<'_>) -> Option<()> {
    if value.list()?.is_empty() {
        value.problem("the list is empty", "Put something into it, or leave the condition out.");
        return None;
    }
    Some(())
}

/// A jq expression that compiles.
pub(super) fn jq(value: &Value<'_>) -> Option<String> {
    let text = value.text_like("a jq expression", "Write it in quotes.")?;
    match jq_problem(text) {
        None => Some(text.to_owned()),
        Some(message) => {
            let hint = if message.contains("a route") {
                "Whatever is repeated must come out the same."
            } else {
                "Try the expression on a document with the jq command."
            };
            value.problem(message, hint);
            None
        }
    }
}
