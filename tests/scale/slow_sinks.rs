//! One of two sinks fails for a long time: the other is not delayed, and no change is lost. One is only
//! slower: a first copy reads each change once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_emulator::container::Container;
use cosmos_bridge_emulator::orders::Orders;
use cosmos_bridge_emulator::{Effect, FaultRule};
use rusqlite::{Connection, OpenFlags};
use tokio::time::Instant;

use crate::support::history::{
    announce, newest_versions, out_of_order, remembering, versions_after,
};
use crate::support::{Bridge, Pair, eventually, machine};

const SEED: u64 = 60;
/// Many, because reading waits half a second for a sink whose writes fail.
const DOCUMENTS: u64 = 40_000;
/// Of a first copy to two sinks, of which one is half as fast: it has half as many writes under way, 16 instead of 32.
const BACKLOG: u64 = 6_000;
const WRITE_MS: u64 = 32;
const WRITES: u64 = 16;
/// Small, so that the rest has to be read again.
const SPOOL: &str = "2 MiB";
/// Of two feed ranges in 3 s: some at short intervals after a change, then one per 100 ms each.
const MOST_POLLS: u64 = 2 * 35;
/// In kibibytes, the unit of the system's memory figures.
const MIB: u64 = 1024;

/// One source; the sink `archive` writes to `copies`, the sink `mirror` to `mirror`.
struct TwoSinkFixture {
    pair: Pair,
    orders: Orders,
}

impl TwoSinkFixture {
    async fn start() -> Self {
        let settings = remembering(&["/orderId"], 2);
        let pair = Pair::start(&settings, &settings).await;
        let mirror = remembering(&["/orderId"], 1);
        pair.accounts.create_container("target", "shop", "mirror", &mirror).await.unwrap();
        Self { pair, orders: Orders::new(SEED).with_count(DOCUMENTS) }
    }

    fn configure(&self) -> PathBuf {
        self.configure_mirror("")
    }

    /// `mirror` is a line of that sink's table.
    fn configure_mirror(&self, mirror: &str) -> PathBuf {
        self.configure_both("", mirror)
    }

    fn configure_both(&self, archive: &str, mirror: &str) -> PathBuf {
        let sink = |name: &str, container: &str| {
            format!(
                "[sinks.cosmos.{name}]\naccount = \"target\"\ndatabase = \"shop\"\n\
                 container = \"{container}\"\n"
            )
        };
        let archive = sink("archive", "copies") + archive + "\n";
        let sinks = archive + &sink("mirror", "mirror") + mirror + "\n";
        let pipeline = format!("window = 1000\nread_ahead = \"2 MiB\"\nspool = \"{SPOOL}\"");
        let source = "mode = \"latest-version\"\nstart = \"beginning\"\npage_size = 200\n\
                      poll_interval = \"100ms\"\nidle_budget = \"10 RU/s\"";
        let routes = "to = \"archive\"\n[[pipelines.orders.routes]]\nto = \"mirror\"";
        self.pair.configure_sinks(&sinks, &pipeline, source, routes)
    }

    fn seed(&self, numbers: std::ops::RangeInclusive<u64>) {
        let lines = numbers.map(|number| self.orders.text(number) + "\n");
        self.pair.seed(&lines.collect::<String>());
    }

    fn container(&self, name: &str) -> Arc<Container> {
        self.pair.accounts.world.container("target", "shop", name).unwrap()
    }

    /// True if a container holds every document of the source in its newest version.
    fn is_copied_to(&self, name: &str) -> bool {
        // Counts are compared first, because comparing all documents is slow.
        self.pair.count("target", name) == self.pair.count("source", "orders")
            && newest_versions(&self.pair, &self.container(name))
                == newest_versions(&self.pair, &self.pair.source())
    }

    fn refuse_mirror(&self) {
        self.affect_mirror(Effect { status: Some(503), ..Effect::default() });
    }

    /// A write takes [`WRITE_MS`] at both containers, so a sink is as fast as its `concurrency` says.
    fn slow_writes(&self) {
        self.pair.accounts.fault(FaultRule {
            account: Some("target".to_owned()),
            operation: Some("writes".to_owned()),
            then: Effect { delay_ms: Some(WRITE_MS), ..Effect::default() },
            ..FaultRule::default()
        });
    }

    fn affect_mirror(&self, then: Effect) {
        self.pair.accounts.fault(FaultRule {
            account: Some("target".to_owned()),
            container: Some("mirror".to_owned()),
            operation: Some("writes".to_owned()),
            then,
            ..FaultRule::default()
        });
    }

    /// The stored log sequence number of each feed range of a sink.
    fn positions(&self, sink: &str) -> Vec<u64> {
        let file = self.pair.folder.path().join("cosmos-bridge.db");
        let state = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        state.busy_timeout(Duration::from_secs(5)).unwrap();
        let query = "SELECT etag FROM positions WHERE sink = ?1 ORDER BY range_min";
        let mut statement = state.prepare(query).unwrap();
        let etags = statement.query_map([sink], |row| row.get::<_, Option<String>>(0)).unwrap();
        let lsn = |etag: Option<String>| etag.map_or(0, |e| e.trim_matches('"').parse().unwrap());
        etags.map(|etag| lsn(etag.unwrap())).collect()
    }

