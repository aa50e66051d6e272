//! Documents as values of the interpreter, and back.

use cosmos_bridge_sink::Fields;
use jaq_json::{Num, Rc, Val};
use serde_json::{Number, Value};

use super::limits::{VALUES_MAX, is_too_large};

/// Deepest nesting that is converted: the interpreter recurses on the thread's stack.
pub(super) const DEPTH_MAX: usize = 256;

fn deeper(depth: usize) -> Result<usize, String> {
    if depth >= DEPTH_MAX {
        return Err(format!("the document nests deeper than {DEPTH_MAX} levels, too deep for jq"));
    }
    Ok(depth + 1)
}

pub(crate) fn of_document(document: &Fields) -> Result<Val, String> {
    of_object(document, 0)
}

fn of_object(object: &Fields, depth: usize) -> Result<Val, String> {
    let depth = deeper(depth)?;
    let entry = |(name, value): (&String, &Value)| {
        Ok((Val::utf8_str(name.clone().into_bytes()), of_value(value, depth)?))
    };
    Ok(Val::obj(object.iter().map(entry).collect::<Result<_, String>>()?))
}

/// Exact: integers stay integers, of any size, and doubles stay doubles.
fn of_value(value: &Value, depth: usize) -> Result<Val, String> {
    Ok(match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(*value),
        Value::Number(number) => Val::Num(match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Num::from_integral(integer),
            (None, Some(integer)) => Num::from_integral(integer),
            (None, None) => Num::Float(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::String(text) => Val::utf8_str(text.clone().into_bytes()),
        Value::Array(values) => {
            let depth = deeper(depth)?;
            let values = values.iter().map(|value| of_value(value, depth));
            Val::Arr(Rc::new(values.collect::<Result<_, _>>()?))
        }
        Value::Object(object) => of_object(object, depth)?,
    })
}

/// A whole number of any size from its digits, with `-` before them if it is negative.
pub(super) fn whole_number(digits: &str) -> Option<Val> {
    Num::from_str_radix(digits, 10).map(Val::Num)
}

pub(crate) fn to_json(value: &Val) -> Result<Value, String> {
    if is_too_large(value) {
        return Err(format!("the jq expression returns more than {VALUES_MAX} values"));
    }
    value_of(value, 0)
}

fn value_of(value: &Val, depth: usize) -> Result<Value, String> {
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Num(number) => Value::Number(number_of(number)?),
        Val::TStr(bytes) => Value::String(text_of(bytes)?),
        Val::BStr(_) => {
            return Err("the jq expression returns bytes, which JSON cannot represent".to_owned());
        }
        Val::Arr(values) => {
            let depth = deeper(depth)?;
            let values = values.iter().map(|value| value_of(value, depth));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Val::Obj(entries) => {
            let depth = deeper(depth)?;
            let entry = |(name, value): (&Val, &Val)| match name {
                Val::TStr(name) => Ok((text_of(name)?, value_of(value, depth)?)),
                _ => Err("the jq expression returns an object with a key that is not a string"
                    .to_owned()),
            };
            Value::Object(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

fn text_of(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| "the jq expression returns a string that is not UTF-8".to_owned())
}

/// The number as a JSON parser reads it: an integer beyond 64 bits becomes the nearest double.
fn number_of(number: &Num) -> Result<Number, String> {
    let float = |value: f64| {
        Number::from_f64(value)
            .ok_or_else(|| "the jq expression returns a number that is not finite".to_owned())
    };
    match number {
        Num::Int(integer) => Ok(Number::from(*integer as i64)),
        Num::Float(value) => float(*value),
        Num::BigInt(integer) => {
            let text = integer.to_string();
            match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(integer), _) => Ok(integer.into()),
                (_, Ok(integer)) => Ok(integer.into()),
                _ => float(text.parse().unwrap_or(f64::NAN)),
            }
        }
        Num::Dec(text) => float(text.parse().unwrap_or(f64::NAN)),
    }
}
