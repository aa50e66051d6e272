//! Two containers that mirror each other: what is written to either of them is written to the other one, once.

mod sides;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::support::history::{announce, remembering};
use crate::support::{Bridge, eventually, ledger};
use sides::{Logged, Side, Sides};
use users::{Users, collide};

const SEED: u64 = 29;
const KILLS: u64 = 8;

/// Writes of each side.
#[expect(clippy::disallowed_methods, reason = "the size of a test, not configuration")]
fn writes() -> u64 {
    let set = std::env::var("COSMOS_BRIDGE_DOCUMENTS").ok();
    set.map_or(2_000, |count| count.parse().expect("a number of writes"))
}

/// True if the process with this configuration has begun to read every feed range.
fn is_reading(config: &Path, ranges: usize) -> bool {
    let file = config.with_file_name("cosmos-bridge.db");
    let count = || {
        let open = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        open.busy_timeout(Duration::from_secs(5)).ok()?;
        let query = "SELECT count(*) FROM positions WHERE etag IS NOT NULL";
        open.query_row(query, [], |row| row.get::<_, i64>(0)).ok()
    };
    count().is_some_and(|count| usize::try_from(count).unwrap() >= ranges)
}

/// Each version of a user is on the other side, and nothing that the bridge wrote has come back. Each is there once;
/// what is deleted leaves nothing that would tell a repetition after a kill.
fn assert_each_crossed_once(sides: &Sides, but: &BTreeSet<String>) {
    for side in Side::BOTH {
        let of = |side: Side| sides.log(side).into_iter().filter(|one| !but.contains(&one.id));
        let deleted: BTreeSet<String> = Side::BOTH
            .iter()
            .flat_map(|side| of(*side).filter(|one| one.etag.is_none()).map(|one| one.id))
            .collect();
        let users = of(side).filter(|one| one.record.is_none());
        let made: BTreeSet<_> = users.filter_map(|one| Some((one.id, one.etag?))).collect();
        let mut crossed: BTreeMap<(String, String), u64> = BTreeMap::new();
        for Logged { id, record, .. } in of(side.other()) {
            let Some(record) = record.filter(|record| record["kind"] != "gone") else { continue };
            let other = record["other"].as_str().unwrap().to_owned();
            *crossed.entry((id, other)).or_default() += 1;
        }
        let missing = made.iter().filter(|version| !crossed.contains_key(*version)).count();
        let extra = crossed.keys().filter(|version| !made.contains(*version)).count();
        let repeated =
            crossed.iter().filter(|((id, _), count)| **count > 1 && !deleted.contains(id));
        assert_eq!((missing, extra), (0, 0), "missing and extra of {side:?}");
        assert_eq!(repeated.count(), 0, "repeated of {side:?}");
        assert!(made.len() > 100, "{}", made.len());
    }
}

/// Two processes, as two regions would have them.
struct Processes {
    sides: Sides,
    west: PathBuf,
    east: PathBuf,
    users: Users,
}

