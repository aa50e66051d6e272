//! Writes fields by path, and compares values.

use cosmos_bridge_sink::{Document, Fields, kind};
use serde_json::Value;
use serde_json::map::Entry;

use crate::config::Path;

/// What a path changes of a document: the field at its beginning, which alone is parsed.
struct Touched<'d> {
    document: &'d mut Document,
    name: &'d str,
    /// Only this field, if the document has it.
    fields: Fields,
}

impl<'d> Touched<'d> {
    /// Fails if the field cannot be parsed. The route's check of the source does not see a field that the
    /// route itself has nested too deep.
    fn of(document: &'d mut Document, path: &'d Path) -> Result<Self, String> {
        check_parsed(document, path)?;
        let name = path.segments().first().map_or("", String::as_str);
        let fields = only(document, name);
        Ok(Self { document, name, fields })
    }

    fn write(mut self) {
        if let Some(value) = self.fields.remove(self.name) {
            self.document.insert(self.name, value);
        }
    }
}

fn only(document: &Document, name: &str) -> Fields {
    document.get(name).map(|value| (name.to_owned(), value)).into_iter().collect()
}

/// Fails if the field at the beginning of a path cannot be parsed: whether it has the rest of the path is
/// unknown then.
pub(super) fn check_parsed(document: &Document, path: &Path) -> Result<(), String> {
    match path.segments().first() {
        Some(name) if document.is_unparsed(name) => {
            Err(format!("field {path} cannot be reached, because /{name} cannot be parsed"))
        }
        _ => Ok(()),
    }
}

/// Replaces the value at a path, if there is one.
pub(super) fn replace(
    document: &mut Document,
    path: &Path,
    by: impl FnOnce(&Value) -> Value,
) -> Result<(), String> {
    let mut touched = Touched::of(document, path)?;
    if let Some(value) = get_mut(&mut touched.fields, path) {
        *value = by(value);
        touched.write();
    }
    Ok(())
}

/// Takes the value at a path out, if there is one. A top-level field is taken out also if it cannot be parsed.
pub(super) fn remove(document: &mut Document, path: &Path) -> Result<Option<Value>, String> {
    if let [name] = path.segments() {
        return Ok(document.remove(name));
    }
    let mut touched = Touched::of(document, path)?;
    let Some((last, parents)) = path.segments().split_last() else { return Ok(None) };
    let parent = parent_mut(&mut touched.fields, parents);
    let Some(removed) = parent.and_then(|parent| parent.remove(last)) else { return Ok(None) };
    touched.write();
    Ok(Some(removed))
}

/// Like [`remove`]; the value is its JSON text, as it was read if it is a top-level field. Fails if it cannot be
/// parsed.
pub(super) fn remove_text(document: &mut Document, path: &Path) -> Result<Option<Vec<u8>>, String> {
    check_parsed(document, path)?;
    if let [name] = path.segments() {
        return Ok(document.remove_text(name));
    }
    Ok(remove(document, path)?.and_then(|removed| serde_json::to_vec(&removed).ok()))
}

/// Like [`put`], for a value that [`remove_text`] returned.
pub(super) fn put_text(document: &mut Document, path: &Path, value: &[u8]) -> Result<(), String> {
    if let [name] = path.segments() {
        document.insert_text(name, value);
        return Ok(());
    }
    match serde_json::from_slice(value) {
        Ok(value) => put(document, path, value),
        // Routes refuse documents in which a field that they rename cannot be parsed.
        Err(error) => Err(format!("field {path} cannot be parsed: {error}")),
    }
}

/// Writes the value and creates missing objects on the path. The error names the field that is not an
/// object.
pub(super) fn put(document: &mut Document, path: &Path, value: Value) -> Result<(), String> {
    if let [name] = path.segments() {
        document.insert(name, value);
        return Ok(());
    }
    let mut touched = Touched::of(document, path)?;
    put_in(&mut touched.fields, path, value)?;
    touched.write();
    Ok(())
}

/// Fails if [`put`] would fail.
pub(super) fn check_put(document: &Document, path: &Path) -> Result<(), String> {
    check_nested(document, path)?;
    match stopped_at(document, path) {
        Some((depth, value)) => Err(in_the_way(path, depth, &value)),
        None => Ok(()),
    }
}

/// Fails if the path leads into an array, because it would miss the elements.
pub(super) fn check_reach(document: &Document, path: &Path) -> Result<(), String> {
    check_nested(document, path)?;
    match stopped_at(document, path) {
        Some((depth, value @ Value::Array(_))) => Err(in_the_way(path, depth, &value)),
        _ => Ok(()),
    }
}

/// A top-level field need not be parsed to be written or left out.
fn check_nested(document: &Document, path: &Path) -> Result<(), String> {
    if path.segments().len() > 1 { check_parsed(document, path) } else { Ok(()) }
}

fn get_mut<'a>(fields: &'a mut Fields, path: &Path) -> Option<&'a mut Value> {
    let (last, parents) = path.segments().split_last()?;
    parent_mut(fields, parents)?.get_mut(last)
}

fn parent_mut<'a>(document: &'a mut Fields, parents: &[String]) -> Option<&'a mut Fields> {
    parents.iter().try_fold(document, |object, name| object.get_mut(name)?.as_object_mut())
}

pub(super) fn put_in(fields: &mut Fields, path: &Path, value: Value) -> Result<(), String> {
    let Some((last, parents)) = path.segments().split_last() else { return Ok(()) };
    let mut object = fields;
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

/// The first value on the path that is not an object, and its depth.
fn stopped_at(document: &Document, path: &Path) -> Option<(usize, Value)> {
    let (_, parents) = path.segments().split_last()?;
    let (first, rest) = parents.split_first()?;
    let mut value = document.get(first)?;
    for (depth, name) in rest.iter().enumerate() {
        value = match value {
            Value::Object(mut fields) => fields.remove(name)?,
            other => return Some((depth, other)),
        };
    }
    (!value.is_object()).then_some((rest.len(), value))
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
