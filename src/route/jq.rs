//! jq expressions over documents.
//!
//! Compiled once, run by any number of threads. An expression sees its document and nothing else:
//! what depends on the clock, the environment or other inputs is not defined, so that a change
//! that is delivered again looks the same again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cosmos_bridge_sink::Document;
use jaq_core::data::JustLut;
use jaq_core::{Ctx, Vars};
use jaq_json::{Num, Rc, Val};
use serde_json::{Number, Value};

use crate::config::jq::{self, Compiled};

/// Deepest nesting that goes through jq: its recursion is on the thread's stack.
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

    /// The document that the expression makes; `None` if it gives nothing.
    pub(super) fn transform(&self, document: &Document) -> Result<Option<Document>, String> {
        match self.first_two(document)? {
            (_, Some(_)) => Err("the jq expression gives more than one document".to_owned()),
            (None, None) => Ok(None),
            (Some(output), None) => match to_json(&output, 0)? {
                Value::Object(document) => Ok(Some(document)),
                other => Err(format!(
                    "the jq expression gives {}, not an object",
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
        // The interpreter is not ours: should it panic over a document, the document is rejected
        // and the next one starts afresh.
        catch_unwind(AssertUnwindSafe(|| {
            let mut outputs = self.filter.id.run((context, input)).map(|output| {
                output.map_err(|exception| match exception.get_err() {
                    Ok(error) => self.told(&error.to_string()),
                    Err(_) => "the jq expression breaks off".to_owned(),
                })
            });
            take(&mut outputs)
        }))
        .unwrap_or_else(|_| Err("the jq expression made the interpreter fail".to_owned()))
    }

    /// What may be told of an error: its kind, and texts that stand in the expression itself. The
    /// rest is taken from the document.
    fn told(&self, error: &str) -> String {
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
            "cannot parse a text".to_owned()
        } else if error.starts_with("invalid path expression") {
            "invalid path expression".to_owned()
        } else {
            "it raises an error of its own".to_owned()
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
        Val::BStr(_) => return Err("the jq expression gives bytes, which are no JSON".to_owned()),
        Val::Arr(values) => {
            let depth = deeper(depth)?;
            let values = values.iter().map(|value| to_json(value, depth));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Val::Obj(entries) => {
            let depth = deeper(depth)?;
            let entry = |(name, value): (&Val, &Val)| match name {
                Val::TStr(name) => Ok((to_text(name)?, to_json(value, depth)?)),
                _ => {
                    Err("the jq expression gives an object with a name that is no text".to_owned())
                }
            };
            Value::Object(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

fn to_text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| "the jq expression gives a text that is not UTF-8".to_owned())
}

/// As the number would be read from JSON: beyond 64 bits an integer becomes the nearest double.
fn to_number(number: &Num) -> Result<Number, String> {
    let float = |value: f64| {
        Number::from_f64(value)
            .ok_or_else(|| "the jq expression gives a number that is not finite".to_owned())
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
