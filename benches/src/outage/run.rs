//! One run: changes at an even rate, which all have to reach every sink.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cosmos_bridge_brokers::{Kafka, OrderSummary, Port, Rabbit};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

use crate::arrivals::{Arrivals, Shared, Version, consume, follow, until};
use crate::configuration::{EXCHANGE, Parts, SOURCE, TARGET};
use crate::meters::{SpoolPeak, peak_memory, scrape};
use crate::processes::{Account, Bridge, bridge};
use crate::reader::read;
use crate::writer::{Written, write};
use crate::{Failure, changes};

/// The number of documents, written in turn, so that each has many versions.
const DOCUMENTS: u64 = 2_000;
const PARTITIONS: u32 = 4;
/// The warm-up, which is not measured: connections are opened, caches filled, the bridge reads.
const WARM_UP: u64 = 3;
/// How long Kafka is available at the beginning and at the end.
const THERE: u64 = 2;
const WITHIN: Duration = Duration::from_mins(3);

pub(crate) struct Plan {
    pub(crate) seconds: u64,
    /// Changes per second.
    pub(crate) rate: u64,
    pub(crate) spool_mib: u64,
}

/// The brokers of all runs. Each run has its own topic and queue.
pub(crate) struct Brokers {
    kafka: Kafka,
    rabbit: Rabbit,
    runs: u32,
}

impl Brokers {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let (kafka, rabbit) = tokio::join!(Kafka::start(), Rabbit::start());
        let (kafka, rabbit) = (kafka?, rabbit?);
        rabbit.create_exchange(EXCHANGE, "topic").await?;
        Ok(Self { kafka, rabbit, runs: 0 })
    }

    /// The name of a new topic and queue.
    async fn renew(&mut self) -> Result<String, Failure> {
        if self.runs > 0 {
            self.rabbit.delete_queue(&format!("run-{}", self.runs)).await?;
        }
        self.runs += 1;
        let name = format!("run-{}", self.runs);
        self.kafka.create_topic(&name, PARTITIONS, &[]).await?;
        self.rabbit.create_queue(&name, Some((EXCHANGE, "#"))).await?;
        Ok(name)
    }
}

/// The figures of an available sink. Times are microseconds from the answer to the write.
pub(crate) struct Seen {
    /// Sorted.
    pub(crate) latencies: Vec<u64>,
    /// Per second, from the first write to the last arrival.
    pub(crate) throughput: f64,
}

pub(crate) struct Measured {
    pub(crate) queue: Seen,
    pub(crate) target: Seen,
    /// Bytes.
    pub(crate) peak_memory: u64,
    pub(crate) spool_peak: f64,
    pub(crate) spool_limit: f64,
    /// Only of the Kafka sink, because it fell behind.
    pub(crate) read_again: f64,
    pub(crate) read_again_requests: f64,
    pub(crate) read_again_ru: f64,
    /// From the last write, or from Kafka's restart if that was later, until it had everything.
    pub(crate) kafka_complete: Duration,
    pub(crate) kafka: OrderSummary,
}

