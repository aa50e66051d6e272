//! Builds requests from events. Pure.

use cosmos_bridge_event::{Encoder, Event, Format, TooLarge};
use cosmos_bridge_sink::Change;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

/// One request's headers and body.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Several events as one JSON array.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#4-json-batch-format>
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

impl Message {
    /// A request with one event. The binding of binary mode gives attributes the prefix `ce-`.
    ///
    /// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>
    pub(crate) fn single(encoder: Encoder, event: Event) -> Self {
        let is_binary = encoder.format().is_binary_cloud_event();
        let mut headers = HeaderMap::new();
        for (name, value) in &event.attributes {
            let value = encoded(value);
            if *name == "traceparent" {
                put(&mut headers, name, &value);
            }
            if is_binary {
                put(&mut headers, &format!("ce-{name}"), &value);
            } else {
                put(&mut headers, name, &value);
            }
        }
        if event.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(event.content_type));
        }
        Self { headers, body: event.body.unwrap_or_default() }
    }

    /// A request for a batch without events; see [`Message::add`].
    pub(crate) fn batch(encoder: Encoder) -> Self {
        let Format { cloud_events, .. } = encoder.format();
        let kind = if cloud_events.is_some() { BATCH } else { "application/json" };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Self { headers, body: b"[]".to_vec() }
    }

    /// Adds the event of a change to a batch. Returns `false` if the batch has no room for it.
    ///
    /// # Errors
    ///
    /// The event is too large even for an empty batch. Then, and after `false`, the batch is unchanged.
    pub(crate) fn add(
        &mut self,
        encoder: Encoder,
        change: &Change,
        most: usize,
    ) -> Result<bool, TooLarge> {
        let end = self.body.len() - 1; // Before the closing bracket.
        let is_first = end == 1;
        self.body.truncate(end);
        if !is_first {
            self.body.push(b',');
        }
        let event = encoder.append_body(change, most.saturating_sub(2), &mut self.body);
        let fits = is_first || self.body.len() < most;
        if event.is_err() || !fits {
            self.body.truncate(end);
        }
        self.body.push(b']');
        event.map(|()| fits)
    }
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    // Names are lower-case letters, and values are encoded, so no entry is skipped.
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

/// Percent-encodes spaces, double quotes, percent signs, and everything but printable ASCII, as
/// section 3.1.3.2 of the binding requires.
fn encoded(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' | 0..=0x20 | 0x7f..=0xff => {
                let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
                value.push('%');
                value.extend([byte >> 4, byte & 15].map(|four| digit(four).to_ascii_uppercase()));
            }
            _ => value.push(char::from(byte)),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cosmos_bridge_event::{ContentMode, Data, Oversize};
    use cosmos_bridge_sink::{ContainerName, KeyValue, Operation, Origin, PartitionKey};

    use super::*;

    fn encoder(data: Data, cloud_events: Option<ContentMode>) -> Encoder {
        Encoder::new(Format { data, cloud_events }, Oversize::DeadLetter)
    }

    fn event(body: Option<&str>) -> Event {
        Event {
            id: "1".to_owned(),
            content_type: "application/json",
            body: body.map(|body| body.as_bytes().to_vec()),
            attributes: vec![
                ("subject", "Größe 1%\"".to_owned()),
                ("traceparent", "00-1-2-00".to_owned()),
            ],
            time: None,
        }
    }

    #[test]
    fn attributes_are_headers_with_the_binding_s_prefix() {
        let binary = encoder(Data::Document, Some(ContentMode::Binary));
        let message = Message::single(binary, event(Some("{}")));
        let header = |name: &str| message.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("ce-subject"), Some("Gr%C3%B6%C3%9Fe%201%25%22"));
        assert_eq!(header("ce-traceparent"), Some("00-1-2-00"));
        assert_eq!(header("traceparent"), Some("00-1-2-00"));
        assert_eq!(header("content-type"), Some("application/json"));
        let gone = Message::single(binary, event(None));
        assert!(gone.body.is_empty() && !gone.headers.contains_key("content-type"));
        let plain = Message::single(encoder(Data::Document, None), event(Some("{}")));
        assert!(plain.headers.contains_key("subject") && !plain.headers.contains_key("ce-subject"));
    }

    fn change(text: &str) -> Change {
        let partition_key = PartitionKey(vec![KeyValue::String("nord".to_owned())]);
        let container = ContainerName {
            account: "a".to_owned(),
            database: "d".to_owned(),
            container: "c".to_owned(),
            rid: "rid".to_owned(),
        };
        let origin = Origin {
            container: Arc::new(container),
            id: "1".to_owned(),
            partition_key: partition_key.clone(),
            lsn: Some(1),
            committed_at: None,
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        };
        let document = [("text".to_owned(), text.into())].into_iter().collect();
        Change {
            id: "1".to_owned(),
            partition_key,
            operation: Operation::Upsert { document: Arc::new(document) },
            previous: None,
            origin: Arc::new(origin),
            old_copies: cosmos_bridge_sink::OldCopies::None,
        }
    }

    #[test]
    fn a_batch_is_an_array_of_the_events_that_fit() {
        // The configuration does not allow this format, but its bodies are short enough for a table.
        let plain = encoder(Data::Document, None);
        let mut batch = Message::batch(plain);
        assert_eq!(batch.headers["content-type"], "application/json");
        let adds = [
            ("a", Ok(true), r#"[{"text":"a"}]"#),
            ("b", Ok(true), r#"[{"text":"a"},{"text":"b"}]"#),
            ("c", Ok(false), r#"[{"text":"a"},{"text":"b"}]"#),
            ("0123456789012345", Err((27, 25)), r#"[{"text":"a"},{"text":"b"}]"#),
        ];
        for (text, expected, body) in adds {
            let added = batch.add(plain, &change(text), 27);
            assert_eq!(added.map_err(|TooLarge { bytes, most }| (bytes, most)), expected, "{text}");
            assert_eq!(String::from_utf8_lossy(&batch.body), body, "{text}");
        }
        let structured = encoder(Data::Document, Some(ContentMode::Structured));
        assert_eq!(Message::batch(structured).headers["content-type"], BATCH);
    }

    #[test]
    fn an_event_may_fill_a_batch_to_its_last_byte() {
        let plain = encoder(Data::Document, None);
        for (text, is_taken) in [("01234567890123", true), ("012345678901234", false)] {
            let added = Message::batch(plain).add(plain, &change(text), 27);
            assert_eq!(added.is_ok(), is_taken, "{text}");
        }
    }
}
