//! Messages as they are sent and delivered (OASIS AMQP 1.0, part 3.2).

use bytes::Bytes;

use crate::amqp::value::skip;
use crate::amqp::{Malformed, Value};

/// The message format of a batch: one data section for each encoded event. Not documented; what
/// all official clients send.
pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;

pub(crate) const PARTITION_KEY: &str = "x-opt-partition-key";
/// Annotations that the service writes itself.
const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
const OFFSET: &str = "x-opt-offset";
const ENQUEUED_TIME: &str = "x-opt-enqueued-time";

const HEADER: u64 = 0x70;
const DELIVERY_ANNOTATIONS: u64 = 0x71;
const MESSAGE_ANNOTATIONS: u64 = 0x72;
const PROPERTIES: u64 = 0x73;
const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const AMQP_VALUE: u64 = 0x77;

/// An event as it was sent: the annotations of the sender, and the unparsed bytes from the properties on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) annotations: Vec<(Value, Value)>,
    pub(crate) rest: Bytes,
}

impl Sent {
    pub(crate) fn partition_key(&self) -> Option<&str> {
        let key = self.annotations.iter().find(|(name, _)| name.text() == Some(PARTITION_KEY));
        key.and_then(|(_, value)| value.text())
    }
}

/// The events of one delivery, each with the partition key of its envelope if it has none itself.
pub(crate) fn events(payload: &Bytes, format: u32) -> Result<Vec<Sent>, Malformed> {
    let envelope = Sections::read(payload)?;
    if format != BATCH_FORMAT {
        return Ok(vec![envelope.event()]);
    }
    let key = envelope.event().annotations;
    let key = key.into_iter().find(|(name, _)| name.text() == Some(PARTITION_KEY));
    let events = envelope.data.iter().map(|bytes| {
        let mut event = Sections::read(bytes)?.event();
        if event.partition_key().is_none() {
            event.annotations.extend(key.clone());
        }
        Ok(event)
    });
    events.collect()
}

/// A stored event with what the service adds to it.
pub(crate) fn deliver(sent: &Sent, sequence: i64, offset: u64, enqueued_ms: i64) -> Vec<u8> {
    let mut annotations = vec![
        (Value::symbol(SEQUENCE_NUMBER), Value::Long(sequence)),
        (Value::symbol(OFFSET), Value::string(offset.to_string())),
        (Value::symbol(ENQUEUED_TIME), Value::Timestamp(enqueued_ms)),
    ];
    let own = [SEQUENCE_NUMBER, OFFSET, ENQUEUED_TIME];
    let theirs = sent.annotations.iter();
    let theirs = theirs.filter(|(name, _)| name.text().is_none_or(|name| !own.contains(&name)));
    annotations.extend(theirs.cloned());
    let mut out = Value::described(MESSAGE_ANNOTATIONS, Value::Map(annotations)).encoded();
    out.extend_from_slice(&sent.rest);
    out
}

/// A request to `$cbs` or `$management`.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) message_id: Value,
    pub(crate) application_properties: Value,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn read(payload: &Bytes) -> Result<Self, Malformed> {
        let sections = Sections::read(payload)?;
        let message_id = match sections.properties {
            Value::List(fields) => fields.into_iter().next().unwrap_or(Value::Null),
            _ => Value::Null,
        };
        let application_properties = sections.application_properties;
        Ok(Self { message_id, application_properties, body: sections.value })
    }

    /// The text of an application property.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.application_properties.field(name).and_then(Value::text)
    }
}

/// The answer to a request, which names it by its message id.
pub(crate) fn answer(request: &Request, status: i32, description: &str, body: Value) -> Vec<u8> {
    let mut properties = vec![Value::Null; 13];
    properties[5] = request.message_id.clone();
    let mut out = Value::described(PROPERTIES, Value::List(properties)).encoded();
    // The clients accept the code as an int only.
    let status = vec![
        (Value::string("status-code"), Value::Int(status)),
        (Value::string("status-description"), Value::string(description)),
    ];
    Value::described(APPLICATION_PROPERTIES, Value::Map(status)).encode(&mut out);
    Value::described(AMQP_VALUE, body).encode(&mut out);
    out
}

/// The sections of one message.
struct Sections {
    annotations: Vec<(Value, Value)>,
    properties: Value,
    application_properties: Value,
    value: Value,
    data: Vec<Bytes>,
    rest: Bytes,
}