/// Runs once, and fails unless every sink has every change in order.
pub(crate) async fn measure(
    plan: &Plan,
    brokers: &mut Brokers,
    is_away: bool,
) -> Result<Measured, Failure> {
    let name = brokers.renew().await?;
    let (source, target) =
        (Account::start(SOURCE, 4, 0).await?, Account::start(TARGET, 4, 0).await?);
    let admin = Port::free()?;
    let servers = brokers.kafka.bootstrap();
    let parts = Parts {
        source: &source,
        target: &target,
        servers: &servers,
        topic: &name,
        admin: admin.number(),
        spool_mib: plan.spool_mib,
    };
    let uri = brokers.rabbit.url();
    let secrets = [("source.key", source.key.as_str()), ("target.key", &target.key), ("uri", &uri)];
    let mut bridge = bridge(&parts.text(), &secrets, false)?;
    until_ready(&mut bridge, admin.number()).await?;

    let (queue, copies) = (Shared::default(), Shared::default());
    let spool = SpoolPeak::default();
    let mut watchers = JoinSet::new();
    watchers.spawn(consume(uri.clone(), name.clone(), Arc::clone(&queue)));
    let (endpoint, key) = (target.endpoint.clone(), target.key.clone());
    watchers.spawn(follow(endpoint, key, TARGET, Arc::clone(&copies)));
    watchers.spawn(spool.clone().watch(admin.number()));

    let count = (WARM_UP + plan.seconds) * plan.rate;
    let writing = write(
        &source.endpoint,
        &source.key,
        count,
        Duration::from_secs(1) / u32::try_from(plan.rate)?,
        document,
    );
    let outage = async {
        if is_away {
            sleep(Duration::from_secs(WARM_UP + THERE)).await;
            brokers.kafka.kill().await;
            sleep(Duration::from_secs(plan.seconds.saturating_sub(2 * THERE))).await;
            brokers.kafka.restart().await?;
        }
        Ok::<_, Failure>(Instant::now())
    };
    let both = async { tokio::try_join!(writing, outage) };
    let (written, returned) = tokio::select! {
        both = both => both?,
        Some(ended) = watchers.join_next() => {
            ended??;
            return Err("a watcher ended".into());
        }
    };
    let all_written = Instant::now().max(returned);
    let events = usize::try_from(count)?;
    until(&queue, events, WITHIN, "RabbitMQ").await?;
    until(&copies, events, WITHIN, "the target").await?;
    let topic = name.clone();
    spawn_blocking(move || read(&servers, &topic, count, WITHIN, identity)).await??;
    let kafka_complete = all_written.elapsed();
    let metrics = scrape(admin.number()).await?;
    let metric = |name: &str| metrics.get(name).copied().unwrap_or_default();
    let process = bridge.child.id().ok_or("the bridge has ended")?;
    let order = brokers.kafka.order(&name, "/sequence").await?;
    if order.distinct != count || order.out_of_order > 0 || order.ends_stale > 0 {
        return Err(format!("Kafka does not hold every change in order: {order:?}").into());
    }
    let warm = usize::try_from(WARM_UP * plan.rate)?;
    Ok(Measured {
        queue: seen(&written[warm..], &queue, "RabbitMQ")?,
        target: seen(&written[warm..], &copies, "the target")?,
        peak_memory: peak_memory(process)?,
        spool_peak: spool.bytes(),
        spool_limit: metric("cosmos_bridge_spool_limit_bytes"),
        read_again: metric("cosmos_bridge_changes_read_again_total"),
        read_again_requests: metric("cosmos_bridge_read_again_requests_total"),
        read_again_ru: metric("cosmos_bridge_read_again_request_units_total"),
        kafka_complete,
        kafka: order,
    })
}

/// Waits until the bridge reads every feed range.
async fn until_ready(bridge: &mut Bridge, admin: u16) -> Result<(), Failure> {
    let deadline = Instant::now() + WITHIN;
    let client = reqwest::Client::new();
    loop {
        let answer = client.get(format!("http://127.0.0.1:{admin}/status")).send().await;
        if let Ok(answer) = answer
            && answer.text().await?.contains("\"state\":\"caught up\"")
        {
            return Ok(());
        }
        if Instant::now() > deadline || bridge.child.try_wait()?.is_some() {
            return Err(format!("the bridge does not read:\n{}", bridge.log()).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The next version of one of the documents.
fn document(number: u64) -> (cosmos_bridge_sink::Document, String) {
    let (document, sequence) = ((number - 1) % DOCUMENTS + 1, (number - 1) / DOCUMENTS + 1);
    let (mut order, customer) = changes::order(document);
    order.insert("sequence", sequence);
    (order, customer)
}

fn identity(_key: &str, body: &[u8]) -> Option<String> {
    let Version { id, sequence } = Version::read(body)?;
    Some(format!("{id} {sequence}"))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn seen(written: &[Written], arrivals: &Shared, what: &str) -> Result<Seen, Failure> {
    let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let Arrivals { seen, out_of_order, .. } = &*arrivals;
    if *out_of_order > 0 {
        return Err(format!("{what} has {out_of_order} changes out of order").into());
    }
    let (mut latencies, mut last) = (Vec::with_capacity(written.len()), 0);
    for Written { id, sequence, answered, .. } in written {
        let version = Version { id: id.clone(), sequence: *sequence };
        let at = seen.get(&version).ok_or_else(|| format!("{what} has no {version:?}"))?;
        latencies.push(at.saturating_sub(*answered));
        last = last.max(*at);
    }
    latencies.sort_unstable();
    let first = written.first().map_or(0, |written| written.sent);
    let throughput = written.len() as f64 * 1e6 / last.saturating_sub(first).max(1) as f64;
    Ok(Seen { latencies, throughput })
}
