//! The types of AMQP 1.0 and their encoding (OASIS AMQP 1.0, part 1).

use bytes::{BufMut as _, Bytes};

/// Bytes that are not AMQP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("bytes end within a value")]
    Short,
    #[error("constructor 0x{0:02x} is unknown")]
    Constructor(u8),
    #[error("text is not UTF-8")]
    Text,
}

/// One AMQP value. Decimal and character types are left out: no client sends them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Ulong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(Bytes),
    String(String),
    Symbol(String),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// Values of one type.
    Array(Vec<Value>),
    Described(Box<Value>, Box<Value>),
}

impl Value {
    pub(crate) fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    pub(crate) fn symbol(text: impl Into<String>) -> Self {
        Self::Symbol(text.into())
    }

    pub(crate) fn described(code: u64, value: Self) -> Self {
        Self::Described(Box::new(Self::Ulong(code)), Box::new(value))
    }

    /// The text of a string or symbol.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number of any width that is not negative.
    pub(crate) fn unsigned(&self) -> Option<u64> {
        match *self {
            Self::Ubyte(n) => Some(n.into()),
            Self::Ushort(n) => Some(n.into()),
            Self::Uint(n) => Some(n.into()),
            Self::Ulong(n) => Some(n),
            Self::Int(n) => u64::try_from(n).ok(),
            Self::Long(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// The same, with at most 32 bits.
    pub(crate) fn uint(&self) -> Option<u32> {
        self.unsigned().and_then(|n| u32::try_from(n).ok())
    }

    /// A field of a map with text keys.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        let Self::Map(fields) = self else { return None };
        fields.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }

    /// The descriptor's code and the value of a described value.
    pub(crate) fn as_described(&self) -> Option<(u64, &Self)> {
        match self {
            Self::Described(descriptor, value) => Some((descriptor.unsigned()?, value)),
            _ => None,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.put_u8(0x40),
            Self::Bool(truth) => out.put_u8(if *truth { 0x41 } else { 0x42 }),
            // Descriptors among others: the Python client looks for what they describe two bytes on.
            Self::Ulong(n @ 0..=0xff) => {
                out.put_u8(0x53);
                out.put_u8(n.to_be_bytes()[7]);
            }
            Self::Described(descriptor, value) => {
                out.put_u8(0x00);
                descriptor.encode(out);
                value.encode(out);
            }
            other => {
                out.put_u8(other.constructor());
                other.encode_body(out);
            }
        }
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// The constructor of the widest form, which is the one that an array can hold as well.
    fn constructor(&self) -> u8 {
        match self {
            Self::Null => 0x40,
            Self::Bool(_) => 0x56,
            Self::Ubyte(_) => 0x50,
            Self::Ushort(_) => 0x60,
            Self::Uint(_) => 0x70,
            Self::Ulong(_) => 0x80,
            Self::Byte(_) => 0x51,
            Self::Short(_) => 0x61,
            Self::Int(_) => 0x71,
            Self::Long(_) => 0x81,
            Self::Float(_) => 0x72,
            Self::Double(_) => 0x82,
            Self::Timestamp(_) => 0x83,
            Self::Uuid(_) => 0x98,
            Self::Binary(_) => 0xb0,
            Self::String(_) => 0xb1,
            Self::Symbol(_) => 0xb3,
            Self::List(_) => 0xd0,
            Self::Map(_) => 0xd1,
            Self::Array(_) => 0xf0,
            Self::Described(..) => 0x00,
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Bool(truth) => out.put_u8(u8::from(*truth)),
            Self::Ubyte(n) => out.put_u8(*n),
            Self::Ushort(n) => out.put_u16(*n),
            Self::Uint(n) => out.put_u32(*n),
            Self::Ulong(n) => out.put_u64(*n),
            Self::Byte(n) => out.put_i8(*n),
            Self::Short(n) => out.put_i16(*n),
            Self::Int(n) => out.put_i32(*n),
            Self::Long(n) | Self::Timestamp(n) => out.put_i64(*n),
            Self::Float(n) => out.put_f32(*n),
            Self::Double(n) => out.put_f64(*n),
            Self::Uuid(bytes) => out.put_slice(bytes),
            Self::Binary(bytes) => put_sized(out, |out| out.put_slice(bytes)),
            Self::String(text) | Self::Symbol(text) => {
                put_sized(out, |out| out.put_slice(text.as_bytes()));
            }
            Self::List(values) => put_sized(out, |out| {
                put_count(out, values.len());
                for value in values {
                    value.encode(out);
                }
            }),
            Self::Map(fields) => put_sized(out, |out| {
                put_count(out, 2 * fields.len());
                for (key, value) in fields {
                    key.encode(out);
                    value.encode(out);
                }
            }),
            Self::Array(values) => put_sized(out, |out| {
                put_count(out, values.len());
                out.put_u8(values.first().map_or(0x40, Self::constructor));
                for value in values {
                    value.encode_body(out);
                }
            }),
            Self::Described(..) => self.encode(out),
        }
    }

    /// Takes one value off the front of `input`.
    pub(crate) fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        match take_u8(input)? {
            0x00 => {
                let descriptor = Self::decode(input)?;
                Ok(Self::Described(Box::new(descriptor), Box::new(Self::decode(input)?)))
            }
            constructor => Self::decode_body(constructor, input),
        }
    }

    fn decode_body(constructor: u8, input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match constructor {
            0x40 => Self::Null,
            0x41 => Self::Bool(true),
            0x42 => Self::Bool(false),
            0x56 => Self::Bool(take_u8(input)? != 0),
            0x50 => Self::Ubyte(take_u8(input)?),
            0x60 => Self::Ushort(u16::from_be_bytes(take(input)?)),
            0x70 => Self::Uint(u32::from_be_bytes(take(input)?)),
            0x52 => Self::Uint(take_u8(input)?.into()),
            0x43 => Self::Uint(0),
            0x80 => Self::Ulong(u64::from_be_bytes(take(input)?)),
            0x53 => Self::Ulong(take_u8(input)?.into()),
            0x44 => Self::Ulong(0),
            0x51 => Self::Byte(i8::from_be_bytes(take(input)?)),
            0x61 => Self::Short(i16::from_be_bytes(take(input)?)),
            0x71 => Self::Int(i32::from_be_bytes(take(input)?)),
            0x54 => Self::Int(i8::from_be_bytes(take(input)?).into()),
            0x81 => Self::Long(i64::from_be_bytes(take(input)?)),
            0x55 => Self::Long(i8::from_be_bytes(take(input)?).into()),
            0x72 => Self::Float(f32::from_be_bytes(take(input)?)),
            0x82 => Self::Double(f64::from_be_bytes(take(input)?)),
            0x83 => Self::Timestamp(i64::from_be_bytes(take(input)?)),
            0x98 => Self::Uuid(take(input)?),
            0xa0 | 0xb0 => Self::Binary(Bytes::copy_from_slice(take_sized(constructor, input)?)),
            0xa1 | 0xb1 => Self::String(text(take_sized(constructor, input)?)?),
            0xa3 | 0xb3 => Self::Symbol(text(take_sized(constructor, input)?)?),
            0x45 => Self::List(Vec::new()),
            0xc0 | 0xd0 => {
                let mut body = take_sized(constructor, input)?;
                let count = take_count(constructor, &mut body)?;
                Self::List(decode_many(count, &mut body)?)
            }
            0xc1 | 0xd1 => {
                let mut body = take_sized(constructor, input)?;
                let count = take_count(constructor, &mut body)?;
                let mut values = decode_many(count, &mut body)?.into_iter();
                let mut fields = Vec::with_capacity(count / 2);
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    fields.push((key, value));
                }
                Self::Map(fields)
            }
            0xe0 | 0xf0 => {
                let mut body = take_sized(constructor, input)?;
                let count = take_count(constructor, &mut body)?;
                let element = take_u8(&mut body)?;
                // At most one element per byte, even if the count is larger; elements without bytes are not
                // supported.
                let values = 0..count.min(body.len() + 1);
                let values = values.map(|_| Self::decode_body(element, &mut body));
                Self::Array(values.collect::<Result<_, _>>()?)
            }
            other => return Err(Malformed::Constructor(other)),
        })
    }
}