impl Sections {
    fn read(payload: &Bytes) -> Result<Self, Malformed> {
        let mut sections = Self {
            annotations: Vec::new(),
            properties: Value::Null,
            application_properties: Value::Null,
            value: Value::Null,
            data: Vec::new(),
            rest: Bytes::new(),
        };
        let mut rest_at = None;
        let mut input: &[u8] = payload;
        while !input.is_empty() {
            let start = payload.len() - input.len();
            let code = descriptor(&mut input)?;
            if !matches!(code, HEADER | DELIVERY_ANNOTATIONS | MESSAGE_ANNOTATIONS) {
                rest_at.get_or_insert(start);
            }
            match code {
                MESSAGE_ANNOTATIONS => {
                    if let Value::Map(fields) = Value::decode(&mut input)? {
                        sections.annotations = fields;
                    }
                }
                PROPERTIES => sections.properties = Value::decode(&mut input)?,
                APPLICATION_PROPERTIES => {
                    sections.application_properties = Value::decode(&mut input)?;
                }
                AMQP_VALUE => sections.value = Value::decode(&mut input)?,
                DATA => {
                    let body = input;
                    skip(&mut input)?;
                    // One byte of size behind the short constructor, four behind the long one.
                    let head = if body.first() == Some(&0xa0) { 2 } else { 5 };
                    let end = payload.len() - input.len();
                    sections.data.push(payload.slice(payload.len() - body.len() + head..end));
                }
                _ => skip(&mut input)?,
            }
        }
        sections.rest = payload.slice(rest_at.unwrap_or(payload.len())..);
        Ok(sections)
    }

    fn event(&self) -> Sent {
        Sent { annotations: self.annotations.clone(), rest: self.rest.clone() }
    }
}

/// The code of the section that begins here.
fn descriptor(input: &mut &[u8]) -> Result<u64, Malformed> {
    let (&first, rest) = input.split_first().ok_or(Malformed::Short)?;
    if first != 0 {
        return Err(Malformed::Constructor(first));
    }
    *input = rest;
    Value::decode(input)?.unsigned().ok_or(Malformed::Constructor(0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{
        BATCH_FORMAT, DATA, HEADER, MESSAGE_ANNOTATIONS, PARTITION_KEY, Request, answer, deliver,
        events,
    };
    use crate::amqp::Value;

    fn data(body: &[u8]) -> Vec<u8> {
        Value::described(DATA, Value::Binary(Bytes::copy_from_slice(body))).encoded()
    }

    fn annotated(key: &str) -> Vec<u8> {
        let map = vec![(Value::symbol(PARTITION_KEY), Value::string(key))];
        Value::described(MESSAGE_ANNOTATIONS, Value::Map(map)).encoded()
    }

    #[test]
    fn a_batch_is_one_event_for_each_data_section_under_the_key_of_its_envelope() {
        let header = Value::described(HEADER, Value::List(vec![Value::Bool(true)])).encoded();
        let with_own_key = [annotated("mine"), data(b"two")].concat();
        let payload =
            [header, annotated("shared"), data(&data(b"one")), data(&with_own_key)].concat();
        let events = events(&Bytes::from(payload), BATCH_FORMAT).unwrap();
        let keys: Vec<_> = events.iter().map(super::Sent::partition_key).collect();
        assert_eq!(keys, [Some("shared"), Some("mine")]);
        assert_eq!(events[0].rest, data(b"one"));
        assert_eq!(events[1].rest, data(b"two"));
    }

    #[test]
    fn a_delivered_event_says_where_it_lies_and_is_otherwise_as_sent() {
        let sent = events(&Bytes::from([annotated("k"), data(b"body")].concat()), 0).unwrap();
        let delivered = Bytes::from(deliver(&sent[0], 7, 4_096, 1_700_000_000_000));
        let again = events(&delivered, 0).unwrap().remove(0);
        let annotations = Value::Map(again.annotations.clone());
        assert_eq!(annotations.field("x-opt-sequence-number"), Some(&Value::Long(7)));
        assert_eq!(annotations.field("x-opt-offset"), Some(&Value::string("4096")));
        assert_eq!(again.partition_key(), Some("k"));
        assert_eq!(again.rest, data(b"body"));
    }

    #[test]
    fn an_answer_names_its_request() {
        let request = Request {
            message_id: Value::Ulong(9),
            application_properties: Value::Null,
            body: Value::Null,
        };
        let bytes = Bytes::from(answer(&request, 202, "Accepted", Value::Null));
        let read = super::Sections::read(&bytes).unwrap();
        let Value::List(fields) = read.properties else { panic!("no properties") };
        assert_eq!(fields[5], Value::Ulong(9));
        assert_eq!(read.application_properties.field("status-code"), Some(&Value::Int(202)));
    }
}
