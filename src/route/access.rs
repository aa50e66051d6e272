//! Reading and writing fields by path, and the text of single values.
//!
//! A path goes through objects only: `/items/price` does not reach into the elements of an array.

use cosmos_bridge_sink::Document;
use serde_json::Value;
use serde_json::map::Entry;

use crate::config::Path;

/// Whole numbers below this are exact in the service's doubles.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0; // 2^53

pub(super) fn get<'a>(document: &'a Document, path: &Path) -> Option<&'a Value> {
    let (last, parents) = path.segments().split_last()?;
    let mut object = document;
    for name in parents {
        object = object.get(name)?.as_object()?;
    }
    object.get(last)
}

pub(super) fn get_mut<'a>(document: &'a mut Document, path: &Path) -> Option<&'a mut Value> {
    let (last, parents) = path.segments().split_last()?;
    parent_mut(document, parents)?.get_mut(last)
}

pub(super) fn remove(document: &mut Document, path: &Path) -> Option<Value> {
    let (last, parents) = path.segments().split_last()?;
    parent_mut(document, parents)?.remove(last)
}

fn parent_mut<'a>(document: &'a mut Document, parents: &[String]) -> Option<&'a mut Document> {
    parents.iter().try_fold(document, |object, name| object.get_mut(name)?.as_object_mut())
}

/// Writes the value, creating the objects on the way. The error names a field that is in the way.
pub(super) fn put(document: &mut Document, path: &Path, value: Value) -> Result<(), String> {
    let Some((last, parents)) = path.segments().split_last() else { return Ok(()) };
    let mut object = document;
    for (depth, name) in parents.iter().enumerate() {
        let child = match object.entry(name.as_str()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Value::Object(Document::new())),
        };
        object = match child {
            Value::Object(object) => object,
            other => return Err(in_the_way(path, depth, other)),
        };
    }
    match object.get_mut(last) {
        Some(old) => *old = value,
        None => drop(object.insert(last.clone(), value)),
    }
    Ok(())
}

/// Whether [`put`] would succeed.
pub(super) fn check_put(document: &Document, path: &Path) -> Result<(), String> {
    match stopped_at(document, path) {
        Some((depth, value)) => Err(in_the_way(path, depth, value)),
        None => Ok(()),
    }
}

/// Fails where the path leads into an array, whose elements it would miss.
pub(super) fn check_reach(document: &Document, path: &Path) -> Result<(), String> {
    match stopped_at(document, path) {
        Some((depth, value @ Value::Array(_))) => Err(in_the_way(path, depth, value)),
        _ => Ok(()),
    }
}

/// The first value on the way that is no object, and its depth.
fn stopped_at<'a>(document: &'a Document, path: &Path) -> Option<(usize, &'a Value)> {
    let (_, parents) = path.segments().split_last()?;
    let mut object = document;
    for (depth, name) in parents.iter().enumerate() {
        match object.get(name)? {
            Value::Object(child) => object = child,
            other => return Some((depth, other)),
        }
    }
    None
}

fn in_the_way(path: &Path, depth: usize, found: &Value) -> String {
    let names: Vec<&str> = path.segments().iter().take(depth + 1).map(String::as_str).collect();
    let upper = names.join("/");
    format!("field {path} cannot be reached, because /{upper} is {}", kind(found))
}

pub(super) fn missing(path: &Path) -> String {
    format!("field {path} is missing")
}

/// The value's type with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The value as it stands in a composed key or id; `None` for objects and arrays.
pub(super) fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) | Value::Array(_) => None,
        scalar => Some(json_text(scalar)),
    }
}

/// The value's JSON text, without spaces and with sorted names.
///
/// A whole number below 2^53 has no fraction, so that `1`, `1.0` and `1e0`, which are one number
/// to the service, have one text. It is hashed for buckets and masks and must never change.
pub(super) fn json_text(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if is_exact_whole(number) => whole_text(number),
        _ => value.to_string(),
    }
}

/// Whether the double is a whole number that no other whole number rounds to.
pub(super) fn is_exact_whole(number: f64) -> bool {
    number.abs() < EXACT_BELOW && number.fract() == 0.0
}

/// Whether the double may be the rounding of another whole number.
pub(super) fn may_be_rounded(number: f64) -> bool {
    number.abs() >= EXACT_BELOW
}

fn whole_text(number: f64) -> String {
    // Adding zero turns -0 into 0, which is the same key to the service.
    format!("{:.0}", number + 0.0)
}

/// A JSON number for a key's double: whole numbers become integers.
pub(super) fn number(value: f64) -> Value {
    if is_exact_whole(value) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Value::from(value as i64);
    }
    Value::from(value)
}

/// Equality as the service has it: numbers by value, whatever their form.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || ((left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, l)| right.get(name).is_some_and(|r| equal(l, r)))
        }
        _ => left == right,
    }
}