/// Takes one value off the front without reading it.
pub(crate) fn skip(input: &mut &[u8]) -> Result<(), Malformed> {
    let constructor = take_u8(input)?;
    // The upper half of a constructor is the width of the value.
    let width = match constructor >> 4 {
        0x0 => {
            skip(input)?;
            return skip(input);
        }
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa..=0xf => return take_sized(constructor, input).map(|_| ()),
        _ => return Err(Malformed::Constructor(constructor)),
    };
    take_slice(input, width).map(|_| ())
}

fn decode_many(count: usize, body: &mut &[u8]) -> Result<Vec<Value>, Malformed> {
    // Every element has at least one byte, so a larger count is invalid.
    if count > body.len() {
        return Err(Malformed::Short);
    }
    (0..count).map(|_| Value::decode(body)).collect()
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::Text)
}

fn take_u8(input: &mut &[u8]) -> Result<u8, Malformed> {
    Ok(take::<1>(input)?[0])
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, rest) = input.split_first_chunk().ok_or(Malformed::Short)?;
    *input = rest;
    Ok(*head)
}

fn take_slice<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, rest) = input.split_at_checked(length).ok_or(Malformed::Short)?;
    *input = rest;
    Ok(head)
}

/// What a size of one byte (constructors `0xa.`, `0xc.`, `0xe.`) or of four goes before.
fn take_sized<'a>(constructor: u8, input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let size = take_count(constructor, input)?;
    take_slice(input, size)
}

