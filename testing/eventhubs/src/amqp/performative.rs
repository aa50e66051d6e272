//! The performatives of frames: their codes and fields (OASIS AMQP 1.0, parts 2.7 and 3.4).
//!
//! Every performative is written with all its fields, nulls included: the official Python client
//! indexes them all and fails on a list that leaves out those at the end.

use super::value::{Malformed, Value};

pub(crate) const OPEN: u64 = 0x10;
pub(crate) const BEGIN: u64 = 0x11;
pub(crate) const ATTACH: u64 = 0x12;
pub(crate) const FLOW: u64 = 0x13;
pub(crate) const TRANSFER: u64 = 0x14;
pub(crate) const DISPOSITION: u64 = 0x15;
pub(crate) const DETACH: u64 = 0x16;
pub(crate) const END: u64 = 0x17;
pub(crate) const CLOSE: u64 = 0x18;
const ERROR: u64 = 0x1d;
const ACCEPTED: u64 = 0x24;
const REJECTED: u64 = 0x25;
const RELEASED: u64 = 0x26;
const MODIFIED: u64 = 0x27;
const SASL_MECHANISMS: u64 = 0x40;
const SASL_OUTCOME: u64 = 0x44;

/// A received performative.
#[derive(Debug, Clone)]
pub(crate) struct Performative {
    pub(crate) code: u64,
    fields: Vec<Value>,
}

impl Performative {
    pub(crate) fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        match Value::decode(input)? {
            Value::Described(descriptor, value) => {
                let code = descriptor.unsigned().ok_or(Malformed::Constructor(0))?;
                let Value::List(fields) = *value else { return Err(Malformed::Constructor(0)) };
                Ok(Self { code, fields })
            }
            _ => Err(Malformed::Constructor(0)),
        }
    }

    /// The field at `index`; null if the list is shorter.
    pub(crate) fn field(&self, index: usize) -> &Value {
        self.fields.get(index).unwrap_or(&Value::Null)
    }

    pub(crate) fn is_true(&self, index: usize) -> bool {
        *self.field(index) == Value::Bool(true)
    }
}

/// The condition and description with which a link or connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) condition: String,
    pub(crate) description: String,
}

impl Failure {
    pub(crate) fn new(condition: &str, description: impl Into<String>) -> Self {
        Self { condition: condition.to_owned(), description: description.into() }
    }

    fn value(&self) -> Value {
        let fields =
            vec![Value::symbol(&self.condition), Value::string(&self.description), Value::Null];
        Value::described(ERROR, Value::List(fields))
    }
}

/// The outcome of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Accepted,
    Rejected(Failure),
    Released,
    Modified,
}

impl State {
    fn value(&self) -> Value {
        match self {
            Self::Accepted => Value::described(ACCEPTED, Value::List(vec![])),
            Self::Rejected(failure) => {
                Value::described(REJECTED, Value::List(vec![failure.value()]))
            }
            Self::Released => Value::described(RELEASED, Value::List(vec![])),
            Self::Modified => Value::described(
                MODIFIED,
                Value::List(vec![Value::Bool(true), Value::Bool(false), Value::Null]),
            ),
        }
    }
}

pub(crate) fn sasl_mechanisms() -> Value {
    let names = ["MSSBCBS", "ANONYMOUS"].map(Value::symbol);
    Value::described(SASL_MECHANISMS, Value::List(vec![Value::Array(names.to_vec())]))
}

pub(crate) fn sasl_ok() -> Value {
    Value::described(SASL_OUTCOME, Value::List(vec![Value::Ubyte(0), Value::Null]))
}

pub(crate) fn open(container: &str, frame_bytes_max: u32) -> Value {
    let mut fields = vec![Value::Null; 10];
    fields[0] = Value::string(container);
    fields[2] = Value::Uint(frame_bytes_max);
    fields[3] = Value::Ushort(4_999);
    // The service ends a connection that is silent for four minutes.
    fields[4] = Value::Uint(240_000);
    Value::described(OPEN, Value::List(fields))
}

