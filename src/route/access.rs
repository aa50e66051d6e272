//! Writes fields by path, and compares values.

use cosmos_bridge_sink::{Fields, kind};
use serde_json::Value;
use serde_json::map::Entry;

use crate::config::Path;

pub(super) fn get_mut<'a>(document: &'a mut Fields, path: &Path) -> Option<&'a mut Value> {
    let (last, parents) = path.segments().split_last()?;
    parent_mut(document, parents)?.get_mut(last)
}

pub(super) fn remove(document: &mut Fields, path: &Path) -> Option<Value> {
    let (last, parents) = path.segments().split_last()?;
    parent_mut(document, parents)?.remove(last)
}

fn parent_mut<'a>(document: &'a mut Fields, parents: &[String]) -> Option<&'a mut Fields> {
    parents.iter().try_fold(document, |object, name| object.get_mut(name)?.as_object_mut())
}

/// Writes the value and creates missing objects on the path. The error names the field that is not an
/// object.
pub(super) fn put(document: &mut Fields, path: &Path, value: Value) -> Result<(), String> {
    let Some((last, parents)) = path.segments().split_last() else { return Ok(()) };
    let mut object = document;
    for (depth, name) in parents.iter().enumerate() {
        let child = match object.entry(name.as_str()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Value::Object(Fields::new())),
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

/// Fails if [`put`] would fail.
pub(super) fn check_put(document: &Fields, path: &Path) -> Result<(), String> {
    match stopped_at(document, path) {
        Some((depth, value)) => Err(in_the_way(path, depth, value)),
        None => Ok(()),
    }
}

/// Fails if the path leads into an array, because it would miss the elements.
pub(super) fn check_reach(document: &Fields, path: &Path) -> Result<(), String> {
    match stopped_at(document, path) {
        Some((depth, value @ Value::Array(_))) => Err(in_the_way(path, depth, value)),
        _ => Ok(()),
    }
}

/// The first value on the path that is not an object, and its depth.
fn stopped_at<'a>(document: &'a Fields, path: &Path) -> Option<(usize, &'a Value)> {
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

/// Equality as in the service: numbers are compared by value, not by notation.
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
