//! What holds when an option is not written, and why; and how far an option may go.

use std::ops::RangeInclusive;
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Beside the configuration, so that a copied folder is a whole bridge.
pub(super) const STATE_FILE: &str = "cosmos-bridge.db";
/// Says what a person must know, and nothing per document.
pub(super) const LOG_LEVEL: &str = "info";
/// Ten times what a request to a far region takes, and less than any time limit.
pub(super) const SLOW: Duration = Duration::from_secs(3);
/// Orchestrators wait 30 seconds between the request to stop and the kill.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(30);

/// No port of Cosmos DB, of its emulators or of a broker.
pub(super) const ADMIN_PORT: u16 = 8090;
/// Longer than a broker takes to be started again or a container to be moved.
pub(super) const SINK_DOWN: Duration = Duration::from_mins(5);
/// The longest wait for an answer, several times over, at the longest poll interval that is sensible.
pub(super) const NO_PROGRESS: Duration = Duration::from_mins(5);
/// A busy machine is late by a second; what is late by half a minute is not coming back.
pub(super) const STUCK: Duration = Duration::from_secs(30);

/// At ten thousand changes per second a hundred traces: what collectors take unnoticed.
pub(super) const TRACE_SAMPLE: f64 = 0.01;
pub(super) const SERVICE_NAME: &str = "cosmos-bridge";
/// What the specification of the exporters has; a collector stands near.
pub(super) const TRACE_TIMEOUT: Duration = Duration::from_secs(10);

/// A request to a far region under throttling stays well below; the service gives up at 60 s.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Fills a container of 10,000 RU/s with 1 KiB documents at a round trip of 20 ms.
pub(super) const CONCURRENCY: u32 = 32;
/// The most that a transactional batch may hold.
pub(super) const BATCH_CHANGES: u32 = 100;
/// Leaves room for the batch's own text below the service's 2 MiB.
pub(super) const BATCH_BYTES: u64 = 3 * MIB / 2;

/// Five pages: reading and writing overlap, and what a crash repeats takes seconds.
pub(super) const WINDOW: u32 = 5000;
/// A stop loses nothing at any interval; a second bounds what a crash repeats at low traffic.
pub(super) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Eight of the largest pages (4 MiB); with what requests take, the process stays below 150 MiB.
pub(super) const READ_AHEAD: u64 = 32 * MIB;
/// Twice what is read ahead: a sink that stops for a moment is read for once. Each sink that is away
/// may take as much.
pub(super) const SPOOL: u64 = 64 * MIB;
/// Few requests per document; larger pages hit the service's 4 MiB limit anyway.
pub(super) const PAGE_SIZE: u32 = 1000;
/// About one request unit per feed range and second while nothing happens.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What tools for text still open at once.
pub(super) const ROTATE_BYTES: u64 = 256 * MIB;

/// What Event Grid takes in one request; functions and workflows take more.
pub(super) const MAX_BODY: u64 = MIB;
/// Answers take some 10 ms: a thousand events per second, and no endpoint is overrun.
pub(super) const HTTP_CONCURRENCY: u32 = 16;

