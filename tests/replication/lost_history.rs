//! The history of the source is lost during an outage: the bridge copies what exists again, and sweeps the
//! target for the deletes that it missed, without an operator, while others write.

use std::collections::HashSet;
use std::time::Duration;

use cosmos_bridge_emulator::document::Address;
use cosmos_bridge_emulator::store::KeyRange;
use cosmos_bridge_emulator::world::ContainerSettings;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::history::{announce, newest_versions};
use crate::support::{Bridge, PATIENCE, Pair, eventually};

const SOURCE: &str = "mode = \"all-versions-and-deletes\"\nhistory = \"1h\"\n\
                      on_lost_history = \"resync\"\npoll_interval = \"50ms\"";
const HISTORY: u32 = 3_600;
/// Inserts per second meanwhile.
const RATE: u64 = 1000;
const TICK: Duration = Duration::from_millis(20);

/// A million with `COSMOS_BRIDGE_DOCUMENTS=1000000`.
#[expect(clippy::disallowed_methods, reason = "the size of a test, not configuration")]
fn documents() -> u64 {
    let set = std::env::var("COSMOS_BRIDGE_DOCUMENTS").ok();
    set.map_or(3_000, |count| count.parse().expect("a number of documents"))
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    let line = |n: u64| {
        format!(
            "{{\"id\":\"d-{n}\",\"orderId\":\"d-{n}\",\"city\":\"c{}\",\"sequence\":1}}\n",
            n % 50
        )
    };
    numbers.map(line).collect()
}

async fn pair() -> Pair {
    let mut source = ContainerSettings::new(&["/orderId"], 2);
    source.retention_seconds = Some(HISTORY);
    Pair::start(&source, &ContainerSettings::new(&["/city"], 2)).await
}

fn configure(pair: &Pair, pipeline: &str, source: &str) -> std::path::PathBuf {
    let sink = "source_field = \"_source\"";
    let config = pair.configure(sink, pipeline, source, "partition_key = [\"/city\"]");
    let quiet = std::fs::read_to_string(&config).unwrap() + "\n[log]\nlevel = \"info\"\n";
    std::fs::write(&config, quiet).unwrap();
    config
}

