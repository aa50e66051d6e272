//! Makes the message that is published for a change. Pure.
//!
//! AMQP 0-9-1 has no `CloudEvents` binding. The convention here is that of AMQP 1.0, with headers in
//! the place of application properties; the README of this crate writes it down.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>

use cosmos_bridge_event::{Event, TooLarge};
use cosmos_bridge_sink::{Change, Unrenderable};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::Settings;

/// Headers that `RabbitMQ` reads as further routing keys; it wants lists there.
///
/// <https://www.rabbitmq.com/docs/sender-selected>
pub const RESERVED_HEADERS: [&str; 2] = ["CC", "BCC"];

/// What stands before the name of an attribute in binary mode.
const PREFIX: &str = "ce-";

const APP_ID: &str = "cosmos-bridge";

/// Exchanges, routing keys and names of headers are short strings.
///
/// <https://www.rabbitmq.com/amqp-0-9-1-protocol> section 4.2.5.3
const SHORT: usize = 255;

/// What is published for one change.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
    /// The event's id, which is the message's too: what the broker returns is known by it.
    pub(crate) id: String,
}

/// Why there can be no message for a change. The text is the reason of the dead letter.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0} has {1} bytes, and AMQP takes {SHORT}")]
    Long(&'static str, usize),
    #[error("no {0}: {1}")]
    Unrenderable(String, Unrenderable),
    #[error("{0}")]
    TooLarge(#[from] TooLarge),
    #[error("the headers have {0} bytes, and the broker's frames take {1}")]
    Headers(usize, usize),
}

/// What the broker takes, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) message: usize,
    pub(crate) frame: usize,
}

/// A frame's own bytes, the fixed properties and the length of everything, generously.
const FRAME_OVERHEAD: usize = 512;

pub(crate) fn message(
    settings: &Settings,
    room: Room,
    change: &Change,
) -> Result<Message, Refusal> {
    let exchange = settings.exchange.render(change);
    let exchange = short("the exchange", exchange)?;
    let routing_key = short("the routing key", settings.routing_key.render(change))?;
    let mut headers = Vec::with_capacity(settings.headers.len());
    for (name, template) in &settings.headers {
        let value = template.render(change);
        let value = value.map_err(|why| Refusal::Unrenderable(format!("header {name}"), why))?;
        headers.push((name.clone(), value));
    }
    let event = settings.encoder.encode(change, room.message)?;
    headers.extend(attributes(settings, &event));
    // They are sent in one frame, which cannot be divided.
    let header_bytes = headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    if header_bytes + FRAME_OVERHEAD > room.frame {
        return Err(Refusal::Headers(header_bytes, room.frame));
    }
    let properties = properties(settings, &event, change).with_headers(table(headers)?);
    let body = event.body.unwrap_or_default();
    Ok(Message { exchange, routing_key, body, properties, id: event.id })
}

fn short(what: &'static str, text: Result<String, Unrenderable>) -> Result<ShortString, Refusal> {
    let text =
        text.map_err(|why| Refusal::Unrenderable(what.trim_start_matches("the ").to_owned(), why))?;
    let bytes = text.len();
    ShortString::try_new(text).map_err(|_| Refusal::Long(what, bytes))
}

/// The event's attributes, with the prefix of the binding where there is one.
fn attributes(settings: &Settings, event: &Event) -> impl Iterator<Item = (String, String)> {
    let prefix = if settings.encoder.format().is_binary_cloud_event() { PREFIX } else { "" };
    event.attributes.iter().map(move |(name, value)| (format!("{prefix}{name}"), value.clone()))
}

fn table(headers: Vec<(String, String)>) -> Result<FieldTable, Refusal> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        let name = short("the name of a header", Ok(name))?;
        table.insert(name, AMQPValue::LongString(LongString::from(value)));
    }
    Ok(table)
}

fn properties(settings: &Settings, event: &Event, change: &Change) -> BasicProperties {
    let kind = event.attributes.iter().find(|(name, _)| *name == "type");
    let kind = kind.map_or(change.operation.name(), |(_, value)| value);
    // None of these texts is longer than a short string: the bridge makes them.
    let properties = BasicProperties::default()
        .with_message_id(event.id.as_str().into())
        .with_type(kind.into())
        .with_app_id(APP_ID.into())
        .with_delivery_mode(if settings.persistent { 2 } else { 1 });
    let properties = match event.time.and_then(|time| u64::try_from(time).ok()) {
        Some(time) => properties.with_timestamp(time),
        None => properties,
    };
    // Without a body there is nothing that could be of some type.
    match &event.body {
        Some(_) => properties.with_content_type(event.content_type.into()),
        None => properties,
    }
}
