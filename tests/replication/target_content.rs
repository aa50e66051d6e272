//! The target stays right: late writes, collisions, unique keys, moves, undefined keys.

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};

use crate::support::evidence::lines_at;
use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const ALL_VERSIONS: &str = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
const OFTEN: &str = "poll_interval = \"50ms\"";

fn line(id: &str, region: &str, more: &str) -> String {
    format!("{{\"id\":\"{id}\",\"region\":\"{region}\"{more}}}\n")
}

fn value(pair: &Pair, id: &str) -> Option<i64> {
    let copies = pair.copies();
    let copy = copies.iter().find(|copy| copy["id"] == id)?;
    copy["n"].as_i64()
}

/// Of the start, which knows the source's key and the route.
const MERGES: &str =
    "source documents that differ only in these fields are one document in the target";

/// The first write is delayed for longer than the client waits, so that it is executed after its
/// repetition, and after a later version or a delete.
async fn late(mode: &str, operation: &str, sink: &str) {
    let pair = Pair::start(&remembering(&["/region"], 1), &remembering(&["/region"], 1)).await;
    pair.accounts.fault(FaultRule {
        account: Some("target".to_owned()),
        operation: Some(operation.to_owned()),
        times: Some(1),
        then: Effect { delay_ms: Some(9000), ..Effect::default() },
        ..FaultRule::default()
    });
    // The limit is longer than the delay.
    let sink = format!("late_write_limit = \"10s\"\n{sink}");
    let config = pair.configure(&sink, "", &format!("{mode}\n{OFTEN}"), "");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    let document = |n: u32| ["a", "b"].map(|id| line(id, "r", &format!(",\"n\":{n}"))).concat();
    pair.seed(&document(1));
    // The repetition of the request is answered.
    eventually("the first version arrives", || value(&pair, "a") == Some(1)).await;
    let is_deleted = mode == ALL_VERSIONS;
    if is_deleted {
        pair.delete("a");
        eventually("the delete arrives", || value(&pair, "a").is_none()).await;
    } else {
        pair.seed(&document(2));
        eventually("the second version arrives", || value(&pair, "a") == Some(2)).await;
    }
    let before = pair.positions();
    let executed = || pair.requests("target", "copies", &[operation]);
    let attempts = executed();
    eventually("the late request is executed", || executed() > attempts).await;
    eventually("both are equal", || pair.is_equal()).await;
    pair.seed(&line("last", "r", ""));
    eventually("the position is stored", || pair.positions() > before).await;
    eventually("the last one arrives", || pair.is_equal()).await;
    assert_eq!(pair.letters(), []);
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal(), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_write_that_arrives_late_does_not_undo_a_later_version() {
    late("mode = \"latest-version\"", "create", "batch_changes = 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_arrives_late_does_not_undo_a_later_version() {
    late("mode = \"latest-version\"", "batch", "").await;
    late("mode = \"latest-version\"", "batch", "bulk = false").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_write_that_arrives_late_does_not_undo_a_delete() {
    late(ALL_VERSIONS, "create", "batch_changes = 1").await;
}

/// Two documents of the source that a route maps to one of the target.
#[tokio::test(flavor = "multi_thread")]
async fn a_collision_is_told_and_a_delete_removes_only_its_own_copy() {
    for (on_collision, letters, first) in [("newest", 0, "bob"), ("dead-letter", 1, "ann")] {
        let source = remembering(&["/customer"], 1);
        let target = ContainerSettings::new(&["/region"], 1);
        let pair = Pair::start(&source, &target).await;
        let sink = format!("on_collision = \"{on_collision}\"");
        let source = format!("{ALL_VERSIONS}\n{OFTEN}");
        let config = pair.configure(&sink, "", &source, "partition_key = [\"/region\"]");
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        for customer in ["ann", "bob"] {
            pair.seed(&line("1", "north", &format!(",\"customer\":\"{customer}\"")));
        }
        let customer = || pair.copies().first().map(|copy| copy["customer"].clone());
        let is_told = || bridge.log().contains("another") || bridge.log().contains("replace each");
        eventually("both are handled", || customer() == Some(first.into()) && is_told()).await;
        assert_eq!(pair.letters().len(), letters, "{on_collision}");
        let log = bridge.log();
        let warns = |line: &str| line.contains(MERGES) && line.contains("/customer");
        assert_eq!(log.lines().filter(|line| warns(line)).count(), 1, "{log}");
        // The other one goes; the copy is not its own.
        let other = if first == "ann" { "bob" } else { "ann" };
        pair.delete_of("1", other);
        pair.seed(&line("2", "north", ",\"customer\":\"eve\""));
        eventually("a later document arrives", || pair.count("target", "copies") == 2).await;
        assert_eq!(customer(), Some(first.into()), "{on_collision}");
        pair.delete_of("1", first);
        eventually("its own delete arrives", || pair.count("target", "copies") == 1).await;
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
    }
}

/// A unique value passes from document to document, while the target answers slowly and with errors.
#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_passes_on_is_no_dead_letter() {
    for sink in ["batch_changes = 1", ""] {
        let unique_keys = vec![vec!["/mail".to_owned()]];
        let target = ContainerSettings { unique_keys, ..ContainerSettings::new(&["/region"], 1) };
        let pair = Pair::start(&remembering(&["/region"], 1), &target).await;
        for (every, status, delay) in [(5, None, Some(150)), (10, Some(503), None)] {
            pair.accounts.fault(FaultRule {
                account: Some("target".to_owned()),
                operation: Some("writes".to_owned()),
                every: Some(every),
                then: Effect { status, delay_ms: delay, ..Effect::default() },
                ..FaultRule::default()
            });
        }
        let config = pair.configure(sink, "", &format!("{ALL_VERSIONS}\n{OFTEN}"), "");
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        for n in 0..60 {
            pair.seed(&line(&format!("d{n}"), "r", ",\"mail\":\"m\""));
            if n < 59 {
                pair.delete(&format!("d{n}"));
            }
        }
        eventually("the last owner arrives", || pair.is_equal()).await;
        assert_eq!(pair.letters(), [], "{}", bridge.log());
        bridge.kill().await;
    }
}

/// The feed of latest versions leaves out the version that freed the value.
#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_is_freed_by_a_later_change_is_no_dead_letter() {
    for sink in ["batch_changes = 1", ""] {
        let unique_keys = vec![vec!["/mail".to_owned()]];
        let source = ContainerSettings { unique_keys, ..ContainerSettings::new(&["/region"], 1) };
        let pair = Pair::start(&source, &source).await;
        let mail = |id: &str, mail: &str| line(id, "r", &format!(",\"mail\":\"{mail}\""));
        pair.seed(&mail("a", "x"));
        let config = pair.configure(sink, "", "", "");
        assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
        for (id, address) in [("a", "y"), ("b", "x"), ("a", "z")] {
            pair.seed(&mail(id, address));
        }
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert!(pair.is_equal(), "{}", ended.log);
        assert_eq!(pair.letters(), []);
    }
}

/// A document moves to a place where its unique value is taken.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_copy_stays_if_the_new_one_is_refused() {
    let unique_keys = vec![vec!["/mail".to_owned()]];
    let target = ContainerSettings { unique_keys, ..ContainerSettings::new(&["/region"], 1) };
    let pair = Pair::start(&remembering(&["/id"], 1), &target).await;
    let source = format!("{ALL_VERSIONS}\n{OFTEN}");
    let config = pair.configure("", "", &source, "partition_key = [\"/region\"]");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    pair.seed(&line("owner", "south", ",\"mail\":\"x\""));
    pair.seed(&line("1", "north", ",\"mail\":\"x\""));
    pair.seed(&line("2", "north", ",\"mail\":\"y\""));
    eventually("all are copied", || pair.is_equal()).await;
    pair.seed(&line("1", "south", ",\"mail\":\"x\""));
    pair.seed(&line("2", "south", ",\"mail\":\"y\""));
    eventually("the refusal is a dead letter", || pair.letters().len() == 1).await;
    let region = |id: &str| {
        let of: Vec<_> = pair.copies().iter().filter(|copy| copy["id"] == id).cloned().collect();
        of.iter()
            .map(|copy| copy["region"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    eventually("the other one has moved", || region("2") == ["south"]).await;
    assert_eq!(region("1"), ["north"], "{}", bridge.log());
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_without_a_key_value_are_copied_and_deleted() {
    for (paths, documents) in [
        (&["/region"][..], [r#"{"id":"1"}"#, r#"{"id":"2","region":"r"}"#]),
        (&["/a", "/b", "/c"], [r#"{"id":"1","a":"x","b":"y"}"#, r#"{"id":"2","a":"x"}"#]),
    ] {
        for route in ["", "partition_key = [PATHS]"] {
            let pair = Pair::start(&remembering(paths, 2), &remembering(paths, 2)).await;
            let quoted: Vec<_> = paths.iter().map(|path| format!("\"{path}\"")).collect();
            let route = route.replace("PATHS", &quoted.join(", "));
            let source = format!("{ALL_VERSIONS}\n{OFTEN}");
            let config = pair.configure("", "", &source, &route);
            let bridge = Bridge::start(&config, &["run"]);
            eventually("the bridge reads", || pair.is_reading()).await;
            pair.seed(&(documents.join("\n") + "\n"));
            eventually("both are copied", || pair.count("target", "copies") == 2).await;
            assert!(pair.is_equal());
            pair.delete("1");
            eventually("a delete arrives", || pair.is_equal()).await;
            assert_eq!(pair.letters(), [], "{}", bridge.log());
            assert!(lines_at(&bridge.log(), "WARN").is_empty(), "{}", bridge.log());
            bridge.kill().await;
        }
    }
}
