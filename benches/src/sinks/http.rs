//! An HTTP endpoint: the sink, and reqwest with as many concurrent requests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_event::ContentMode;
use cosmos_bridge_http::{HttpOptions, HttpSink, Settings};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{Change, Sink};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, redirect};
use serde_json::Value;

use crate::Failure;
use crate::contest::{Contest, Made, Shared, Took, encoder, event, measure};
use crate::stand_ins::StandIn;

const REQUESTS: usize = 16;
const WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct HttpContest {
    endpoint: StandIn,
    /// Events in one request; one with attributes in headers, or several without.
    batch: usize,
    /// The path under which the endpoint records them, at first.
    path: &'static str,
    renewed: u32,
}

impl HttpContest {
    pub(crate) async fn start(batch: usize) -> Result<Self, Failure> {
        let endpoint = StandIn::start("endpoint").await?;
        Ok(Self { endpoint, batch, path: "/recorded", renewed: 0 })
    }

    fn url(&self) -> String {
        format!("{}{}", self.endpoint.address, self.path)
    }

    fn mode(&self) -> ContentMode {
        if self.batch > 1 { ContentMode::Structured } else { ContentMode::Binary }
    }
}

#[async_trait]
impl Contest for HttpContest {
    fn name(&self) -> &'static str {
        if self.batch > 1 { "http, batches of 100" } else { "http" }
    }

    fn changes(&self) -> u64 {
        if self.batch > 1 { 150_000 } else { 40_000 }
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        self.renewed += 1;
        if self.renewed > 2 {
            self.path = "/events";
        }
        Ok(())
    }

    fn sink(&self) -> Result<Arc<dyn Sink>, Failure> {
        let url = self.url();
        let mut options: HttpOptions = from_toml(&format!("url = {url:?}"))?;
        options.batch = self.batch;
        let settings = Settings::new(&url, options, encoder(self.mode()))?;
        Ok(Arc::new(HttpSink::new("bench", settings)?))
    }

    async fn bare(&self, changes: &Arc<[Change]>, made: Made) -> Result<Took, Failure> {
        let client = client()?;
        let url = self.url();
        client.request(reqwest::Method::OPTIONS, &url).send().await?.bytes().await?;
        let mode = self.mode();
        let requests = made.of(changes, self.batch, move |changes| request(mode, changes));
        let requests = Shared::new(requests);
        measure((0..REQUESTS).map(|_| post(client.clone(), url.clone(), requests.clone()))).await
    }

    async fn arrived(&self, _count: usize) -> Result<Vec<String>, Failure> {
        let read = client()?.get(self.url()).send().await?.bytes().await?;
        let read: Vec<Value> = serde_json::from_slice(&read)?;
        Ok(read.iter().map(Value::to_string).collect())
    }
}

/// Posts one request after the other.
async fn post(
    client: Client,
    url: String,
    requests: Shared<(HeaderMap, Vec<u8>)>,
) -> Result<(), Failure> {
    while let Some((headers, body)) = requests.next() {
        let answer = client.post(&url).headers(headers).body(body).send().await?;
        answer.error_for_status()?.bytes().await?;
    }
    Ok(())
}

fn client() -> Result<Client, Failure> {
    Ok(Client::builder()
        .user_agent(concat!("cosmos-bridge/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(WITHIN)
        .timeout(WITHIN)
        .build()?)
}

fn request(mode: ContentMode, changes: &[Change]) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    if let (ContentMode::Binary, [change]) = (mode, changes) {
        let event = event(mode, change);
        for (name, value) in &event.attributes {
            put(&format!("ce-{name}"), value);
            if *name == "traceparent" {
                put(name, value);
            }
        }
        put(CONTENT_TYPE.as_str(), event.content_type);
        return (headers, event.body.unwrap_or_default());
    }
    put(CONTENT_TYPE.as_str(), "application/cloudevents-batch+json; charset=utf-8");
    let mut body = vec![b'['];
    for (number, change) in changes.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&event(mode, change).body.unwrap_or_default());
    }
    body.push(b']');
    (headers, body)
}
