//! Requests of events, and nothing of the network.

use cosmos_bridge_event::{Encoder, Event, Format};
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

    /// A request with several events, whose format has no need of headers.
    pub(crate) fn batch<B: AsRef<[u8]>>(encoder: Encoder, bodies: &[B]) -> Self {
        let Format { cloud_events, .. } = encoder.format();
        let kind = if cloud_events.is_some() { BATCH } else { "application/json" };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let bytes: usize = bodies.iter().map(|body| body.as_ref().len() + 1).sum();
        let mut body = Vec::with_capacity(bytes + 2);
        body.push(b'[');
        for (number, event) in bodies.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            body.extend_from_slice(event.as_ref());
        }
        body.push(b']');
        Self { headers, body }
    }
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    // Names are lower-case letters, and values were made to fit.
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

/// As the binding says (section 3.1.3.2): everything but printable ASCII is percent-encoded, and so
/// are spaces, double quotes and percent signs.
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
    use cosmos_bridge_event::{ContentMode, Data, Oversize};

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

    #[test]
    fn a_batch_is_an_array() {
        let structured = encoder(Data::Document, Some(ContentMode::Structured));
        let message = Message::batch(structured, &[b"{}".to_vec(), b"[1]".to_vec()]);
        assert_eq!(message.body, b"[{},[1]]");
        assert_eq!(message.headers["content-type"], BATCH);
        let plain = Message::batch(encoder(Data::Envelope, None), &[b"{}".to_vec()]);
        assert_eq!(plain.headers["content-type"], "application/json");
    }
}