impl Processes {
    /// Both have begun to read.
    async fn start() -> Self {
        let sides = Sides::start().await;
        let configure = |side: Side, conflicts: &str| {
            let mirror = format!("conflicts = {conflicts}");
            let parts = [Sides::sink(side, &mirror), Sides::pipeline(side, "now")];
            sides.configure(side.name(), &parts)
        };
        let west = configure(Side::West, "{ newest_by = \"/n\" }");
        let east = configure(Side::East, "\"elsewhere\"");
        let bridges = [&west, &east].map(|config| Bridge::start(config, &["run"]));
        eventually("both read", || [&west, &east].iter().all(|one| is_reading(one, 2))).await;
        for bridge in bridges {
            bridge.kill().await;
        }
        Self { sides, west, east, users: Users::new(SEED) }
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(100 + self.users.chance.below(300))).await;
    }

    /// Users of both sides create documents while one process is killed again and again.
    async fn create(&mut self, documents: u64) {
        let eastern = Bridge::start(&self.east, &["run"]);
        for _ in 0..KILLS {
            let western = Bridge::start(&self.west, &["run"]);
            for _ in 0..10 {
                for side in Side::BOTH {
                    self.users.create(&self.sides, side, documents / KILLS / 10);
                }
                sleep(Duration::from_millis(20)).await;
            }
            self.pause().await;
            western.kill().await;
        }
        self.catch_up("what was created has crossed", eastern, 0).await;
    }

    /// Users change the documents of both sides, likewise.
    async fn change(&mut self, ids: &[String]) {
        let eastern = Bridge::start(&self.east, &["run"]);
        for some in ids.chunks(ids.len().div_ceil(8)) {
            let western = Bridge::start(&self.west, &["run"]);
            self.users.change(&self.sides, some.iter().cloned());
            self.pause().await;
            western.kill().await;
        }
        self.catch_up("the changes have crossed", eastern, 0).await;
    }

    /// Users change documents on both sides while nothing is read.
    async fn collide(&mut self, ids: &BTreeSet<String>) {
        for (kind, id) in (0..).zip(ids) {
            self.users.n += 2;
            collide(&self.sides, id, kind, self.users.n);
        }
        let eastern = Bridge::start(&self.east, &["run"]);
        for _ in 0..3 {
            let western = Bridge::start(&self.west, &["run"]);
            self.pause().await;
            western.kill().await;
        }
        self.catch_up("the conflicts are decided", eastern, ids.len()).await;
    }

    /// Both run until the sides are equal and this many conflicts are logged.
    async fn catch_up(&self, what: &str, eastern: Bridge, conflicts: usize) {
        let western = Bridge::start(&self.west, &["run"]);
        let sides = &self.sides;
        eventually(what, || sides.are_equal() && sides.conflicts().len() >= conflicts).await;
        western.kill().await;
        eastern.kill().await;
    }

    /// Both run to the end of what there is.
    async fn drain(&self) {
        for config in [&self.west, &self.east] {
            let ended = Bridge::catch_up(config).await;
            assert_eq!(ended.code(), Some(0), "{}", ended.log);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_side_killed_both_end_equal_and_each_change_crosses_once() {
    announce(&format!("seed {SEED}"));
    let mut processes = Processes::start().await;
    processes.create(writes() / 2).await;
    let contents = processes.sides.contents(Side::West);
    let ids: Vec<String> = contents.into_keys().map(|(_, id)| id).collect();
    let (changed, rest) = ids.split_at(ids.len() / 2);
    processes.change(changed).await;
    // One of a hundred.
    let total = usize::try_from(processes.users.made.values().sum::<u64>()).unwrap();
    let collided: BTreeSet<String> = rest.iter().take((total / 100).max(4)).cloned().collect();
    processes.collide(&collided).await;
    processes.drain().await;
    processes.drain().await;
    let before = processes.sides.changes();
    processes.drain().await;
    let Processes { sides, west, east, users } = &processes;
    assert_eq!(sides.changes(), before, "something still goes back and forth");
    assert!(sides.are_equal());
    assert_logged(sides, &collided);
    assert_each_crossed_once(sides, &collided);
    let to_west = ledger::of_sink(west, "west");
    let to_east = ledger::of_sink(east, "east");
    let conflicts = collided.len();
    announce(&format!("{:?}; {conflicts} conflicts; {to_west:?}; {to_east:?}", users.made));
    assert_eq!(to_west.dead_letters + to_east.dead_letters, 0);
}

/// There is one conflict for each of these documents, with both versions, and no other.
fn assert_logged(sides: &Sides, collided: &BTreeSet<String>) {
    let entries = sides.conflicts();
    let id = |entry: &Value| entry["document"]["id"].as_str().unwrap().to_owned();
    assert_eq!(&entries.iter().map(id).collect::<BTreeSet<_>>(), collided);
    assert_eq!(entries.len(), collided.len());
    for entry in entries {
        for side in ["source", "target"] {
            assert!(entry[side]["document"]["n"].is_u64(), "{entry}");
        }
    }
}

/// One process. What exists on both sides is compared, and copied where it is missing.
#[tokio::test(flavor = "multi_thread")]
async fn each_policy_decides_for_both_sides() {
    for (policy, expected) in [
        ("\"newest\"", ["east", "east"]),
        ("\"source\"", ["east", "east"]),
        ("\"target\"", ["west", "west"]),
        ("{ newest_by = \"/n\" }", ["west", "west"]),
    ] {
        let sides = Sides::start().await;
        let document =
            |side: Side, n: u64| json!({"id": "a", "orderId": "k", "by": side.name(), "n": n});
        sides.write_fields(Side::West, &document(Side::West, 2));
        sides.pair.accounts.advance_clock(3);
        sides.write_fields(Side::East, &document(Side::East, 1));
        sides.write(Side::West, "only west", 1);
        sides.write(Side::East, "only east", 1);
        for side in Side::BOTH {
            sides.write(side, "same", 1);
        }
        let config = sides.configure_both(policy, "beginning");
        let ended = sides.settle(&config, 1).await;
        let by = Side::BOTH.map(|side| sides.held(side, "a").unwrap()["by"].clone());
        assert_eq!(by, expected, "{policy}");
        assert_eq!(sides.contents(Side::West).len(), 4);
        let entry = &sides.conflicts()[0];
        let winner = if expected[0] == "east" { "source" } else { "target" };
        assert_eq!(entry["winner"], winner);
        let line = "both sides have changed a document; the conflict is in the log of conflicts";
        assert_eq!(ended.log.matches(line).count(), 1, "{}", ended.log);
    }
}

/// A throttled log of conflicts, lost answers, throttled writes and lagging readers.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_both_accounts_lose_nothing() {
    let sides = Sides::start().await;
    let config = sides.configure_both("\"newest\"", "beginning");
    for number in 0..40 {
        sides.write(Side::West, &format!("w{number}"), 1);
        sides.write(Side::East, &format!("e{number}"), 1);
        if number < 10 {
            sides.write(Side::West, &format!("both{number}"), 1);
            sides.write(Side::East, &format!("both{number}"), 2);
        }
    }
    let rule = |text: Value| serde_json::from_value(text).unwrap();
    for text in [
        json!({"operation": "writes", "probability": 0.1, "seed": 1, "then": {"status": 429,
            "substatus": 3200, "retry_after_ms": 5}}),
        json!({"operation": "writes", "probability": 0.05, "seed": 2, "then": {"drop": "after"}}),
        json!({"operation": "reads", "probability": 0.05, "seed": 3, "then": {"status": 503}}),
        json!({"operation": "feed", "probability": 0.3, "seed": 4, "then": {"stale": true}}),
        json!({"operation": "read", "probability": 0.5, "seed": 5, "then": {"stale": true}}),
        json!({"container": "conflicts", "operation": "writes", "times": 5, "then": {"status": 429,
            "substatus": 3200, "retry_after_ms": 5}}),
    ] {
        sides.pair.accounts.fault(rule(text));
    }
    let bridge = Bridge::start(&config, &["run"]);
    eventually("both sides are equal", || sides.are_equal() && sides.conflicts().len() >= 10).await;
    sides.pair.accounts.split("source", "shop", "orders").await.unwrap();
    for number in 0..20 {
        sides.delete(Side::East, &format!("w{number}"));
        sides.edit(Side::West, &format!("e{number}"), 2);
    }
    eventually("the changes have crossed", || {
        sides.are_equal() && sides.contents(Side::West).len() == 70
    })
    .await;
    bridge.kill().await;
    sides.pair.accounts.clear_faults();
    sides.settle(&config, 10).await;
}

/// Documents expire on both sides, and a user gives one of them another time.
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_is_gone_on_both_sides() {
    let settings = cosmos_bridge_emulator::world::ContainerSettings {
        default_ttl: Some(-1),
        ..remembering(&["/orderId"], 1)
    };
    let sides = Sides::start_with(settings).await;
    let config = sides.configure_both("\"newest\"", "beginning");
    let with_ttl = |id: &str| json!({"id": id, "orderId": id, "n": 1, "ttl": 1000});
    sides.write_fields(Side::West, &with_ttl("a"));
    sides.write_fields(Side::West, &with_ttl("b"));
    sides.write(Side::East, "c", 1);
    sides.settle(&config, 0).await;
    let mut longer = with_ttl("b");
    longer["ttl"] = 9000.into();
    sides.write_fields(Side::East, &longer);
    sides.settle(&config, 0).await;
    sides.pair.accounts.advance_clock(2000);
    sides.settle(&config, 0).await;
    let ids = |side| sides.contents(side).into_keys().map(|(_, id)| id).collect::<Vec<_>>();
    assert_eq!([ids(Side::West), ids(Side::East)], [["b", "c"], ["b", "c"]]);
}

/// What keeps two containers from mirroring is told at the start, before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn containers_that_cannot_mirror_are_refused() {
    use cosmos_bridge_emulator::PreviousImages;
    use cosmos_bridge_emulator::world::ContainerSettings;
    let usual = || remembering(&["/orderId"], 1);
    let partly = ContainerSettings { previous_images: PreviousImages::Delete, ..usual() };
    let expiring = ContainerSettings { default_ttl: Some(60), ..usual() };
    for (east, log, expected) in [
        (
            remembering(&["/n"], 1),
            "/id",
            "has the partition key [/orderId], and its container has [/n]",
        ),
        (partly, "/id", "sends no previous images of replacements"),
        (expiring, "/id", "another default time to live"),
        (usual(), "/other", "has the partition key [/other], and not [/id]"),
    ] {
        let pair = crate::support::Pair::start(&usual(), &east).await;
        let log = ContainerSettings::new(&[log], 1);
        pair.accounts.create_container("target", "shop", "conflicts", &log).await.unwrap();
        let sides = Sides { pair };
        let config = sides.configure_both("\"newest\"", "beginning");
        sides.write(Side::West, "a", 1);
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(78), "{}", ended.log);
        assert!(ended.log.contains("cannot mirror"), "{}", ended.log);
        assert!(ended.log.contains(expected), "{}", ended.log);
        assert_eq!(sides.held(Side::East, "a"), None);
    }
    let sides = Sides::start().await;
    let config = sides.configure_both("\"newest\"", "beginning");
    let ended = Bridge::start(&config, &["backfill", "--pipeline", "to_east"]).ended().await;
    assert!(
        ended.log.contains("cannot be sent again to a container that is mirrored"),
        "{}",
        ended.log
    );
}
