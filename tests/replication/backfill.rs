//! A part of the data is sent again, to one of two sinks, while the bridge runs and its source changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_emulator::PreviousImages;
use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::container::Container;
use cosmos_bridge_emulator::document::Address;
use cosmos_bridge_emulator::store::KeyRange;
use cosmos_bridge_emulator::world::ContainerSettings;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::support::history::{announce, newest_versions, remembering};
use crate::support::{Bridge, Ended, Pair, eventually};

const SINKS: [(&str, &str); 2] = [("archive", "copies"), ("mirror", "mirror")];
const ROUTES: &str = "to = \"archive\"\n[[pipelines.orders.routes]]\nto = \"mirror\"\n";
const SOURCE: &str = "start = \"beginning\"\npoll_interval = \"50ms\"";

/// Three times a hundred documents, each a hundred seconds after the other; everything is in both targets.
struct Filled {
    pair: Pair,
    config: PathBuf,
    /// When the first hundred was written.
    first: u32,
}

fn documents(name: &str, count: u32) -> String {
    let line = |n| {
        format!(
            "{{\"id\":\"{name}-{n}\",\"orderId\":\"{name}-{n}\",\"region\":\"r{}\",\"sequence\":1}}\n",
            n % 5
        )
    };
    (0..count).map(line).collect()
}

async fn pair(source: &ContainerSettings) -> Pair {
    let target = ContainerSettings::new(&["/orderId"], 2);
    let pair = Pair::start(source, &target).await;
    pair.accounts.create_container("target", "shop", "mirror", &target).await.unwrap();
    pair
}

fn configure(pair: &Pair, source: &str, options: &str, routes: &str) -> PathBuf {
    let sink = |(name, container)| {
        format!(
            "[sinks.cosmos.{name}]\naccount = \"target\"\ndatabase = \"shop\"\n\
             container = \"{container}\"\n{options}\n"
        )
    };
    let sinks: String = SINKS.map(sink).concat();
    pair.configure_sinks(&sinks, "", source, routes)
}

impl Filled {
    async fn start() -> Self {
        let pair = pair(&ContainerSettings::new(&["/orderId"], 2)).await;
        let clock = &pair.accounts.world.clock;
        clock.set_back(1_000);
        let first = clock.now();
        for name in ["a", "b", "c"] {
            pair.seed(&documents(name, 100));
            clock.advance(100);
        }
        // Now, on both clocks.
        clock.advance(700);
        let config = configure(&pair, SOURCE, "", ROUTES);
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        Self { pair, config, first }
    }

    /// A time so many seconds after the first documents.
    fn time(&self, seconds: u32) -> String {
        Timestamp::from_second((self.first + seconds).into()).unwrap().to_string()
    }

    async fn backfill(&self, arguments: &[&str]) -> Ended {
        let arguments = [&["backfill"], arguments].concat();
        Bridge::command(&self.config, &arguments).await
    }
}

fn container(pair: &Pair, name: &str) -> Arc<Container> {
    pair.accounts.world.container("target", "shop", name).unwrap()
}

/// Somebody removes everything from a target.
fn empty(pair: &Pair, name: &str) {
    let (target, now) = (container(pair, name), pair.accounts.world.clock.now());
    let mut store = target.store(now);
    let all = KeyRange::all();
    let found: Vec<Address> =
        store.between(&all, None).map(|(address, _)| Address::clone(address)).collect();
    store.begin();
    for address in found {
        store.remove(&address, false, now);
    }
}

fn ids(pair: &Pair, name: &str) -> Vec<String> {
    let mut ids: Vec<_> = newest_versions(pair, &container(pair, name)).into_keys().collect();
    ids.sort_unstable();
    ids
}

/// Ids of the documents of a hundred that are in this region.
fn expected(name: &str, region: u32) -> Vec<String> {
    let mut ids: Vec<_> =
        (0..100).filter(|n| n % 5 == region).map(|n| format!("{name}-{n}")).collect();
    ids.sort_unstable();
    ids
}

fn region(number: u32) -> String {
    format!("{{ path = \"/region\", equals = \"r{number}\" }}")
}

