//! Events that an HTTP endpoint fails for in each attempt, among others of the same feed range.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cosmos_bridge_brokers::Endpoint;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::Value;

use crate::support::{Bridge, Pair, eventually};

/// More than the requests that may be in flight.
const BAD: usize = 12;
const GOOD: usize = 100;

struct Scene {
    pair: Pair,
    endpoint: Endpoint,
}

impl Scene {
    async fn start() -> Self {
        let settings = ContainerSettings::new(&["/id"], 1);
        let pair = Pair::start(&settings, &settings).await;
        let endpoint = Endpoint::start().await.unwrap();
        endpoint.fails_for(&["bad-"]).unwrap();
        Self { pair, endpoint }
    }

    fn run(&self, options: &str) -> Bridge {
        let sink = format!(
            "[sinks.http.hook]\nurl = \"{}\"\nconcurrency = 4\n{options}",
            self.endpoint.url()
        );
        let source = "start = \"beginning\"\npoll_interval = \"100ms\"";
        Bridge::start(&self.pair.configure_sinks(&sink, "", source, "to = \"hook\""), &["run"])
    }

    /// Writes a version of each document, those that fail first.
    fn seed(&self, version: u32) {
        let mut lines = String::new();
        let bad = (0..BAD).map(|n| format!("bad-{n}"));
        for id in bad.chain((0..GOOD).map(|n| format!("good-{n}"))) {
            writeln!(lines, "{{\"id\": \"{id}\", \"version\": {version}}}").unwrap();
        }
        self.pair.seed(&lines);
    }

    /// The versions of each document that the endpoint has taken.
    fn taken(&self) -> BTreeMap<String, Vec<u64>> {
        let mut taken = BTreeMap::<String, Vec<u64>>::new();
        for request in self.endpoint.taken().unwrap() {
            let document: Value = serde_json::from_str(&request.body).unwrap();
            let id = document["id"].as_str().unwrap().to_owned();
            taken.entry(id).or_default().push(document["version"].as_u64().unwrap());
        }
        taken
    }

    /// The number of documents whose last version that was taken is this one.
    fn at(&self, version: u64, of: &str) -> usize {
        let taken = self.taken();
        let of = taken.iter().filter(|(id, _)| id.starts_with(of));
        of.filter(|(_, versions)| versions.last() == Some(&version)).count()
    }
}

async fn stopped(bridge: Bridge) -> String {
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    ended.log
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_always_fail_hold_up_no_other_document() {
    let scene = Scene::start().await;
    let bridge = scene.run("");
    for version in [1, 2, 3] {
        scene.seed(version);
        let all = || scene.at(u64::from(version), "good") == GOOD;
        eventually(&format!("version {version} of the others"), all).await;
    }
    assert!(scene.taken().keys().all(|id| id.starts_with("good")));
    scene.endpoint.fails_for(&[]).unwrap();
    eventually("the others too", || scene.at(3, "bad") == BAD).await;
    for (id, versions) in scene.taken() {
        assert!(versions.is_sorted(), "{id}: {versions:?}");
    }
    assert_eq!(scene.pair.letters(), []);
    stopped(bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_for_too_long_becomes_a_dead_letter_and_the_next_version_is_posted() {
    let scene = Scene::start().await;
    let bridge = scene.run("give_up_after = \"1s\"\n");
    scene.seed(1);
    eventually("an event", || scene.at(1, "good") > 0).await;
    let mut version = 1;
    eventually("dead letters", || {
        // Others are accepted all the time.
        version += 1;
        scene.pair.seed(&format!("{{\"id\": \"good-0\", \"version\": {version}}}\n"));
        scene.pair.letters().len() == BAD
    })
    .await;
    scene.endpoint.fails_for(&[]).unwrap();
    scene.seed(version + 1);
    let all = || scene.at(u64::from(version + 1), "bad") == BAD;
    eventually("the next version", all).await;
    let letters = scene.pair.letters();
    let ids: BTreeSet<_> = letters.iter().map(|letter| letter.source_id.clone()).collect();
    assert_eq!(ids, (0..BAD).map(|n| format!("bad-{n}")).collect());
    for letter in letters {
        assert!(letter.cause.contains("`give_up_after` (1s)"), "{}", letter.cause);
    }
    stopped(bridge).await;
}
