//! jq expressions over documents.
//!
//! An expression is compiled once and run by any number of threads. It only has access to its
//! document: functions that depend on the clock, the environment or other inputs are not defined, so
//! that a change gives the same result when it is delivered again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cosmos_bridge_sink::Document;
use jaq_core::data::JustLut;
use jaq_core::{Ctx, Vars};
use jaq_json::{Num, Rc, Val};
use serde_json::{Number, Value};

use crate::config::jq::{self, Compiled};

/// Deepest nesting that jq processes: it recurses on the thread's stack.
const DEPTH_MAX: usize = 256;

/// A compiled expression.
pub(super) struct Jq {
    filter: Compiled,
    expression: String,
}

impl Jq {
    /// The error is [`jq::compile`]'s: why the expression cannot be used.
    pub(super) fn compile(expression: &str) -> Result<Self, String> {
        let filter = jq::compile(expression)?;
        Ok(Self { filter, expression: expression.to_owned() })
    }

    /// The document that the expression returns; `None` if it has no output.
    pub(super) fn transform(&self, document: &Document) -> Result<Option<Document>, String> {
        match self.first_two(document)? {
            (_, Some(_)) => Err("the jq expression returns more than one document".to_owned()),
            (None, None) => Ok(None),
            (Some(output), None) => match to_json(&output, 0)? {
                Value::Object(document) => Ok(Some(document)),
                other => Err(format!(
                    "the jq expression returns {}, not an object",
                    cosmos_bridge_sink::kind(&other)
                )),
            },
        }
    }

    /// Whether the first output is neither `false` nor `null`.
    pub(super) fn test(&self, document: &Document) -> Result<bool, String> {
        let first = self.run(document, |outputs| outputs.next().transpose())?;
        Ok(first.is_some_and(|value| !matches!(value, Val::Null | Val::Bool(false))))
    }

    fn first_two(&self, document: &Document) -> Result<(Option<Val>, Option<Val>), String> {
        self.run(document, |outputs| {
            let first = outputs.next().transpose()?;
            let second = if first.is_some() { outputs.next().transpose()? } else { None };
            Ok((first, second))
        })
    }

    fn run<T>(
        &self,
        document: &Document,
        take: impl FnOnce(&mut dyn Iterator<Item = Result<Val, String>>) -> Result<T, String>,
    ) -> Result<T, String> {
        let input = object_to_val(document, 0)?;
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        // The interpreter is a library: if it panics, the document is rejected and the next one is
        // processed normally.
        catch_unwind(AssertUnwindSafe(|| {
            let mut outputs = self.filter.id.run((context, input)).map(|output| {
                output.map_err(|exception| match exception.get_err() {
                    Ok(error) => self.redacted(&error.to_string()),
                    Err(_) => "the jq expression ends with an uncaught break".to_owned(),
                })
            });
            take(&mut outputs)
        }))
        .unwrap_or_else(|_| Err("the jq expression crashed the interpreter".to_owned()))
    }

    /// The message without contents of the document: the kind of the error, and texts that are part
    /// of the expression.
    fn redacted(&self, error: &str) -> String {
        if error.starts_with('"') && error.len() > 2 && self.expression.contains(error) {
            return format!("the jq expression raises {error}");
        }
        let end = |ends: &[&str]| {
            ends.iter()
                .find(|end| error.ends_with(*end))
                .map_or_else(String::new, |end| (*end).to_owned())
        };
        let message = if error.starts_with("cannot use ") {
            format!("cannot use a value{}", end(&USED_AS))
        } else if error.starts_with("cannot index ") {
            "cannot index a value of this type".to_owned()
        } else if error.starts_with("cannot calculate ") {
            "cannot calculate with values of these types".to_owned()
        } else if error.starts_with("cannot parse ") || error.starts_with("\"cannot parse ") {
            "cannot parse a string".to_owned()
        } else if error.starts_with("invalid path expression") {
            "invalid path expression".to_owned()
        } else {
            "it raises an error".to_owned()
        };
        format!("the jq expression fails: {message}")
    }
}

/// The ends of jq's type errors.
const USED_AS: [&str; 8] = [
    " as array",
    " as integer",
    " as iterable (array or object)",
    " as number",
    " as object",
    " as rangeable (array or string)",
    " as string",
    " as floating-point number",
];

fn deeper(depth: usize) -> Result<usize, String> {
    if depth >= DEPTH_MAX {
        return Err(format!("the document nests deeper than {DEPTH_MAX} levels, too deep for jq"));
    }
    Ok(depth + 1)
}

fn object_to_val(object: &Document, depth: usize) -> Result<Val, String> {
    let depth = deeper(depth)?;
    let entry = |(name, value): (&String, &Value)| {
        Ok((Val::utf8_str(name.clone().into_bytes()), to_val(value, depth)?))
    };
    Ok(Val::obj(object.iter().map(entry).collect::<Result<_, String>>()?))
}

/// Exact: integers stay integers, of any size, and doubles stay doubles.
fn to_val(value: &Value, depth: usize) -> Result<Val, String> {
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
            let values = values.iter().map(|value| to_val(value, depth));
            Val::Arr(Rc::new(values.collect::<Result<_, _>>()?))
        }
        Value::Object(object) => object_to_val(object, depth)?,
    })
}

fn to_json(value: &Val, depth: usize) -> Result<Value, String> {
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Num(number) => Value::Number(to_number(number)?),
        Val::TStr(bytes) => Value::String(to_text(bytes)?),
        Val::BStr(_) => {
            return Err("the jq expression returns bytes, which JSON cannot represent".to_owned());
        }
        Val::Arr(values) => {
            let depth = deeper(depth)?;
            let values = values.iter().map(|value| to_json(value, depth));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Val::Obj(entries) => {
            let depth = deeper(depth)?;
            let entry = |(name, value): (&Val, &Val)| match name {
                Val::TStr(name) => Ok((to_text(name)?, to_json(value, depth)?)),
                _ => Err("the jq expression returns an object with a key that is not a string"
                    .to_owned()),
            };
            Value::Object(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

fn to_text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| "the jq expression returns a string that is not UTF-8".to_owned())
}

/// The number as a JSON parser reads it: an integer beyond 64 bits becomes the nearest double.
fn to_number(number: &Num) -> Result<Number, String> {
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