    /// Copies everything to `archive` and returns the time.
    async fn copy(&self, bridge: &mut Bridge) -> Duration {
        let start = Instant::now();
        eventually("all is in the archive", || {
            self.pair.count("target", "copies") == self.pair.count("source", "orders")
        })
        .await;
        assert!(bridge.is_running(), "{}", bridge.log());
        start.elapsed()
    }
}

/// A bridge that has copied everything to the archive, and the time that took.
struct FirstCopy {
    fixture: TwoSinkFixture,
    config: PathBuf,
    bridge: Bridge,
    took: Duration,
}

impl FirstCopy {
    async fn start(is_mirror_refused: bool) -> Self {
        let fixture = TwoSinkFixture::start().await;
        fixture.seed(1..=DOCUMENTS);
        if is_mirror_refused {
            fixture.refuse_mirror();
        }
        let config = fixture.configure();
        let mut bridge = Bridge::start(&config, &["run"]);
        let took = fixture.copy(&mut bridge).await;
        Self { fixture, config, bridge, took }
    }
}

/// Other work on the machine only makes a copy longer, so the shortest of several is compared.
async fn shortest_copy(is_mirror_refused: bool) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let copy = FirstCopy::start(is_mirror_refused).await;
        shortest = shortest.min(copy.took);
        copy.bridge.kill().await;
    }
    shortest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sink_costs_the_other_nothing_and_catches_up_after_a_kill() {
    let _machine = machine::alone().await;
    let undisturbed = shortest_copy(false).await;
    let shortest = shortest_copy(true).await;
    let FirstCopy { fixture, config, bridge, took } = FirstCopy::start(true).await;
    let took = took.min(shortest);
    let ratio = took.as_secs_f64() / undisturbed.as_secs_f64();
    announce(&format!("{undisturbed:?} with both sinks, {took:?} with one refused: {ratio:.2}"));
    assert!(ratio < 1.5, "the refused sink held up the other: {ratio:.2}\n{}", bridge.log());
    eventually("the mirror is reported as behind", || {
        bridge.log().contains("the sink falls behind")
    })
    .await;
    eventually("the archive's positions are stored", || {
        let least = fixture.positions("archive").into_iter().min();
        least.is_some_and(|least| least > DOCUMENTS / 4)
    })
    .await;
    // No request is made for the failing sink; there are only polls of the two feed ranges.
    assert_eq!(fixture.positions("mirror"), [0, 0]);
    let requests = fixture.pair.feed_requests();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let polls = fixture.pair.feed_requests() - requests;
    assert!(polls <= MOST_POLLS, "{polls} requests in 3 s");
    announce(&format!("{} MiB at most", bridge.peak_kib() / MIB));
    assert!(bridge.peak_kib() <= 150 * MIB);
    bridge.kill().await;

    // Killed while the mirror is behind; it still fails. The archive continues immediately.
    let bridge = Bridge::start(&config, &["run"]);
    fixture.seed(DOCUMENTS + 1..=DOCUMENTS + 1000);
    eventually("all is in the archive", || fixture.is_copied_to("copies")).await;
    assert_eq!(fixture.positions("mirror"), [0, 0]);
    fixture.pair.accounts.clear_faults();
    eventually("all is in the mirror", || fixture.is_copied_to("mirror")).await;
    let rejoined = "the sink has caught up with the others";
    eventually("the mirror shares the reader again", || bridge.log().contains(rejoined)).await;
    let line = bridge.log().lines().find(|line| line.contains(rejoined)).unwrap().to_owned();
    announce(&line);

    // One shared reader again.
    let requests = fixture.pair.feed_requests();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let polls = fixture.pair.feed_requests() - requests;
    assert!(polls <= MOST_POLLS, "{polls} requests in 3 s");
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    for name in ["copies", "mirror"] {
        let (received, _) = versions_after(&fixture.pair, &fixture.container(name), 0);
        assert!(fixture.is_copied_to(name));
        assert_eq!(out_of_order(received), [], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_to_a_fast_and_a_slower_sink_reads_each_change_once() {
    let _machine = machine::alone().await;
    let fixture = TwoSinkFixture::start().await;
    fixture.seed(1..=BACKLOG);
    fixture.slow_writes();
    // With bulk requests a sink is rarely limited by their number.
    let sink = |writes| format!("bulk = false\nconcurrency = {writes}");
    let config = fixture.configure_both(&sink(2 * WRITES), &sink(WRITES));
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    for name in ["copies", "mirror"] {
        assert!(fixture.is_copied_to(name));
    }
    let feed = fixture.pair.feed_counters();
    announce(&format!(
        "{BACKLOG} changes: {} read in {} requests for {:.0} RU",
        feed.documents, feed.requests, feed.request_units
    ));
    assert!(feed.documents <= BACKLOG + BACKLOG / 10, "{feed:?} {}", ended.log);
    assert!(ended.log.contains("reading waits for the sink"), "{}", ended.log);
}