fn state(config: &Path) -> Vec<String> {
    let file = config.with_file_name("cosmos-bridge.db");
    let state = rusqlite::Connection::open(file).unwrap();
    let mut query = state
        .prepare("SELECT sink || range_min || coalesce(etag, '') FROM positions ORDER BY 1")
        .unwrap();
    let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_and_a_condition_are_counted_and_sent_to_one_of_two_sinks() {
    let filled = Filled::start().await;
    let Filled { pair, config, .. } = &filled;
    for (_, name) in &SINKS {
        empty(pair, name);
    }
    let before = state(config);
    let (from, to, condition) = (filled.time(100), filled.time(200), region(1));
    let part = ["--from", &from, "--to", &to, "--where", &condition, "--sink", "mirror"];

    let ended = filled.backfill(&[&part[..], &["--dry-run"]].concat()).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let counted = "counted: 20 of 100 documents, read for ";
    assert!(ended.log.contains(counted), "{}", ended.log);
    assert!(ended.log.contains("  sink `mirror`: 20 documents, "), "{}", ended.log);
    assert!(ended.log.contains("\nnothing was written\n"), "{}", ended.log);
    assert!(!ended.log.contains("sink `archive`:"), "{}", ended.log);
    assert_eq!(ids(pair, "mirror"), [""; 0]);

    for _ in 0..2 {
        let ended = filled.backfill(&part).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        let at =
            |text: &str| ended.log.find(text).unwrap_or_else(|| panic!("{text}: {}", ended.log));
        assert!(at(counted) < at("sent: 20 changes, for "));
        assert_eq!(ids(pair, "mirror"), expected("b", 1));
        assert_eq!(ids(pair, "copies"), [""; 0]);
    }
    assert_eq!(state(config), before);

    // Everything that exists, to all sinks.
    let ended = filled.backfill(&[]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    for (_, name) in SINKS {
        assert_eq!(ids(pair, name).len(), 300, "{}", ended.log);
    }
    assert_eq!(state(config), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_bridge_goes_on_and_later_versions_stay() {
    for options in ["", "source_field = \"_source\""] {
        let pair = pair(&ContainerSettings::new(&["/orderId"], 2)).await;
        pair.seed(&documents("d", 2_000));
        let config = configure(&pair, SOURCE, options, ROUTES);
        let bridge = Bridge::start(&config, &["run"]);
        let has_all = || SINKS.iter().all(|(_, name)| ids(&pair, name).len() == 2_000);
        eventually("everything is copied", has_all).await;
        let (mut chance, mut sequences) = (Chance::new(5), vec![1_u64; 2_000]);
        let mut again = Bridge::start(&config, &["backfill"]);
        let mut changes = 0;
        while again.is_running() {
            for _ in 0..10 {
                // A few documents change all the time.
                let number =
                    if chance.below(3) == 0 { chance.index(5) } else { chance.index(2_000) };
                sequences[number] += 1;
                changes += 1;
                let sequence = sequences[number];
                pair.seed(&format!(
                    "{{\"id\":\"d-{number}\",\"orderId\":\"d-{number}\",\"sequence\":{sequence}}}\n"
                ));
            }
            sleep(Duration::from_millis(5)).await;
        }
        let ended = again.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        announce(&format!("{changes} changes meanwhile"));
        let source = newest_versions(&pair, &pair.source());
        let is_equal = |name: &str| newest_versions(&pair, &container(&pair, name)) == source;
        eventually("the targets are equal to the source", || {
            SINKS.iter().all(|(_, name)| is_equal(name))
        })
        .await;
        // And they stay so.
        sleep(Duration::from_secs(2)).await;
        assert!(SINKS.iter().all(|(_, name)| is_equal(name)), "{}", ended.log);
        bridge.terminate();
        assert_eq!(bridge.ended().await.code(), Some(0));
    }
}

/// What is deleted between its read and its write does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_deleted_meanwhile_stays_deleted() {
    let source = ContainerSettings {
        previous_images: PreviousImages::None,
        ..remembering(&["/orderId"], 2)
    };
    let pair = pair(&source).await;
    pair.seed(&documents("d", 2_000));
    let all =
        "mode = \"all-versions-and-deletes\"\nstart = \"beginning\"\npoll_interval = \"50ms\"";
    let config = configure(&pair, all, "", ROUTES);
    let bridge = Bridge::start(&config, &["run"]);
    let has_all = || SINKS.iter().all(|(_, name)| ids(&pair, name).len() == 2_000);
    eventually("everything is copied", has_all).await;
    let mut again = Bridge::start(&config, &["backfill"]);
    let mut deleted = 0;
    while again.is_running() {
        for _ in 0..10_u32.min(1_900 - deleted) {
            pair.delete(&format!("d-{deleted}"));
            deleted += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let ended = again.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    announce(&format!("{deleted} deletes meanwhile"));
    let left = newest_versions(&pair, &pair.source()).len();
    assert!(left < 2_000, "{left}");
    let is_equal = || SINKS.iter().all(|(_, name)| ids(&pair, name).len() == left);
    eventually("the targets are equal to the source", is_equal).await;
    sleep(Duration::from_secs(2)).await;
    assert!(is_equal(), "{}", ended.log);
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_and_a_stop_are_made_good_by_a_repetition() {
    let filled = Filled::start().await;
    let Filled { pair, config, .. } = &filled;
    empty(pair, "mirror");
    let before = state(config);
    // About three seconds for all of it.
    let text = std::fs::read_to_string(config).unwrap();
    let slow =
        text.replace("container = \"mirror\"\n", "container = \"mirror\"\nbudget = \"600 RU/s\"\n");
    assert_ne!(slow, text);
    std::fs::write(config, slow).unwrap();
    let begin = || Bridge::start(config, &["backfill", "--sink", "mirror"]);
    let some = |count: usize| move || ids(pair, "mirror").len() >= count;
    Bridge::forget_log(config);
    let again = begin();
    eventually("some are written", some(10)).await;
    again.kill().await;
    empty(pair, "mirror");
    Bridge::forget_log(config);
    let again = begin();
    eventually("some are written", some(10)).await;
    let asked = Instant::now();
    again.terminate();
    let ended = again.ended().await;
    assert_eq!(ended.code(), Some(5), "{}", ended.log);
    assert!(ended.log.contains("a repetition is harmless"), "{}", ended.log);
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    let ended = filled.backfill(&["--sink", "mirror"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ids(pair, "mirror").len(), 300);
    assert_eq!(state(config), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_counted_and_named_and_the_rest_is_written() {
    let filled = Filled::start().await;
    let Filled { pair, config, .. } = &filled;
    pair.seed("{\"id\":\"odd\",\"orderId\":\"odd\",\"region\":7,\"sequence\":1}\n");
    empty(pair, "mirror");
    let text = std::fs::read_to_string(config).unwrap();
    let route = "to = \"mirror\"\njq = 'if .id == \"odd\" then error(\"no\") else . end'\n";
    std::fs::write(config, text.replace("to = \"mirror\"\n", route)).unwrap();
    for (dry, written) in [(&["--dry-run"][..], 0), (&[], 300)] {
        let ended = filled.backfill(&[&["--sink", "mirror"], dry].concat()).await;
        assert_eq!(ended.code(), Some(7), "{}", ended.log);
        let said = &ended.log;
        assert!(
            said.contains("1 documents cannot be written:\n  sink `mirror`, document "),
            "{said}"
        );
        assert!(ended.log.contains("a document cannot be written"), "{}", ended.log);
        assert_eq!(ids(pair, "mirror").len(), written, "{said}");
    }
    // They are in the source: nothing is stored of them.
    assert_eq!(pair.letters(), []);
    // A condition that fails is reported as well.
    let condition = "{ jq = '.region | startswith(\"r\")' }";
    let ended = filled.backfill(&["--where", condition, "--sink", "archive", "--dry-run"]).await;
    assert_eq!(ended.code(), Some(7), "{}", ended.log);
    assert!(ended.log.contains("cannot be written:\n"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_backfill_are_snapshots_also_for_a_route_without_one() {
    let source = remembering(&["/orderId"], 1);
    let pair = Pair::start(&source, &source).await;
    pair.seed(&documents("d", 3));
    let path = pair.folder.path().join("events");
    let sinks = format!(
        "[sinks.file.events]\npath = \"{}\"\nformat = \"envelope\"\ncloudevents = \"off\"\n",
        path.display()
    );
    let all = "mode = \"all-versions-and-deletes\"\nstart = \"beginning\"";
    let config = pair.configure_sinks(&sinks, "", all, "to = \"events\"\nsnapshot = false\n");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let operations = || -> Vec<String> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let operation = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["operation"].as_str().unwrap().to_owned()
        };
        text.lines().map(operation).collect()
    };
    assert_eq!(operations(), [""; 0]);
    let ended = Bridge::command(&config, &["backfill"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(operations(), ["snapshot"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_before_anything_is_read() {
    let filled = Filled::start().await;
    let read = filled.pair.feed_requests();
    let (from, to) = (filled.time(200), filled.time(100));
    let wrong = ["--sink", "other", "--from", &from, "--to", &to, "--where", "paid"];
    let ended = filled.backfill(&wrong).await;
    assert_eq!(ended.code(), Some(2), "{}", ended.log);
    for problem in ["routes to `archive`, `mirror`", "is not before `--to", "invalid TOML"] {
        assert!(ended.log.contains(problem), "{}", ended.log);
    }
    assert_eq!(filled.pair.feed_requests(), read);
}
