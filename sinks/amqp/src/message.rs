//! Builds the message that is published for a change. Pure.
//!
//! AMQP 0-9-1 has no `CloudEvents` binding. This crate uses the binding of AMQP 1.0, with headers
//! instead of application properties; see the README of this crate.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>

use cosmos_bridge_event::{Event, TooLarge};
use cosmos_bridge_sink::{Change, Unrenderable};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::Settings;
use crate::options::PREFIX;
use crate::short_string::SHORT;

const APP_ID: &str = "cosmos-bridge";

/// The message for one change.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
    /// The id of the event and of the message. A returned message is recognized by it.
    pub(crate) id: String,
}

/// Why there is no message for a change. The text is the reason of the dead letter.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("{0} has {1} bytes; AMQP allows {SHORT}")]
    Long(&'static str, usize),
    #[error("no {0}: {1}")]
    Unrenderable(String, Unrenderable),
    #[error("{0}")]
    TooLarge(#[from] TooLarge),
    #[error("the headers have {0} bytes; a frame of the broker holds {1}")]
    Headers(usize, usize),
}

/// The known size limits of the broker, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizeLimits {
    pub(crate) message: usize,
    pub(crate) frame: usize,
}

/// An upper bound of the frame's own bytes, the fixed properties and the length fields.
const FRAME_OVERHEAD: usize = 512;

pub(crate) fn message(
    settings: &Settings,
    limits: SizeLimits,
    change: &Change,
) -> Result<Message, MessageError> {
    let exchange = settings.options.exchange.render(change);
    let exchange = short("the exchange", exchange)?;
    let routing_key = short("the routing key", settings.options.routing_key.render(change))?;
    let mut headers = Vec::with_capacity(settings.options.headers.len());
    for (name, template) in &settings.options.headers {
        let value = template.render(change);
        let value =
            value.map_err(|why| MessageError::Unrenderable(format!("header {name}"), why))?;
        headers.push((name.clone(), value));
    }
    let event = settings.encoder.encode(change, limits.message)?;
    headers.extend(attributes(settings, &event));
    // All headers are sent in one frame.
    let header_bytes = headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    if header_bytes + FRAME_OVERHEAD > limits.frame {
        return Err(MessageError::Headers(header_bytes, limits.frame));
    }
    let properties = properties(settings, &event, change).with_headers(table(headers)?);
    let body = event.body.unwrap_or_default();
    Ok(Message { exchange, routing_key, body, properties, id: event.id })
}

fn short(
    what: &'static str,
    text: Result<String, Unrenderable>,
) -> Result<ShortString, MessageError> {
    let text = text.map_err(|why| {
        MessageError::Unrenderable(what.trim_start_matches("the ").to_owned(), why)
    })?;
    let bytes = text.len();
    ShortString::try_new(text).map_err(|_| MessageError::Long(what, bytes))
}

/// The event's attributes, with the prefix of the binding in binary mode.
fn attributes(settings: &Settings, event: &Event) -> impl Iterator<Item = (String, String)> {
    let prefix = if settings.encoder.format().is_binary_cloud_event() { PREFIX } else { "" };
    event.attributes.iter().map(move |(name, value)| (format!("{prefix}{name}"), value.clone()))
}

fn table(headers: Vec<(String, String)>) -> Result<FieldTable, MessageError> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        let name = short("the name of a header", Ok(name))?;
        table.insert(name, AMQPValue::LongString(LongString::from(value)));
    }
    Ok(table)
}

fn properties(settings: &Settings, event: &Event, change: &Change) -> BasicProperties {
    let kind = event.attributes.iter().find(|(name, _)| *name == "type");
    let kind = kind.map_or(change.event_name(), |(_, value)| value);
    // The bridge makes these texts; none is longer than a short string.
    let properties = BasicProperties::default()
        .with_message_id(event.id.as_str().into())
        .with_type(kind.into())
        .with_app_id(APP_ID.into())
        .with_delivery_mode(if settings.options.persistent { 2 } else { 1 });
    let properties = match event.time.and_then(|time| u64::try_from(time).ok()) {
        Some(time) => properties.with_timestamp(time),
        None => properties,
    };
    // A message without a body has no content type.
    match &event.body {
        Some(_) => properties.with_content_type(event.content_type.into()),
        None => properties,
    }
}
