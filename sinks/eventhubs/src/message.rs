//! Events as AMQP messages, and batches of them.

use cosmos_bridge_event::{Event, Format};
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Batch, Data, Message, MessageAnnotations, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Symbol};
use serde_amqp::Value;

/// The message format of a batch: one data section for each encoded event. It is not documented, but
/// all clients of the vendor send it.
const BATCH_FORMAT: u32 = 0x8001_3700;
/// The annotation that the service routes by, and shows to consumers.
const PARTITION_KEY: &str = "x-opt-partition-key";
/// The prefix of binary `CloudEvents`: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>,
/// section 3.1.3.1. The specification also allows a colon, but clients for JMS do not.
pub(crate) const PREFIX: &str = "cloudEvents_";
/// The other prefix of the specification, which consumers accept.
pub(crate) const OTHER_PREFIX: &str = "cloudEvents:";
/// The bytes of a batch in addition to its events: an annotation with a key of 128 characters of four
/// bytes each.
const ENVELOPE_BYTES: usize = 640;
/// The bytes of a data section in addition to its content.
const SECTION_BYTES: usize = 8;

/// One event, encoded.
#[derive(Debug)]
pub(crate) struct Encoded(Vec<u8>);

impl Encoded {
    /// `None` if a value cannot be encoded in AMQP. No event has such a value.
    pub(crate) fn of(
        event: Event,
        format: Format,
        headers: Vec<(String, String)>,
        key: Option<&str>,
    ) -> Option<Self> {
        let prefix = if format.is_binary_cloud_event() { PREFIX } else { "" };
        let attributes = event.attributes.into_iter();
        let attributes = attributes.map(|(name, value)| (format!("{prefix}{name}"), value));
        let mut properties = ApplicationProperties::builder();
        for (name, value) in attributes.chain(headers) {
            properties = properties.insert(name, SimpleValue::String(value));
        }
        let message = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: key.map(annotations),
            properties: Some(
                Properties::builder()
                    .message_id(event.id)
                    .content_type(Symbol::from(event.content_type))
                    .build(),
            ),
            application_properties: Some(properties.build()),
            body: Data(Binary::from(event.body.unwrap_or_default())),
            footer: None,
        };
        serde_amqp::to_vec(&Serializable(message)).ok().map(Self)
    }

    /// The number of bytes in a batch.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len() + SECTION_BYTES
    }
}

fn annotations(key: &str) -> MessageAnnotations {
    MessageAnnotations::builder().insert(Symbol::from(PARTITION_KEY), Value::from(key)).build()
}

/// The number of bytes of events that fit into a message of `message_bytes_max` bytes.
pub(crate) fn event_bytes_max(message_bytes_max: u64) -> usize {
    usize::try_from(message_bytes_max).unwrap_or(usize::MAX).saturating_sub(ENVELOPE_BYTES)
}

/// One message of several events. If there is a key, all events have it.
pub(crate) fn batch(events: Vec<Encoded>, key: Option<&str>) -> Sendable<Batch<Data>> {
    let events = events.into_iter().map(|Encoded(bytes)| Data(Binary::from(bytes)));
    let message = Message {
        header: None,
        delivery_annotations: None,
        message_annotations: key.map(annotations),
        properties: None,
        application_properties: None,
        body: Batch::new(events.collect::<Vec<_>>()),
        footer: None,
    };
    Sendable { message, message_format: BATCH_FORMAT, settled: Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More would turn events that fit into dead letters; less would have the service refuse whole batches.
    #[test]
    fn the_bytes_of_an_event_are_those_that_it_takes_in_a_batch() {
        let size = |events: &[usize], key: Option<&str>| {
            let events = events.iter().map(|bytes| Encoded(vec![7; *bytes])).collect();
            serde_amqp::to_vec(&Serializable(batch(events, key).message)).unwrap().len()
        };
        let longest = "\u{1F511}".repeat(128);
        for bytes in [1, 255, 256, 70_000] {
            let counted = Encoded(vec![7; bytes]).bytes();
            let taken = size(&[100, bytes], None) - size(&[100], None);
            assert!(
                (taken..=taken + SECTION_BYTES).contains(&counted),
                "{bytes} {taken} {counted}"
            );
            let whole = size(&[bytes], Some(&longest));
            assert!(whole <= counted + ENVELOPE_BYTES, "{bytes} {whole} {counted}");
        }
    }
}
