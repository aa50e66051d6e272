//! Filters that differ from those of the interpreter, and filters that it lacks.

use jaq_core::box_iter::box_once;
use jaq_core::native::{Fun, bome, unary, v};
use jaq_core::{Bind, Cv, Error, Native};
use jaq_json::{Num, Rc, Val};
use jaq_std::ValT as _;
use serde::de::IgnoredAny;

use super::limits::{Limit, Limited, SIZE_MAX, deeper, is_too_large, step};
use super::{paths, regex, value};

/// Definitions in jq, see the file.
pub(super) const DEFINITIONS: &str = include_str!("defs.jq");

pub(super) fn filters() -> Vec<Fun<Limited>> {
    operators().into_iter().chain(replacements()).chain(regex::filters()).collect()
}

/// What operators and limits become.
fn operators() -> Vec<Fun<Limited>> {
    vec![
        step(),
        deeper(),
        (
            "@update",
            Box::from([Bind::Fun(()), Bind::Fun(())]),
            Native::new(|mut cv| {
                let (new, new_context) = cv.0.pop_fun();
                let (places, context) = cv.0.pop_fun();
                #[expect(clippy::default_trait_access, reason = "the type is private to the crate")]
                let start = (context, (cv.1.clone(), Default::default()));
                let mut paths = Vec::new();
                for found in places.paths(start) {
                    match found {
                        Ok((_, path)) => {
                            let path: Vec<_> = path.iter().cloned().collect();
                            paths.push(path.into_iter().rev().collect());
                        }
                        Err(error) => return box_once(Err(error)),
                    }
                }
                let new = |old| new.run((new_context.clone(), old)).next().transpose();
                box_once(paths::update(cv.1, paths, new))
            }),
        ),
        (
            "@remainder",
            v(2),
            Native::new(|mut cv| {
                let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
                bome(remainder(left, right))
            }),
        ),
        (
            "@product",
            v(2),
            Native::new(|mut cv| {
                let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
                if is_too_long(&left, &right) {
                    return bome(Err(cv.0.data().exceed(Limit::Size)));
                }
                bome(product(left, right))
            }),
        ),
        (
            "@quotient",
            v(2),
            Native::new(|mut cv| {
                let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
                let is_zero = matches!(&right, Val::Num(_)) && right.as_f64() == Some(0.0);
                if is_zero && matches!(left, Val::Num(_)) {
                    return bome(Err(Error::str("cannot calculate a division by zero")));
                }
                bome((left / right).map(whole))
            }),
        ),
    ]
}

/// Filters with names that expressions use, and those that definitions in `defs.jq` use.
fn replacements() -> Vec<Fun<Limited>> {
    vec![
        ("concat_", v(0), Native::new(|cv| bome(concat(&cv.1)))),
        (
            "type",
            v(0),
            Native::new(|cv| {
                let name = match cv.1 {
                    Val::Null => "null",
                    Val::Bool(_) => "boolean",
                    Val::Num(_) => "number",
                    Val::BStr(_) | Val::TStr(_) => "string",
                    Val::Arr(_) => "array",
                    Val::Obj(_) => "object",
                };
                box_once(Ok(Val::utf8_str(name)))
            }),
        ),
        (
            "@limited",
            v(0),
            Native::new(|cv| {
                let limited = limited(&cv);
                bome(limited.map(|()| cv.1))
            }),
        ),
        (
            "@last",
            Box::from([Bind::Fun(())]),
            Native::new(|mut cv| {
                let (filter, context) = cv.0.pop_fun();
                let last = filter.run((context, cv.1)).try_fold(Val::Null, |_, output| output);
                box_once(last)
            }),
        ),
        ("@is_null", v(0), Native::new(|cv| box_once(Ok(Val::Bool(cv.1 == Val::Null))))),
        (
            "@plain",
            v(0),
            Native::new(|cv| {
                let limited = limited(&cv);
                bome(limited.map(|()| plain(cv.1)))
            }),
        ),
        (
            "tojson",
            v(0),
            Native::new(|cv| {
                let limited = limited(&cv);
                bome(limited.map(|()| Val::utf8_str(plain(cv.1).to_string().into_bytes())))
            }),
        ),
        ("delpaths", v(1), Native::new(|cv| unary(cv, paths::delete_all))),
        ("tonumber", v(0), Native::new(|cv| bome(to_number(cv.1)))),
        ("fromjson", v(0), Native::new(|cv| bome(from_json(&cv.1)))),
        ("encode_base32", v(0), Native::new(|cv| bome(encode_base32(&cv.1)))),
        ("decode_base32", v(0), Native::new(|cv| bome(decode_base32(&cv.1)))),
    ]
}

/// Fails if the value cannot be a text.
fn limited(cv: &Cv<'_, Limited>) -> Result<(), Error<Val>> {
    if is_too_large(&cv.1) { Err(cv.0.data().exceed(Limit::Size)) } else { Ok(()) }
}

/// True if a text is repeated too often.
fn is_too_long(left: &Val, right: &Val) -> bool {
    let ((Val::TStr(text), times @ Val::Num(_)) | (times @ Val::Num(_), Val::TStr(text))) =
        (left, right)
    else {
        return false;
    };
    #[expect(clippy::cast_precision_loss, reason = "both are far below 2^52")]
    let (length, longest) = (text.len() as f64, SIZE_MAX as f64);
    length * times.as_f64().unwrap_or(0.0) > longest
}