/// The number in a field of the last line with this text.
fn field(log: &str, text: &str, name: &str) -> Option<f64> {
    let line = log.lines().rev().find(|line| line.contains(text))?;
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn is_equal(pair: &Pair) -> bool {
    let count = pair.count("source", "orders");
    count == pair.count("target", "copies")
        && newest_versions(pair, &pair.source()) == newest_versions(pair, &pair.target())
}

/// Deletes many documents in one pass.
fn delete(pair: &Pair, numbers: &[u64]) {
    let ids: HashSet<String> = numbers.iter().map(|number| format!("d-{number}")).collect();
    let (now, source) = (pair.accounts.world.clock.now(), pair.source());
    let mut store = source.store(now);
    let all = KeyRange::all();
    let found = store.between(&all, None).map(|(address, _)| Address::clone(address));
    let found: Vec<_> = found.filter(|address| ids.contains(&*address.id)).collect();
    assert_eq!(found.len(), ids.len());
    for address in &found {
        store.begin();
        store.remove(address, false, now);
    }
}

fn fill(pair: &Pair, documents: u64) {
    for first in (0..documents).step_by(1000) {
        pair.seed(&lines(first..(first + 1000).min(documents)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_lost_in_an_outage_is_repaired_without_an_operator_and_without_a_false_delete()
 {
    let documents = documents();
    let pair = pair().await;
    fill(&pair, documents);
    let config = configure(&pair, "", SOURCE);
    let first = Bridge::catch_up(&config).await;
    assert_eq!(first.code(), Some(0), "{}", first.log);
    let deleted: Vec<u64> = (0..documents).step_by(10).collect();
    delete(&pair, &deleted);
    pair.accounts.advance_clock(u64::from(HISTORY) * 2);
    // Otherwise nothing is missing from the history.
    pair.seed(&lines(documents..documents + 1));

    let mut bridge = Bridge::start(&config, &["run"]);
    let (deadline, mut next) = (Instant::now() + PATIENCE * 10, documents + 1);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while field(&bridge.log(), " swept ", "ids").is_none() {
        assert!(bridge.is_running() && Instant::now() < deadline, "{}", bridge.log());
        ticks.tick().await;
        let count = RATE * u64::try_from(TICK.as_millis()).unwrap() / 1000;
        pair.seed(&lines(next..next + count));
        next += count;
    }
    eventually("the target is what the source is", || is_equal(&pair)).await;
    let log = bridge.log();
    let of = |name| field(&log, " swept ", name).unwrap();
    let (ids, ru) = (of("ids"), of("ru"));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let expected = deleted.len() as f64;
    announce(&format!(
        "{documents} documents, {} deletes missed, {} inserted meanwhile; {ids} ids swept for {ru} RU, \
         {} RU per 10 ids, and {} RU for deleting",
        deleted.len(),
        next - documents,
        ru / ids * 10.0,
        of("delete_ru"),
    ));
    assert!((of("deleted") - expected).abs() < 0.5, "no false delete: {log}");
    assert!(of("unknown") < 0.5 && of("uncertain") < 0.5, "{log}");
    assert!(ru / ids * 10.0 <= 2.0, "{ru} RU for {ids} ids");
    let lost = "the source has lost the history of the position; copying what exists again";
    assert_eq!(log.matches(lost).count(), 2, "{log}");
    bridge.kill().await;
}

/// As `park` is the default.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_lost_parks_unless_a_resync_is_wanted() {
    let pair = pair().await;
    fill(&pair, 20);
    let config = configure(&pair, "", &SOURCE.replace("\"resync\"", "\"park\""));
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    pair.delete("d-0");
    pair.accounts.advance_clock(u64::from(HISTORY) * 2);
    pair.seed(&lines(20..21));
    let ended = Bridge::start(&config, &["run"]).ended().await;
    assert_eq!(ended.code(), Some(65), "{}", ended.log);
}

/// The order to copy again and to sweep survives kills at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn kills_during_a_resync_and_its_sweep_leave_no_copy_of_a_deleted_document() {
    let pair = pair().await;
    fill(&pair, 3_000);
    let config = configure(&pair, "window = 400", &format!("{SOURCE}\npage_size = 100"));
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    delete(&pair, &(0..3_000).step_by(10).collect::<Vec<_>>());
    pair.accounts.advance_clock(u64::from(HISTORY) * 2);
    pair.seed(&lines(3_000..3_001));
    for round in 1..=8_u64 {
        let bridge = Bridge::start(&config, &["run"]);
        let goal = pair.written() + 50 * round;
        let is_done = || pair.written() >= goal || is_equal(&pair);
        eventually("it works", is_done).await;
        bridge.kill().await;
    }
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the target is what the source is", || is_equal(&pair)).await;
    bridge.kill().await;
}

/// Latest-version mode reports no deletes.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_finds_deletes_that_the_feed_does_not_report() {
    let pair = pair().await;
    fill(&pair, 300);
    let sweep = "[pipelines.orders.sweep]\nevery = \"1s\"\n";
    let config = configure(&pair, sweep, "poll_interval = \"50ms\"");
    // The table comes before that of the source.
    let bridge = Bridge::start(&config, &["run"]);
    eventually("all is copied", || is_equal(&pair)).await;
    delete(&pair, &(0..30).collect::<Vec<_>>());
    eventually("the deletes are found", || is_equal(&pair)).await;
    bridge.kill().await;
}

/// `--until-caught-up` ends only when the deletes that were missed are found, also if the process that met the loss
/// was killed before its sweep.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_until_all_is_caught_up_waits_for_the_sweep() {
    let pair = pair().await;
    fill(&pair, 2_000);
    let config = configure(&pair, "", SOURCE);
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    for (round, is_killed) in [(0, false), (1, true), (2, false)] {
        delete(&pair, &(0..2_000).filter(|n| n % 10 == round).collect::<Vec<_>>());
        // These go to another partition key of the target.
        let moved = |n: u64| {
            format!(
                "{{\"id\":\"d-{n}\",\"orderId\":\"d-{n}\",\"city\":\"moved-{round}\",\"sequence\":{}}}\n",
                round + 2
            )
        };
        pair.seed(&(0..2_000).filter(|n| n % 10 == 9).map(moved).collect::<String>());
        pair.accounts.advance_clock(u64::from(HISTORY) * 2);
        pair.seed(&lines(2_000 + round..2_001 + round));
        if is_killed {
            let bridge = Bridge::start(&config, &["run"]);
            eventually("the loss is met", || bridge.log().contains("lost the history")).await;
            bridge.kill().await;
        }
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert!(is_equal(&pair), "round {round}: {}", ended.log);
    }
}

/// Many documents of other partition keys have the ids of each page of copies.
#[tokio::test(flavor = "multi_thread")]
async fn documents_of_many_tenants_with_the_same_ids_are_told_apart() {
    let key = ContainerSettings::new(&["/tenant"], 2);
    let source = ContainerSettings { retention_seconds: Some(HISTORY), ..key.clone() };
    let pair = Pair::start(&source, &key).await;
    let line = |id: u64, tenant: String| {
        format!("{{\"id\":\"{id}\",\"tenant\":{tenant},\"sequence\":1}}\n")
    };
    let tenants = |tenants: std::ops::Range<u64>| -> String {
        let name = |n: u64| if n.is_multiple_of(2) { format!("\"t{n}\"") } else { n.to_string() };
        tenants
            .flat_map(|tenant| (0..10).map(move |id| (id, tenant)))
            .map(|(id, tenant)| line(id, name(tenant)))
            .collect()
    };
    pair.seed(&tenants(0..400));
    let sink = "source_field = \"_source\"";
    let config = pair.configure(sink, "", SOURCE, "partition_key = [\"/tenant\"]");
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    let places = || {
        let of = |container: std::sync::Arc<cosmos_bridge_emulator::container::Container>| -> HashSet<(String, String)> {
            let store = container.store(pair.accounts.world.clock.now());
            let all = KeyRange::all();
            store.between(&all, None).map(|(address, _)| (address.id.to_string(), format!("{:?}", address.key))).collect()
        };
        (of(pair.source()), of(pair.target()))
    };
    let before = places();
    assert_eq!((before.0.len(), &before.0), (4_000, &before.1));
    {
        let (now, source) = (pair.accounts.world.clock.now(), pair.source());
        let mut store = source.store(now);
        let all = KeyRange::all();
        let found: Vec<_> =
            store.between(&all, None).map(|(address, _)| Address::clone(address)).collect();
        for address in found.iter().step_by(7) {
            store.begin();
            store.remove(address, false, now);
        }
    }
    pair.accounts.advance_clock(u64::from(HISTORY) * 2);
    pair.seed(&line(77, "\"new\"".to_owned()));
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let after = places();
    assert_eq!(after.0.len(), 4_000 - 4_000_usize.div_ceil(7) + 1);
    assert_eq!(after.0, after.1);
    let swept = |name| field(&ended.log, " swept ", name).unwrap();
    assert!(swept("unknown") < 0.5 && swept("uncertain") < 0.5, "{}", ended.log);
}
