//! End to end: a local account, the release binary of the bridge, Apache Kafka. All on loopback.

mod idle;
mod processes;
mod reader;
mod writer;

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cosmos_bridge_brokers::Kafka;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::Failure;
use crate::changes::order;
use processes::{Account, Bridge, bridge, build};
use reader::{Seen, read};
use writer::{Written, write};

const CONTAINER: &str = "shop/orders";
const PER_SECOND: u64 = 1000;
/// The warm-up, which is not measured: connections are opened, caches filled.
const WARM_UP: u64 = 3 * PER_SECOND;
/// The timeout for the arrival of all events.
const WITHIN: Duration = Duration::from_mins(1);

/// Measures both, prints the figures, and returns them as JSON.
pub(crate) async fn measure(seconds: u64, backlog: u64) -> Result<Value, Failure> {
    build("cosmos-bridge").await?;
    build("cosmos-bridge-emulator").await?;
    let kafka = Kafka::start().await?;
    let latency = latency(&kafka, seconds).await?;
    let silence = after_silence(&kafka).await?;
    let idle = idle::measure(&kafka).await?;
    let backlog = throughput(&kafka, backlog).await?;
    Ok(json!({ "latency": latency, "after_silence": silence, "idle": idle, "backlog": backlog }))
}

/// Microseconds since the epoch, by the clock that the broker reads as well.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

async fn latency(kafka: &Kafka, seconds: u64) -> Result<Value, Failure> {
    let count = WARM_UP + seconds * PER_SECOND;
    let every = Duration::from_secs(1) / u32::try_from(PER_SECOND)?;
    let run = Changes { topic: "latency", count, every, not_measured: WARM_UP };
    run.measure(kafka).await
}

/// The first change after 3 s without one in any of four feed ranges.
async fn after_silence(kafka: &Kafka) -> Result<Value, Failure> {
    let every = Duration::from_secs(3);
    let run = Changes { topic: "silence", count: 22, every, not_measured: 2 };
    run.measure(kafka).await
}

/// A load of even changes, and what of it is not measured.
struct Changes {
    topic: &'static str,
    count: u64,
    every: Duration,
    not_measured: u64,
}

impl Changes {
    async fn measure(self, kafka: &Kafka) -> Result<Value, Failure> {
        let Self { topic, count, every, not_measured } = self;
        kafka.create_topic(topic, 4, &[("message.timestamp.type", "LogAppendTime")]).await?;
        let account = Account::start(CONTAINER, 4, 0).await?;
        let bridge = publish(&account, &kafka.bootstrap(), topic, false)?;
        let (servers, within) = (kafka.bootstrap(), every * u32::try_from(count)? + WITHIN);
        let reader = spawn_blocking(move || read(&servers, topic, count, within, id));
        let started = Instant::now();
        let written = write(&account.endpoint, &account.key, count, every, order).await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let rate = count as f64 / started.elapsed().as_secs_f64();
        let seen = reader.await??;
        drop(bridge);
        let latencies = Latencies::of(&written[usize::try_from(not_measured)?..], &seen)?;
        println!("\n{topic}: end to end at {rate:.1} changes/s, milliseconds (p50, p99, longest):");
        latencies.print();
        Ok(json!({
            "changes": count, "changes_per_second": rate, "milliseconds": latencies.json()
        }))
    }
}

/// The bounds of the time between the commit in the source and the broker's acknowledgement. The
/// commit is after the write was sent and before it was answered; the acknowledgement after the
/// broker appended the event.
struct Latencies([(&'static str, Vec<u64>); 4]);

impl Latencies {
    fn of(written: &[Written], seen: &[Seen]) -> Result<Self, Failure> {
        let seen: HashMap<&str, &Seen> = seen.iter().map(|seen| (seen.id.as_str(), seen)).collect();
        let mut found = [
            ("write sent to appended", Vec::new()),
            ("write answered to appended", Vec::new()),
            ("write sent to read by a consumer", Vec::new()),
            ("write answered to read by a consumer", Vec::new()),
        ];
        for Written { id, sequence, sent, answered } in written {
            let seen = seen
                .get(id.as_str())
                .ok_or_else(|| format!("version {sequence} of {id} did not arrive"))?;
            for (latencies, (from, to)) in found.iter_mut().zip([
                (sent, seen.appended),
                (answered, seen.appended),
                (sent, seen.read),
                (answered, seen.read),
            ]) {
                latencies.1.push(to.saturating_sub(*from));
            }
        }
        for (_, latencies) in &mut found {
            latencies.sort_unstable();
        }
        Ok(Self(found))
    }

    fn print(&self) {
        println!("| from and to | p50 ms | p99 ms | longest ms |\n| --- | ---: | ---: | ---: |");
        for (what, latencies) in &self.0 {
            let [p50, p99, most] = figures(latencies);
            println!("| {what} | {p50:.1} | {p99:.1} | {most:.1} |");
        }
    }

    fn json(&self) -> Value {
        let figures = |(what, latencies): &(&str, Vec<u64>)| {
            let [p50, p99, longest] = figures(latencies);
            ((*what).to_owned(), json!({ "p50": p50, "p99": p99, "longest": longest }))
        };
        Value::Object(self.0.iter().map(figures).collect())
    }
}

/// Median, 99th percentile and longest, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds of seconds")]
fn figures(sorted: &[u64]) -> [f64; 3] {
    let last = sorted.len().saturating_sub(1);
    [sorted.len() / 2, sorted.len() * 99 / 100, last]
        .map(|at| sorted.get(at).map_or(f64::NAN, |micros| *micros as f64 / 1000.0))
}

/// How fast the bridge publishes a backlog, including its start and its end.
async fn throughput(kafka: &Kafka, documents: u64) -> Result<Value, Failure> {
    let topic = "backlog";
    kafka.create_topic(topic, 4, &[]).await?;
    let account = Account::start(CONTAINER, 4, documents).await?;
    let started = Instant::now();
    let mut bridge = publish(&account, &kafka.bootstrap(), topic, true)?;
    let status = bridge.child.wait().await?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("the bridge ended with {status}:\n{}", bridge.log()).into());
    }
    let servers = kafka.bootstrap();
    let seen = spawn_blocking(move || read(&servers, topic, documents, WITHIN, id)).await??;
    let mut ids: Vec<&str> = seen.iter().map(|seen| seen.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    if u64::try_from(ids.len())? != documents {
        return Err(format!("{} of {documents} documents arrived", ids.len()).into());
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = documents as f64 / seconds;
    println!("\na backlog of {documents} documents in {seconds:.1} s, start included: {rate:.0}/s");
    Ok(json!({ "documents": documents, "seconds": seconds, "documents_per_second": rate }))
}

/// The id of a message's document, which is the end of its key.
fn id(key: &str, _body: &[u8]) -> Option<String> {
    key.rsplit('/').next().map(str::to_owned)
}

/// A bridge with every option at its default.
fn publish(
    account: &Account,
    servers: &str,
    topic: &str,
    until_caught_up: bool,
) -> Result<Bridge, Failure> {
    let text = text(&account.endpoint, servers, topic);
    bridge(&text, &[("source.key", &account.key)], until_caught_up)
}

fn text(endpoint: &str, servers: &str, topic: &str) -> String {
    format!(
        r#"[accounts.source]
endpoint = "{endpoint}"
key = {{ file = "source.key" }}

[sinks.kafka.events]
servers = ["{servers}"]
topic = "{topic}"

[pipelines.orders.source]
account = "source"
database = "shop"
container = "orders"
start = "beginning"

[[pipelines.orders.routes]]
to = "events"
"#
    )
}