pub(crate) fn begin(remote_channel: u16, incoming_window: u32) -> Value {
    let mut fields = vec![Value::Null; 8];
    fields[0] = Value::Ushort(remote_channel);
    fields[1] = Value::Uint(0);
    fields[2] = Value::Uint(incoming_window);
    fields[3] = Value::Uint(incoming_window);
    // The Python client takes a missing value for zero.
    fields[4] = Value::Uint(255);
    Value::described(BEGIN, Value::List(fields))
}

/// The answer to an attach. `accepted` is false if a detach follows: source and target are then null, as the
/// protocol requires.
pub(crate) fn attach(asked: &Performative, message_bytes_max: u64, accepted: bool) -> Value {
    let we_receive = !asked.is_true(2);
    let mut fields = vec![Value::Null; 14];
    fields[0] = asked.field(0).clone();
    fields[1] = asked.field(1).clone();
    fields[2] = Value::Bool(we_receive);
    fields[3] = match asked.field(3) {
        Value::Null => Value::Ubyte(2),
        mode => mode.clone(),
    };
    // Receiver settles first, even if the client asks for another mode: every disposition is settled, and the Python
    // client ignores those that are not.
    fields[4] = Value::Ubyte(0);
    if accepted {
        fields[5] = asked.field(5).clone();
        fields[6] = asked.field(6).clone();
    }
    if !we_receive {
        fields[9] = Value::Uint(0);
    }
    fields[10] = Value::Ulong(message_bytes_max);
    Value::described(ATTACH, Value::List(fields))
}

/// The state of a session, from its flow frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionFlow {
    pub(crate) next_incoming: u32,
    pub(crate) incoming_window: u32,
    pub(crate) next_outgoing: u32,
}

/// The state of a link, from its flow frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkFlow {
    pub(crate) handle: u32,
    pub(crate) delivery_count: u32,
    pub(crate) credit: u32,
    pub(crate) drain: bool,
}

pub(crate) fn flow(session: SessionFlow, link: Option<LinkFlow>) -> Value {
    let mut fields = vec![Value::Null; 11];
    fields[0] = Value::Uint(session.next_incoming);
    fields[1] = Value::Uint(session.incoming_window);
    fields[2] = Value::Uint(session.next_outgoing);
    fields[3] = Value::Uint(session.incoming_window);
    if let Some(link) = link {
        fields[4] = Value::Uint(link.handle);
        fields[5] = Value::Uint(link.delivery_count);
        fields[6] = Value::Uint(link.credit);
        fields[8] = Value::Bool(link.drain);
    }
    fields[9] = Value::Bool(false);
    Value::described(FLOW, Value::List(fields))
}

pub(crate) fn transfer(handle: u32, delivery: u32, settled: bool, more: bool) -> Value {
    let mut fields = vec![Value::Null; 11];
    fields[0] = Value::Uint(handle);
    fields[1] = Value::Uint(delivery);
    fields[2] = Value::Binary(bytes::Bytes::copy_from_slice(&delivery.to_be_bytes()));
    fields[3] = Value::Uint(0);
    fields[4] = Value::Bool(settled);
    fields[5] = Value::Bool(more);
    Value::described(TRANSFER, Value::List(fields))
}

pub(crate) fn disposition(delivery: u32, state: &State) -> Value {
    let fields = vec![
        Value::Bool(true),
        Value::Uint(delivery),
        Value::Uint(delivery),
        Value::Bool(true),
        state.value(),
        Value::Bool(false),
    ];
    Value::described(DISPOSITION, Value::List(fields))
}

pub(crate) fn detach(handle: u32, failure: Option<&Failure>) -> Value {
    let error = failure.map_or(Value::Null, Failure::value);
    Value::described(DETACH, Value::List(vec![Value::Uint(handle), Value::Bool(true), error]))
}

pub(crate) fn end() -> Value {
    Value::described(END, Value::List(vec![Value::Null]))
}

pub(crate) fn close(failure: Option<&Failure>) -> Value {
    let error = failure.map_or(Value::Null, Failure::value);
    Value::described(CLOSE, Value::List(vec![error]))
}
