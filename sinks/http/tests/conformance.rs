//! The conformance suite, with an HTTP endpoint.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_brokers::{Endpoint, Request};
use cosmos_bridge_conformance::{Harness, Outage, Received, conforms};
use cosmos_bridge_event::{ContentMode, Data, Format};
use cosmos_bridge_http::{HttpOptions, HttpSink, Settings};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::Sink;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

/// An endpoint, and the number of its events that were read.
struct Hook {
    endpoint: Mutex<Endpoint>,
    read: Mutex<usize>,
    mode: ContentMode,
    batch: usize,
}

impl Hook {
    async fn start(mode: ContentMode, batch: usize) -> Self {
        let endpoint = Mutex::new(Endpoint::start().await.unwrap());
        Self { endpoint, read: Mutex::new(0), mode, batch }
    }

    fn events(&self, request: Request) -> Vec<Received> {
        if self.mode == ContentMode::Binary {
            return vec![binary(request)];
        }
        let events: Vec<&RawValue> = serde_json::from_str(&request.body).unwrap();
        events.into_iter().map(structured).collect()
    }
}

/// Decodes percent-encoded attributes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if let (b'%', [high, low, after @ ..]) = (first, after) {
            let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap();
            bytes.push(u8::try_from(digit(high) * 16 + digit(low)).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn binary(request: Request) -> Received {
    let attributes = request.headers.iter().filter_map(|(name, value)| {
        Some((name.strip_prefix("ce-")?.to_owned(), decoded(value.as_str()?)))
    });
    let attributes: Vec<_> = attributes.collect();
    let (_, document) = attributes.iter().find(|(name, _)| name == "subject").unwrap();
    let has_body = request.headers.contains_key("content-type");
    Received {
        document: document.clone(),
        body: has_body.then(|| request.body.into_bytes()),
        attributes,
    }
}

fn structured(text: &RawValue) -> Received {
    let event: serde_json::Map<String, Value> = serde_json::from_str(text.get()).unwrap();
    let attribute = |name: &str| event[name].as_str().unwrap().to_owned();
    Received {
        document: attribute("subject"),
        body: Some(text.get().as_bytes().to_vec()),
        attributes: ["traceparent", "percentencoded"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), event.get(name)?.as_str()?.to_owned())))
            .collect(),
    }
}

#[async_trait]
impl Harness for Hook {
    async fn open(&self) -> Arc<dyn Sink> {
        let mut options: HttpOptions = from_toml("url = \"http://localhost\"").unwrap();
        options.events.cloudevents = Some(self.mode);
        options.batch = self.batch;
        options.max_body = 100_000;
        options.request_timeout = Duration::from_secs(10);
        let encoder = options.events.encoder("");
        let url = self.endpoint.lock().await.url();
        let settings = Settings::new(&url, options, encoder).unwrap();
        Arc::new(HttpSink::new("conformance", settings).unwrap())
    }

    async fn received(&self, _at_least: usize) -> Vec<Received> {
        let taken = self.endpoint.lock().await.taken().unwrap();
        let mut read = self.read.lock().await;
        let new = taken.into_iter().skip(*read).collect::<Vec<_>>();
        *read += new.len();
        new.into_iter().flat_map(|request| self.events(request)).collect()
    }

    fn format(&self) -> Option<Format> {
        Some(Format { data: Data::Document, cloud_events: Some(self.mode) })
    }

    fn too_large(&self) -> Option<usize> {
        Some(100_000)
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }
}

#[async_trait]
impl Outage for Hook {
    async fn begin(&self) {
        self.endpoint.lock().await.kill().await;
    }

    async fn end(&self) {
        self.endpoint.lock().await.restart().await.unwrap();
    }
}

#[tokio::test]
async fn one_event_a_request() {
    conforms(&Hook::start(ContentMode::Binary, 1).await).await.unwrap();
}

#[tokio::test]
async fn many_events_a_request() {
    conforms(&Hook::start(ContentMode::Structured, 50).await).await.unwrap();
}
