//! A Kafka sink that is added to a pipeline in use gets everything that exists, while the other sink goes on.
#![cfg(feature = "kafka")]

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_emulator::world::ContainerSettings;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::support::history::announce;
use crate::support::{Bridge, Pair, eventually, machine};

/// As many as the new sink takes some seconds for.
const DOCUMENTS: u32 = 60_000;
/// Changes of which the latency is measured, one after the other at this interval.
const CHANGES: u32 = 400;
const EVERY: Duration = Duration::from_millis(5);
/// Runs without and with a sink that is filled, in turns.
const PAIRS: u32 = 3;

struct Fill {
    pair: Pair,
    kafka: Kafka,
    changes: u32,
}

impl Fill {
    /// The file that the live sink appends to.
    fn file(&self) -> PathBuf {
        self.pair.folder.path().join("live.jsonl")
    }

    /// With the live sink, and with these Kafka sinks, each with a topic of its name.
    fn configure(&self, sinks: &[String]) -> PathBuf {
        let mut tables = format!("[sinks.file.live]\npath = \"{}\"\n", self.file().display());
        let mut routes = "to = \"live\"\n".to_owned();
        for name in sinks {
            let servers = self.kafka.bootstrap();
            let head = format!("[sinks.kafka.{name}]\nservers = [\"{servers}\"]\n");
            tables.extend([head, format!("topic = \"{name}\"\n")]);
            routes.extend([format!("[[pipelines.orders.routes]]\nto = \"{name}\"\n")]);
        }
        let source = "start = \"beginning\"\npoll_interval = \"50ms\"";
        let config = self.pair.configure_sinks(&tables, "", source, &routes);
        let quiet = std::fs::read_to_string(&config).unwrap() + "\n[log]\nlevel = \"info\"\n";
        std::fs::write(&config, quiet).unwrap();
        config
    }

    fn change(&mut self) -> String {
        self.changes += 1;
        let id = format!("live-{}", self.changes);
        self.pair.seed(&format!("{{\"id\":\"{id}\",\"orderId\":\"{id}\"}}\n"));
        id
    }

    /// What the live sink has written from a place on.
    fn written(&self, from: u64) -> String {
        use std::io::{Read, Seek, SeekFrom};
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(self.file()) {
            file.seek(SeekFrom::Start(from)).unwrap();
            file.read_to_string(&mut text).unwrap();
        }
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
    }

    /// Waits until a change arrives at the live sink.
    async fn until_live(&mut self) {
        let id = self.change();
        eventually("the live sink goes on", || self.written(0).contains(&format!("\"{id}\"")))
            .await;
    }

    /// The latencies of changes at the live sink, in milliseconds: half of them are lower than the first
    /// number, 99 of 100 than the second, and the longest.
    async fn latencies(&mut self) -> [f64; 3] {
        let mut seen = std::fs::metadata(self.file()).map_or(0, |file| file.len());
        let (mut open, mut took) = (HashMap::new(), Vec::new());
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut made, began) = (0, Instant::now());
        while made < CHANGES || !open.is_empty() {
            assert!(began.elapsed() < Duration::from_mins(2), "{} are missing", open.len());
            tokio::select! {
                _ = ticks.tick(), if made < CHANGES => {
                    let at = Instant::now();
                    open.insert(self.change(), at);
                    made += 1;
                }
                () = sleep(Duration::from_millis(1)) => {}
            }
            let text = self.written(seen);
            seen += text.len() as u64;
            for line in text.lines() {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                let id = event["data"]["id"].as_str().unwrap();
                if let Some(at) = open.remove(id) {
                    took.push(at.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        took.sort_by(f64::total_cmp);
        [took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]]
    }

    /// How many changes a sink has stored that it has.
    fn stored(&self, sink: &str) -> u64 {
        let file = self.pair.folder.path().join("cosmos-bridge.db");
        let state = rusqlite::Connection::open(file).unwrap();
        let mut query = state.prepare("SELECT etag FROM positions WHERE sink = ?1").unwrap();
        let rows = query.query_map([sink], |row| row.get::<_, Option<String>>(0)).unwrap();
        let lsn = |etag: Option<String>| etag.map_or(0, |e| e.trim_matches('"').parse().unwrap());
        rows.map(|etag| lsn(etag.unwrap())).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_sink_that_is_added_gets_everything_and_the_live_sink_goes_on() {
    let _alone = machine::alone().await;
    let settings = ContainerSettings::new(&["/orderId"], 4);
    let pair = Pair::start(&settings, &settings).await;
    let kafka = Kafka::start().await.unwrap();
    let mut fill = Fill { pair, kafka, changes: 0 };
    for first in (0..DOCUMENTS).step_by(5_000) {
        let line =
            |n| format!("{{\"id\":\"d-{n}\",\"orderId\":\"d-{n}\",\"note\":\"{:x<200}\"}}\n", "");
        fill.pair.seed(&(first..first + 5_000).map(line).collect::<String>());
    }
    let ended = Bridge::catch_up(&fill.configure(&[])).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let mut sinks = Vec::new();
    for number in 1..=PAIRS {
        let bridge = Bridge::start(&fill.configure(&sinks), &["run"]);
        fill.until_live().await;
        let without = fill.latencies().await;
        bridge.terminate();
        assert_eq!(bridge.ended().await.code(), Some(0));

        let name = format!("events{number}");
        fill.kafka.create_topic(&name, 3, &[]).await.unwrap();
        sinks.push(name.clone());
        let bridge = Bridge::start(&fill.configure(&sinks), &["run"]);
        fill.until_live().await;
        let before = fill.stored(&name);
        let with = fill.latencies().await;
        let after = fill.stored(&name);
        let all = fill.stored("live");
        let is_filled = |fill: &Fill| fill.stored(&name) >= fill.stored("live");
        eventually("the new sink is filled", || is_filled(&fill)).await;
        bridge.terminate();
        assert_eq!(bridge.ended().await.code(), Some(0));
        announce(&format!(
            "pair {number}: p50, p99 and longest latency in ms {without:.1?} without and {with:.1?} with a fill, \
             which was at {before} to {after} of {all}"
        ));
        let messages = fill.kafka.read(&name, None).await.unwrap();
        let id = |message: &serde_json::Value| -> String {
            let value = message["value"].as_str().unwrap();
            serde_json::from_str::<serde_json::Value>(value).unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let ids: BTreeSet<String> = messages.iter().map(id).collect();
        let documents = (0..DOCUMENTS).map(|n| format!("d-{n}"));
        let live = (1..=fill.changes).map(|n| format!("live-{n}"));
        let missing: Vec<String> = documents.chain(live).filter(|id| !ids.contains(id)).collect();
        assert_eq!(missing, [""; 0]);
    }
}