fn take_count(constructor: u8, input: &mut &[u8]) -> Result<usize, Malformed> {
    Ok(if constructor & 0x10 == 0 {
        take_u8(input)?.into()
    } else {
        u32::from_be_bytes(take(input)?) as usize
    })
}

fn put_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    write(out);
    let size = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Malformed, Value, skip};

    #[test]
    fn every_type_comes_back_as_it_was_and_can_be_skipped() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Ubyte(7),
            Value::Ushort(700),
            Value::Uint(70_000),
            Value::Ulong(1 << 40),
            Value::Byte(-7),
            Value::Short(-700),
            Value::Int(-70_000),
            Value::Long(-(1 << 40)),
            Value::Float(1.5),
            Value::Double(-2.5),
            Value::Timestamp(1_700_000_000_000),
            Value::Uuid([3; 16]),
            Value::Binary(Bytes::from_static(&[0, 1, 2])),
            Value::string("Größe"),
            Value::symbol("amqp:accepted:list"),
            Value::List(vec![Value::Null, Value::string("x"), Value::List(vec![])]),
            Value::Map(vec![(Value::symbol("a"), Value::Long(1))]),
            Value::Array(vec![Value::string("0"), Value::string("1")]),
            Value::described(0x24, Value::List(vec![])),
        ];
        for value in values {
            let bytes = value.encoded();
            let mut input = bytes.as_slice();
            assert_eq!(Value::decode(&mut input), Ok(value.clone()));
            assert!(input.is_empty(), "{value:?} left bytes");
            let mut input = bytes.as_slice();
            assert_eq!(skip(&mut input), Ok(()));
            assert!(input.is_empty(), "{value:?} was not skipped whole");
        }
    }

    #[test]
    fn short_and_unknown_bytes_are_refused() {
        let cases: [(&[u8], Malformed); 4] = [
            (&[], Malformed::Short),
            (&[0x70, 0, 0], Malformed::Short),
            (&[0xc0, 2, 200, 0x40], Malformed::Short),
            (&[0x3f], Malformed::Constructor(0x3f)),
        ];
        for (bytes, expected) in cases {
            let mut input = bytes;
            assert_eq!(Value::decode(&mut input), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn the_compact_forms_are_read() {
        let cases: [(&[u8], Value); 6] = [
            (&[0x43], Value::Uint(0)),
            (&[0x52, 9], Value::Uint(9)),
            (&[0x44], Value::Ulong(0)),
            (&[0x54, 0xff], Value::Int(-1)),
            (&[0xa1, 1, b'x'], Value::string("x")),
            (&[0x45], Value::List(vec![])),
        ];
        for (bytes, expected) in cases {
            let mut input = bytes;
            assert_eq!(Value::decode(&mut input), Ok(expected));
        }
    }
}