/// Some page of changes; spread over the partitions of a hub it still makes batches.
pub(super) const HUB_CHANGES: u32 = 1000;
/// Answers take some 10 ms, and a batch waits for the one before it in its write.
pub(super) const HUB_CONCURRENCY: u32 = 8;
/// Every container with its own key, and deletes apart: what topic exchanges are bound by.
pub(super) const ROUTING_KEY: &str = "{database}.{container}.{operation}";
/// The largest document with its previous image, and what `RabbitMQ` takes by default since 4.0.
pub(super) const AMQP_MESSAGE: u64 = 16 * MIB;
/// Brokers confirm many messages at once; more than a thousand gains nothing.
pub(super) const AMQP_BATCH: u32 = 500;
/// One write is encoded while another is confirmed.
pub(super) const AMQP_CONCURRENCY: u32 = 4;
/// A silent broker is found within 20 s; more often would be traffic for nothing.
pub(super) const AMQP_HEARTBEAT: Duration = Duration::from_secs(10);
/// Three handshakes with a far broker that is busy.
pub(super) const AMQP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A batch gathers what a page brings, and an event is hardly later for it.
pub(super) const LINGER: Duration = Duration::from_millis(5);
/// What the client takes by default, a little less than what brokers and Event Hubs do.
pub(super) const MAX_MESSAGE: u64 = 1_000_000;
/// A broker that is started again is back within it, and a stop does not take longer.
pub(super) const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Below it every wait ends as a failure; above it a dead connection looks alive.
pub(super) const REQUEST_TIMEOUTS: RangeInclusive<Duration> = millis(100)..=millis(600_000);
pub(super) const STOPS: RangeInclusive<Duration> = millis(100)..=millis(3_600_000);
/// Faster than 10 ms is a busy loop; slower than an hour is a bridge that looks dead.
pub(super) const INTERVALS: RangeInclusive<Duration> = millis(10)..=millis(3_600_000);
/// Below 10 ms everything is slow.
pub(super) const SLOWNESS: RangeInclusive<Duration> = millis(10)..=millis(600_000);
/// Below a second a busy machine looks broken; a day says that nobody wants to know.
pub(super) const HEALTH_LIMITS: RangeInclusive<Duration> = millis(1000)..=millis(86_400_000);
/// One connection carries 100 HTTP/2 streams by default; more than ten of those help nobody.
pub(super) const CONCURRENCIES: RangeInclusive<u32> = 1..=1000;
/// The service takes at most 100 operations and 2 MiB in one transactional batch.
pub(super) const BATCHES: RangeInclusive<u32> = 1..=100;
pub(super) const BATCH_SIZES: RangeInclusive<u64> = KIB..=2 * MIB;
/// The tracker of a window is held in memory.
pub(super) const WINDOWS: RangeInclusive<u32> = 1..=1_000_000;
pub(super) const PAGE_SIZES: RangeInclusive<u32> = 1..=100_000;
pub(super) const READ_AHEADS: RangeInclusive<u64> = 64 * KIB..=16 * GIB;
/// A point read costs one request unit: less than one per second reads nothing.
pub(super) const BUDGETS: RangeInclusive<f64> = 1.0..=1e9;
/// The ids that the service has for the throughput buckets of a container; it refuses others
/// (learn.microsoft.com, "Frequently asked questions on throughput buckets").
pub(super) const THROUGHPUT_BUCKETS: RangeInclusive<u32> = 1..=5;
/// One bucket spreads nothing; each bucket is a partition key value to be queried.
pub(super) const BUCKETS: RangeInclusive<u32> = 2..=10_000;

/// Event Grid takes 5,000 events in one request.
pub(super) const HTTP_BATCHES: RangeInclusive<u32> = 1..=5000;
pub(super) const AMQP_BATCHES: RangeInclusive<u32> = 1..=10_000;
/// Each is a channel, and brokers allow 2,047 on a connection.
pub(super) const AMQP_CONCURRENCIES: RangeInclusive<u32> = 1..=100;
/// The protocol counts whole seconds.
pub(super) const AMQP_HEARTBEATS: RangeInclusive<Duration> = millis(1000)..=millis(600_000);
/// Above it nothing is gained, and every event is as much later.
pub(super) const LINGERS: RangeInclusive<Duration> = millis(0)..=millis(1_000);
/// The client takes no more than a gigabyte; a document has 2 MB.
pub(super) const MESSAGE_SIZES: RangeInclusive<u64> = 10 * KIB..=64 * MIB;
pub(super) const BODY_SIZES: RangeInclusive<u64> = KIB..=128 * MIB;
/// The tracker of a write is held in memory.
pub(super) const HUB_BATCHES: RangeInclusive<u32> = 1..=10_000;
/// The largest clusters have 2,000 partitions in a hub.
pub(super) const HUB_PARTITIONS: RangeInclusive<u32> = 0..=1_999;
pub(super) const ROTATE_SIZES: RangeInclusive<u64> = 64 * KIB..=1024 * GIB;
/// A file per second is a folder that nothing can list.
pub(super) const ROTATE_INTERVALS: RangeInclusive<Duration> = millis(1_000)..=millis(2_678_400_000);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
