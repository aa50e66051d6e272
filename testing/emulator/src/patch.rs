//! Partial updates: the operations of a PATCH body, applied to a document.

use serde::Deserialize;
use serde_json::{Number, Value};

use crate::answer::Refusal;

/// The most operations in one patch, as in the service.
const OPERATIONS_MAX: usize = 10;

/// A list of operations; a bare array, as the JavaScript SDK sends, is accepted too.
#[derive(Debug)]
pub struct Patch(Vec<Operation>);

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add {
        path: String,
        value: Value,
    },
    Set {
        path: String,
        value: Value,
    },
    Replace {
        path: String,
        value: Value,
    },
    Remove {
        path: String,
    },
    #[serde(alias = "increment")]
    Incr {
        path: String,
        value: Number,
    },
    Move {
        from: String,
        path: String,
    },
}

impl Patch {
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let bad = |error: serde_json::Error| Refusal::bad_request(format!("bad patch: {error}"));
        let body: Value = serde_json::from_slice(body).map_err(bad)?;
        Self::from_value(body)
    }

    pub fn from_value(mut body: Value) -> Result<Self, Refusal> {
        if body.get("condition").is_some_and(|condition| !condition.is_null()) {
            return Err(Refusal::new(501, "conditions of patches are not served here"));
        }
        if let Some(operations) = body.get_mut("operations") {
            body = operations.take();
        }
        let operations: Vec<Operation> = serde_json::from_value(body)
            .map_err(|error| Refusal::bad_request(format!("bad patch: {error}")))?;
        if operations.is_empty() || operations.len() > OPERATIONS_MAX {
            return Err(Refusal::bad_request("a patch has 1 to 10 operations"));
        }
        Ok(Self(operations))
    }

    /// Applies the operations to a whole document. Keys come back sorted and numbers in their
    /// shortest form, unlike in other writes.
    pub fn apply(&self, document: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut document: Value = serde_json::from_slice(document)
            .map_err(|_| Refusal::new(500, "the stored document is not JSON"))?;
        for operation in &self.0 {
            operation.apply(&mut document)?;
        }
        Ok(document.to_string().into_bytes())
    }
}

impl Operation {
    fn apply(&self, document: &mut Value) -> Result<(), Refusal> {
        match self {
            Self::Add { path, value } => put(document, path, value.clone(), true),
            Self::Set { path, value } => put(document, path, value.clone(), false),
            Self::Replace { path, value } => {
                *document.pointer_mut(path).ok_or_else(missing)? = value.clone();
                Ok(())
            }
            Self::Remove { path } => take(document, path).map(drop),
            Self::Incr { path, value } => increment(document, path, value),
            Self::Move { from, path } => {
                let value = take(document, from)?;
                put(document, path, value, false)
            }
        }
    }
}

fn missing() -> Refusal {
    Refusal::bad_request("the path of a patch operation does not exist")
}

fn split(path: &str) -> Result<(&str, String), Refusal> {
    let (parent, name) = path.rsplit_once('/').ok_or_else(missing)?;
    if name.is_empty() {
        return Err(missing());
    }
    Ok((parent, name.replace("~1", "/").replace("~0", "~")))
}

fn put(document: &mut Value, path: &str, value: Value, insert: bool) -> Result<(), Refusal> {
    let (parent, name) = split(path)?;
    match document.pointer_mut(parent).ok_or_else(missing)? {
        Value::Object(object) => {
            object.insert(name, value);
            Ok(())
        }
        Value::Array(array) if name == "-" => {
            array.push(value);
            Ok(())
        }
        Value::Array(array) => {
            let at: usize = name.parse().map_err(|_| missing())?;
            if insert && at <= array.len() {
                array.insert(at, value);
            } else {
                *array.get_mut(at).ok_or_else(missing)? = value;
            }
            Ok(())
        }
        _ => Err(missing()),
    }
}

fn take(document: &mut Value, path: &str) -> Result<Value, Refusal> {
    let (parent, name) = split(path)?;
    match document.pointer_mut(parent).ok_or_else(missing)? {
        Value::Object(object) => object.remove(&name).ok_or_else(missing),
        Value::Array(array) => {
            let at: usize = name.parse().map_err(|_| missing())?;
            if at < array.len() { Ok(array.remove(at)) } else { Err(missing()) }
        }
        _ => Err(missing()),
    }
}

fn increment(document: &mut Value, path: &str, by: &Number) -> Result<(), Refusal> {
    let Some(slot) = document.pointer_mut(path) else {
        return put(document, path, Value::Number(by.clone()), false);
    };
    let sum = match (slot.as_i64(), by.as_i64()) {
        (Some(a), Some(b)) => a.checked_add(b).map(Number::from),
        _ => slot.as_f64().zip(by.as_f64()).and_then(|(a, b)| Number::from_f64(a + b)),
    };
    *slot = Value::Number(sum.ok_or_else(missing)?);
    Ok(())
}