/// A text times a number is repeated so often, rounded up; nothing if it is not at least once.
fn product(left: Val, right: Val) -> Result<Val, Error<Val>> {
    match (&left, &right) {
        (Val::TStr(text), times @ Val::Num(_)) | (times @ Val::Num(_), Val::TStr(text)) => {
            let times = times.as_f64().unwrap_or(0.0).ceil();
            if times.is_nan() || times < 1.0 {
                return Ok(Val::Null);
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limited")]
            Ok(Val::utf8_str(text.repeat(times as usize)))
        }
        _ => left * right,
    }
}

/// Doubles below 10^17 without a fraction as whole numbers: texts have them without `.0`.
fn plain(this: Val) -> Val {
    const WHOLE_MAX: f64 = 1e17;
    match this {
        Val::Num(Num::Float(number)) if number.is_nan() => Val::Null,
        Val::Num(Num::Dec(text)) => plain(Val::Num(Num::Float(text.parse().unwrap_or(f64::NAN)))),
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in the range")]
        Val::Num(Num::Float(number)) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
            Val::Num(Num::Int(number as isize))
        }
        Val::Arr(values) => Val::Arr(Rc::new(values.iter().cloned().map(plain).collect())),
        Val::Obj(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), plain(value.clone())));
            Val::obj(entries.collect())
        }
        other => other,
    }
}

/// A double without a fraction as a whole number, which indexes have to be.
fn whole(this: Val) -> Val {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match this {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in the range")]
        Val::Num(Num::Float(number)) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => {
            Val::Num(Num::Int(number as isize))
        }
        other => other,
    }
}

/// The remainder of the whole parts, with the sign of the left one.
fn remainder(left: Val, right: Val) -> Result<Val, Error<Val>> {
    let whole = |value: &Val| match value {
        Val::Num(Num::Int(integer)) => i128::try_from(*integer).ok(),
        Val::Num(Num::BigInt(_)) => None,
        #[expect(clippy::cast_possible_truncation, reason = "the whole part is meant")]
        other => other.as_f64().map(|number| number as i128),
    };
    match (whole(&left), whole(&right)) {
        (Some(_), Some(0)) => {
            Err(Error::str("cannot calculate the remainder of a division by zero"))
        }
        (Some(left), Some(right)) => value::whole_number(&(left % right).to_string())
            .ok_or_else(|| Error::str("cannot calculate a remainder")),
        _ => left % right,
    }
}

/// A text that is one number, and nothing else but white space.
fn to_number(this: Val) -> Result<Val, Error<Val>> {
    let text = match &this {
        Val::Num(_) => return Ok(this),
        Val::TStr(text) => std::str::from_utf8(text).unwrap_or_default().trim_ascii(),
        _ => return Err(Error::typ(this, "number")),
    };
    let is_digit = |c: char| c.is_ascii_digit();
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.chars().all(is_digit) {
        let digits = unsigned.trim_start_matches('0');
        let sign = if text.starts_with('-') { "-" } else { "" };
        let digits = if digits.is_empty() { "0" } else { digits };
        return value::whole_number(&format!("{sign}{digits}"))
            .ok_or_else(|| Error::str("cannot parse a text as a number"));
    }
    let is_number =
        unsigned.chars().all(|c| is_digit(c) || matches!(c, '.' | 'e' | 'E' | '-' | '+'));
    let number = text.parse().ok().filter(|_| is_number);
    number
        .map(|number| Val::Num(Num::Float(number)))
        .ok_or_else(|| Error::str("cannot parse a text as a number"))
}

/// A text that is one value, and nothing else but white space.
fn from_json(this: &Val) -> Result<Val, Error<Val>> {
    let text = bytes_of(this)?;
    let invalid = || Error::str("cannot parse a text as JSON");
    // The interpreter's parser takes more than JSON, and recurses on the stack. This one does not.
    let is_json = serde_json::from_slice::<IgnoredAny>(text).is_ok();
    if !is_json || levels(text) > value::DEPTH_MAX {
        return Err(invalid());
    }
    jaq_json::read::parse_single(text).map_err(|_| invalid())
}

/// The deepest nesting of brackets outside of strings, in JSON.
fn levels(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The texts of an array as one; null is no text.
fn concat(this: &Val) -> Result<Val, Error<Val>> {
    let Val::Arr(parts) = this else { return Err(Error::typ(this.clone(), "array")) };
    let mut whole = Vec::new();
    for part in parts.iter().filter(|part| **part != Val::Null) {
        whole.extend_from_slice(bytes_of(part)?);
    }
    Ok(Val::utf8_str(whole))
}

fn bytes_of(this: &Val) -> Result<&[u8], Error<Val>> {
    match this {
        Val::TStr(text) => Ok(text),
        other => Err(Error::typ(other.clone(), "string")),
    }
}

fn encode_base32(this: &Val) -> Result<Val, Error<Val>> {
    let text = data_encoding::BASE32.encode(bytes_of(this)?);
    Ok(Val::utf8_str(text.into_bytes()))
}

fn decode_base32(this: &Val) -> Result<Val, Error<Val>> {
    let bytes = data_encoding::BASE32.decode(bytes_of(this)?);
    let bytes = bytes.map_err(|_| Error::str("cannot parse a text as base32"))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::str("cannot parse base32 as a text"))?;
    Ok(Val::utf8_str(text.into_bytes()))
}
