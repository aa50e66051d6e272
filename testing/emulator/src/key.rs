//! Partition keys: their values, their paths, and their effective form.

use std::fmt;

use serde_json::Value;

/// One component of a partition key.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValue {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// Why a partition key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("the partition key header is not a JSON array")]
    Header,
    #[error("partition key components must be scalar")]
    NotScalar,
    #[error("the partition key path passes through a value that is not an object")]
    NotAnObject,
    #[error("`{0}` is not a bound of effective partition keys")]
    Bound(String),
}

impl KeyValue {
    fn read(value: &Value) -> Result<Self, KeyError> {
        match value {
            Value::Null => Ok(Self::Null),
            Value::Bool(value) => Ok(Self::Bool(*value)),
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Number(number) => number.as_f64().map(Self::Number).ok_or(KeyError::NotScalar),
            Value::Object(object) if object.is_empty() => Ok(Self::Undefined),
            Value::Object(_) | Value::Array(_) => Err(KeyError::NotScalar),
        }
    }

    /// The value as JSON; an undefined one is an empty object, as in the header.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Undefined => Value::Object(serde_json::Map::new()),
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => integral(*number)
                .map_or_else(|| serde_json::json!(number), |integer| serde_json::json!(integer)),
            Self::Text(text) => Value::String(text.clone()),
        }
    }
}

/// A double that is a whole number within the exact range, as that number.
pub(crate) fn integral(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "bounded by the exact range above")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Reads the partition key header, for example `["tenant", 7]`; `[]` is no key at all.
pub fn parse_header(header: &str) -> Result<Vec<KeyValue>, KeyError> {
    let value: Value = serde_json::from_str(header.trim()).map_err(|_| KeyError::Header)?;
    value.as_array().ok_or(KeyError::Header)?.iter().map(KeyValue::read).collect()
}

/// One path of a partition key or of a unique key, such as `/address/city`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// Splits a path; quoted segments may contain slashes.
    pub fn parse(path: &str) -> Self {
        let mut segments = Vec::new();
        let mut rest = path;
        while let Some(after) = rest.strip_prefix('/') {
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (segment, tail) = match quote {
                Some(quote) => {
                    after.get(1..).and_then(|inner| inner.split_once(quote)).unwrap_or((after, ""))
                }
                None => after.find('/').map_or((after, ""), |at| after.split_at(at)),
            };
            segments.push(segment.trim().to_owned());
            rest = tail;
        }
        Self(segments)
    }

    /// The top-level property the path starts at.
    pub fn head(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Follows the path below its first property.
    pub fn read_below_head(&self, value: &Value) -> Result<KeyValue, KeyError> {
        let mut current = value;
        for segment in self.0.iter().skip(1) {
            match current.as_object().ok_or(KeyError::NotAnObject)?.get(segment) {
                Some(next) => current = next,
                None => return Ok(KeyValue::Undefined),
            }
        }
        KeyValue::read(current)
    }

    /// The value at the path in a whole document, if there is one.
    pub fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, segment| value.get(segment))
    }

    /// Puts a value at the path, below objects that are made as needed.
    pub fn put(&self, document: &mut Value, value: Value) {
        let mut place = document;
        for segment in &self.0 {
            if !place.is_object() {
                *place = Value::Object(serde_json::Map::new());
            }
            place = &mut place[segment.as_str()];
        }
        *place = value;
    }
}

/// The hash of a partition key, ordered as the service orders it. Trailing zero bytes mean nothing
/// and are not kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectiveKey(Box<[u8]>);

impl EffectiveKey {
    /// The lowest key.
    pub fn min() -> Self {
        Self(Box::default())
    }

    /// Above every key.
    pub fn max() -> Self {
        Self([0xFF].into())
    }

    /// Reads hexadecimal text, as in range bounds and headers.
    pub fn from_hex(hex: &str) -> Result<Self, KeyError> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let bad = || KeyError::Bound(hex.to_owned());
        if !hex.len().is_multiple_of(2) {
            return Err(bad());
        }
        let mut bytes = hex
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| {
                let (high, low) = (digit(pair[0])?, digit(pair[1])?);
                u8::try_from(high * 16 + low).ok()
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(bad)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(Self(bytes.into()))
    }

    /// In upper case, as in range bounds.
    pub fn to_hex(&self) -> String {
        hex(&self.0).to_ascii_uppercase()
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

impl fmt::Debug for EffectiveKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}
