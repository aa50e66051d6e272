//! Starts, modes, and deletes.

use std::time::Duration;

use cosmos_bridge_emulator::world::ContainerSettings;
use tokio::time::Instant;

use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const ALL_VERSIONS: &str = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
const BY_CUSTOMER: &str = "partition_key = [\"/customerId\"]";

/// A source with history and expiry by `ttl`, and a target with another partition key.
async fn pair() -> Pair {
    let source = ContainerSettings { default_ttl: Some(-1), ..remembering(&["/orderId"], 2) };
    Pair::start(&source, &ContainerSettings::new(&["/customerId"], 2)).await
}

fn document(id: &str, customer: &str, more: &str) -> String {
    format!("{{\"id\":\"{id}\",\"orderId\":\"{id}\",\"customerId\":\"{customer}\"{more}}}\n")
}

/// Documents with these ids, of one customer.
fn documents(ids: &[&str]) -> String {
    ids.iter().map(|id| document(id, "c-1", "")).collect()
}

/// Starts a bridge, waits until it reads, and stops it, so that a position is stored.
async fn set_off(pair: &Pair, config: &std::path::Path) {
    let bridge = Bridge::start(config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

async fn catch_up(config: &std::path::Path) {
    let ended = Bridge::catch_up(config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_expiries_reach_a_target_with_another_key() {
    let pair = pair().await;
    let config = pair.configure("", "", ALL_VERSIONS, BY_CUSTOMER);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    pair.seed(&documents(&["kept", "deleted", "again"]));
    pair.seed(&document("expiring", "c-2", ",\"ttl\":60"));
    pair.seed(&document("touched", "c-2", ",\"ttl\":60"));
    eventually("all is copied", || pair.count("target", "copies") == 5).await;
    assert!(pair.is_equal());

    pair.delete("deleted");
    pair.delete("again");
    eventually("deletes arrive", || pair.copied_ids() == ["expiring", "kept", "touched"]).await;
    pair.seed(&documents(&["again"]));
    pair.accounts.advance_clock(50);
    pair.seed(&document("touched", "c-2", ",\"ttl\":60"));
    pair.accounts.advance_clock(20);
    eventually("an expiry arrives", || pair.copied_ids() == ["again", "kept", "touched"]).await;
    eventually("the rest is equal", || pair.is_equal()).await;
    assert_eq!(pair.letters(), []);
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_decides_which_deletes_are_repeated() {
    for (deletes, left) in [
        ("all", &["kept"][..]),
        ("explicit", &["expired", "kept"]),
        ("ignore", &["deleted", "expired", "kept"]),
    ] {
        let pair = pair().await;
        let pipeline = format!("deletes = \"{deletes}\"");
        let config = pair.configure("", &pipeline, ALL_VERSIONS, BY_CUSTOMER);
        set_off(&pair, &config).await;
        pair.seed(&documents(&["deleted", "kept"]));
        pair.seed(&document("expired", "c-2", ",\"ttl\":60"));
        catch_up(&config).await;
        assert_eq!(pair.copied_ids(), ["deleted", "expired", "kept"], "deletes = {deletes}");
        pair.delete("deleted");
        pair.accounts.advance_clock(100);
        catch_up(&config).await;
        assert_eq!(pair.copied_ids(), left, "deletes = {deletes}");
        assert_eq!(pair.letters(), [], "deletes = {deletes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_moves_to_another_target_key_leaves_no_orphan() {
    let pair = pair().await;
    let route = format!("{BY_CUSTOMER}\nid = \"{{/customerId}}:{{/orderId}}\"");
    let config = pair.configure("", "", ALL_VERSIONS, &route);
    set_off(&pair, &config).await;
    pair.seed(&(document("a", "c-1", "") + &document("b", "c-1", "")));
    catch_up(&config).await;
    assert_eq!(pair.copied_ids(), ["c-1:a", "c-1:b"]);
    for customer in ["c-2", "c-3"] {
        pair.seed(&document("a", customer, ""));
    }
    catch_up(&config).await;
    assert_eq!(pair.copied_ids(), ["c-1:b", "c-3:a"]);
    pair.delete("a");
    catch_up(&config).await;
    assert_eq!(pair.copied_ids(), ["c-1:b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_now_leaves_out_what_was_and_copies_all_that_comes() {
    for mode in ["latest-version", "all-versions-and-deletes"] {
        let pair = pair().await;
        pair.seed(&documents(&["old-1", "old-2", "changed"]));
        let source = format!("mode = \"{mode}\"\nstart = \"now\"");
        let config = pair.configure("", "", &source, BY_CUSTOMER);
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        let new: Vec<String> = (0..300).map(|number| format!("new-{number:03}")).collect();
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        pair.seed(&documents(&new[..100]));
        eventually("the first changes arrive", || pair.count("target", "copies") == 100).await;
        bridge.terminate();
        assert_eq!(bridge.ended().await.code(), Some(0));
        // Changes that are written while no bridge reads are after the start as well.
        pair.seed(&documents(&new[100..]));
        pair.seed(&document("changed", "c-1", ",\"paid\":true"));
        catch_up(&config).await;
        assert_eq!(pair.copied_ids(), [&["changed"], &new[..]].concat(), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_a_time_copies_what_was_written_from_then_on() {
    let pair = pair().await;
    pair.seed(&documents(&["old", "changed"]));
    pair.accounts.advance_clock(1000);
    let since = i64::from(pair.accounts.world.clock.now());
    let since = jiff::Timestamp::from_second(since).unwrap();
    pair.accounts.advance_clock(1000);
    pair.seed(&documents(&["changed", "new"]));
    let config = pair.configure("", "", &format!("start = {since}"), BY_CUSTOMER);
    catch_up(&config).await;
    assert_eq!(pair.copied_ids(), ["changed", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_position_wins_over_a_changed_start() {
    let pair = pair().await;
    pair.seed(&documents(&["old"]));
    let config = pair.configure("", "", "start = \"now\"", BY_CUSTOMER);
    set_off(&pair, &config).await;
    pair.seed(&documents(&["1"]));
    // From the beginning, it would copy `old`.
    pair.configure("", "", "start = \"beginning\"", BY_CUSTOMER);
    catch_up(&config).await;
    assert_eq!(pair.copied_ids(), ["1"]);
    // From now or a later time, it would skip the changes written meanwhile.
    for (id, start) in [("2", "\"now\""), ("3", "2099-01-01T00:00:00Z")] {
        pair.seed(&documents(&[id]));
        pair.configure("", "", &format!("start = {start}"), BY_CUSTOMER);
        catch_up(&config).await;
        assert!(pair.copied_ids().contains(&id.to_owned()), "start = {start}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_polling_slows_down_and_wakes_on_traffic() {
    let one = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&one, &ContainerSettings::new(&["/customerId"], 1)).await;
    pair.seed(&documents(&["first"]));
    let config =
        pair.configure("", "", "poll_interval = \"2s\"\nidle_budget = \"0.25 RU/s\"", BY_CUSTOMER);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the first document arrives", || pair.is_equal()).await;

    // The pauses double from 10 ms to 2 s, when polls cost twice the idle budget: eight polls, then one every two
    // seconds.
    let before = pair.feed_requests();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let polls = pair.feed_requests() - before;
    assert!((1..=12).contains(&polls), "{polls} polls in 6 s while nothing happened");

    let written = Instant::now();
    pair.seed(&documents(&["second"]));
    eventually("the second document arrives", || pair.is_equal()).await;
    let waited = written.elapsed();
    assert!(waited < Duration::from_secs(5), "it was noticed after {waited:?}");

    // After a change the polls are frequent again; at the idle rate three would take at least 4 s.
    let (awake, seen) = (Instant::now(), pair.feed_requests());
    eventually("polls follow", || pair.feed_requests() >= seen + 3).await;
    let waited = awake.elapsed();
    assert!(waited < Duration::from_secs(3), "three polls took {waited:?} after traffic");
    bridge.kill().await;
}

/// A feed of the latest versions has no deletes: a mark takes their place.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_marked_as_deleted_is_deleted_or_expires() {
    let mark = "where = { path = \"/deleted\", equals = true }";
    for (then, at_once) in
        [("", vec!["kept"]), (", then = \"ttl\", ttl = \"1m\"", vec!["kept", "marked"])]
    {
        let target = ContainerSettings {
            default_ttl: Some(-1),
            ..ContainerSettings::new(&["/customerId"], 2)
        };
        let pair = Pair::start(&ContainerSettings::new(&["/orderId"], 2), &target).await;
        let route = format!("{BY_CUSTOMER}\nsoft_delete = {{ {mark}{then} }}");
        let config = pair.configure("", "", "", &route);
        pair.seed(&documents(&["kept", "marked"]));
        catch_up(&config).await;
        assert_eq!(pair.copied_ids(), ["kept", "marked"]);
        pair.seed(&document("marked", "c-1", ",\"deleted\":true"));
        catch_up(&config).await;
        assert_eq!(pair.copied_ids(), at_once, "{then}");
        pair.accounts.advance_clock(61);
        eventually("it has expired", || pair.copied_ids() == ["kept"]).await;
        // The mark is taken back.
        pair.seed(&documents(&["marked"]));
        catch_up(&config).await;
        assert_eq!(pair.copied_ids(), ["kept", "marked"], "{then}");
        assert_eq!(pair.letters(), []);
    }
}
