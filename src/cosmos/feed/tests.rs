use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::feed::ContinuationToken;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cosmos_bridge_cosmos::Container as _;
use cosmos_bridge_emulator::fault::{Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_sink::{ContainerName, Expiry, KeyValue, Origin, PartitionKey};

use super::item::{Item, changes_of, expiry_of, key_from_metadata, number_repeated};
use super::pages::{Asked, Pages};
use super::parts::{PageParts, parts_of};
use super::{ContainerFeeds, Feed, FeedAnswer, position};
use crate::config::{Path, Start};
use crate::cosmos::local::{CHARGED, Local};
use crate::cosmos::{ChangeFeed, Feeds, Proof, Target};
use crate::deliver::Partitions;
use crate::model::{Event, FeedRange, Mode, Position, SourceChange};

fn json(token: &ContinuationToken) -> serde_json::Value {
    let body = token.as_str().strip_prefix("c1.").expect("the version mark");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

/// The account with these documents, in two physical ranges.
async fn local(lines: &str) -> Local {
    let settings =
        ContainerSettings { retention_seconds: Some(600), ..ContainerSettings::new(&["/k"], 2) };
    let local = Local::start(&settings).await;
    local.accounts.seed("source", "shop", "orders", lines).unwrap();
    local
}

impl Local {
    fn feeds(&self, mode: Mode, page_size: u32) -> ContainerFeeds {
        let name = ContainerName {
            account: "source".to_owned(),
            database: "shop".to_owned(),
            container: "orders".to_owned(),
            rid: "rid".to_owned(),
        };
        ContainerFeeds {
            container: self.container.clone(),
            name: Arc::new(name),
            key_paths: vec![Path::parse("/k").unwrap()].into(),
            mode,
            page_size: NonZeroU32::new(page_size).unwrap(),
        }
    }
}

fn items_of(item: &serde_json::Value) -> Vec<Item> {
    let name = ContainerName {
        account: "a".into(),
        database: "d".into(),
        container: "c".into(),
        rid: "rid".into(),
    };
    let page = serde_json::json!({"Documents": [item]}).to_string();
    parts_of(page.as_bytes(), &Arc::new(name), &[]).unwrap().items
}

fn line(n: u32, more: &str) -> String {
    format!("{{\"id\":\"{n}\",\"k\":\"same\"{more}}}\n")
}

#[test]
fn the_key_of_a_delete_is_in_the_order_of_the_paths_or_unknown() {
    let paths = ["/tenant", "/customer/id"].map(|path| Path::parse(path).unwrap());
    let text = |text: &str| KeyValue::String(text.to_owned());
    let cases = [
        (r#"["t", "c"]"#, vec![text("t"), text("c")]),
        (r#"["t", null]"#, vec![text("t"), KeyValue::Null]),
        (r#"{"customer/id": "c", "tenant": "t"}"#, vec![text("t"), text("c")]),
        (r#"{"/customer/id": "c", "/tenant": "t"}"#, vec![text("t"), text("c")]),
        (r#"{"id": "c", "tenant": "t"}"#, vec![text("t"), text("c")]),
        (r#"{"id": "c", "a": "t"}"#, vec![]),
        (r#""t""#, vec![]),
    ];
    for (key, expected) in cases {
        let parsed = serde_json::from_str(key).unwrap();
        assert_eq!(key_from_metadata(Some(&parsed), &paths), PartitionKey(expected), "{key}");
    }
    assert_eq!(key_from_metadata(None, &paths), PartitionKey(vec![]));
}

/// The service sends the key of a delete in the metadata, and as `current` nothing, an empty object, or
/// some properties. <https://learn.microsoft.com/azure/cosmos-db/change-feed-modes>
#[test]
fn the_identity_of_a_delete_is_that_of_its_metadata() {
    let paths = ["/customer/id", "/day"].map(|path| Path::parse(path).unwrap());
    let text = |text: &str| KeyValue::String(text.to_owned());
    let key = || vec![text("c"), text("d")];
    let stated = serde_json::json!(["c", "d"]);
    let full = serde_json::json!({"id": "1", "customer": {"id": "c"}, "day": "d"});
    let other = serde_json::json!({"id": "1", "customer": {"id": "old"}, "day": "d"});
    for (current, previous, stated, expected) in [
        (None, None, Some(&stated), key()),
        (Some(serde_json::json!({})), None, Some(&stated), key()),
        (Some(serde_json::json!({"id": "1"})), None, Some(&stated), key()),
        (Some(serde_json::json!({"id": "1", "id2": 5})), Some(&full), Some(&stated), key()),
        (None, Some(&full), None, key()),
        (Some(serde_json::json!({"id": "1"})), Some(&full), None, key()),
        // The stated key is that of the deleted document.
        (None, Some(&other), Some(&stated), key()),
        // Unknown: not a document without a key.
        (Some(serde_json::json!({"id": "1"})), None, None, vec![]),
    ] {
        let mut item = serde_json::json!({
            "metadata": {"operationType": "delete", "id": "1", "lsn": 7, "crts": 5},
        });
        let shown = format!("{current:?} {previous:?} {stated:?}");
        if let Some(current) = current {
            item["current"] = current;
        }
        if let Some(previous) = previous {
            item["previous"] = previous.clone();
        }
        if let Some(stated) = stated {
            item["metadata"]["partitionKey"] = stated.clone();
        }
        let items = items_of(&item);
        let name = ContainerName {
            account: "a".into(),
            database: "d".into(),
            container: "c".into(),
            rid: "rid".into(),
        };
        let changes = changes_of(items, &Arc::new(name), &paths, None);
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(change.origin.id, "1", "{shown}");
        assert_eq!(change.origin.partition_key, PartitionKey(expected), "{shown}");
        assert!(matches!(change.event, Event::Delete { .. }), "{shown}");
    }
}

/// A change that is taken for a new document removes no copy at an old place, and an expiry is not a delete.
#[test]
fn only_the_metadata_says_that_a_document_is_new_or_has_expired() {
    let document = || serde_json::json!({"id": "1", "k": "a", "_lsn": 7, "_ts": 5});
    for (metadata, expected) in [
        (None, "upsert"),
        (Some(serde_json::json!({"operationType": "create"})), "new"),
        (Some(serde_json::json!({"operationType": "replace"})), "upsert"),
        (Some(serde_json::json!({"operationType": "delete"})), "delete"),
        (
            Some(serde_json::json!({"operationType": "delete", "timeToLiveExpired": false})),
            "delete",
        ),
        (Some(serde_json::json!({"operationType": "delete", "timeToLiveExpired": true})), "expiry"),
    ] {
        let mut item = serde_json::json!({"current": document()});
        if let Some(mut metadata) = metadata.clone() {
            metadata["lsn"] = 7.into();
            metadata["crts"] = 5.into();
            item["metadata"] = metadata;
        }
        let items = items_of(&item);
        let name = ContainerName {
            account: "a".into(),
            database: "d".into(),
            container: "c".into(),
            rid: "rid".into(),
        };
        let paths = [Path::parse("/k").unwrap()];
        let changes = changes_of(items, &Arc::new(name), &paths, None);
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        let found = match &change.event {
            Event::Upsert { is_new: true, .. } => "new",
            Event::Upsert { is_new: false, .. } => "upsert",
            Event::Delete { expired: false, .. } => "delete",
            Event::Delete { expired: true, .. } => "expiry",
        };
        assert_eq!(found, expected, "{metadata:?}");
        let Origin { lsn, committed_at, .. } = &*change.origin;
        assert_eq!((*lsn, *committed_at), (Some(7), Some(5)), "{metadata:?}");
    }
}

#[test]
fn a_document_expires_by_its_own_time_to_live_or_by_the_default() {
    let at = |at: i64, ttl: Option<i64>| Some(Expiry { at: Some(at), ttl });
    let never = |ttl: Option<i64>| Some(Expiry { at: None, ttl });
    for (document, default, expected) in [
        (serde_json::json!({"_ts": 100, "ttl": 5}), None, None),
        (serde_json::json!({"_ts": 100, "ttl": 5}), Some(-1), at(105, Some(5))),
        (serde_json::json!({"_ts": 100, "ttl": 5}), Some(50), at(105, Some(5))),
        (serde_json::json!({"_ts": 100}), Some(50), at(150, None)),
        (serde_json::json!({"_ts": 100}), Some(-1), never(None)),
        (serde_json::json!({"_ts": 100, "ttl": -1}), Some(50), never(Some(-1))),
        // Not a time to live.
        (serde_json::json!({"_ts": 100, "ttl": "5"}), Some(50), at(150, None)),
        (serde_json::json!({"_ts": 100, "ttl": 0}), Some(50), at(150, Some(0))),
        (serde_json::json!({"ttl": 5}), Some(50), None),
    ] {
        let fields = document.as_object().unwrap().clone();
        assert_eq!(expiry_of(&fields.into(), default), expected, "{document} {default:?}");
    }
}

#[test]
fn repeated_changes_of_a_transaction_are_numbered() {
    let name = ContainerName {
        account: "a".into(),
        database: "d".into(),
        container: "c".into(),
        rid: "rid".into(),
    };
    let name = Arc::new(name);
    let change = |(key, id, lsn): (&str, &str, Option<i64>)| SourceChange {
        origin: Arc::new(Origin {
            container: Arc::clone(&name),
            id: id.to_owned(),
            partition_key: PartitionKey(vec![KeyValue::String(key.to_owned())]),
            lsn,
            nth: 0,
            committed_at: None,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        event: Event::Delete { previous: None, expired: false },
    };
    let changes = [
        (("k", "1", Some(7)), 0),
        (("k", "2", Some(7)), 0),
        (("k", "1", Some(7)), 1),
        (("l", "1", Some(7)), 0),
        (("k", "1", Some(7)), 2),
        (("k", "2", Some(7)), 1),
        (("k", "1", Some(8)), 0),
        (("k", "1", Some(8)), 1),
        (("k", "1", Some(9)), 0),
        (("k", "1", None), 0),
        (("k", "1", None), 0),
    ];
    let mut page: Vec<_> = changes.iter().map(|(given, _)| change(*given)).collect();
    number_repeated(&mut page);
    for (change, (given, nth)) in page.iter().zip(changes) {
        assert_eq!(change.origin.nth, nth, "{given:?}");
    }
}

/// The codec depends on a layout that the SDK does not promise; this is what notices a change.
#[tokio::test]
async fn a_token_built_here_is_the_token_of_the_sdk() {
    let lines: Vec<_> = (0..20).map(|n| format!("{{\"id\":\"{n}\",\"k\":{n}}}\n")).collect();
    let lines = lines.concat();
    let local = local(&lines).await;
    for (mode, start) in
        [(Mode::LatestVersion, Start::Beginning), (Mode::AllVersionsAndDeletes, Start::Now)]
    {
        let feeds = local.feeds(mode, 1);
        for range in feeds.ranges().await.unwrap() {
            let begin = Position::of(range, None);
            let ContainerFeeds { container, name, page_size, .. } = &feeds;
            let opened =
                Pages::open(container, name, mode, &begin, &start, (*page_size, Asked::AReplica))
                    .await;
            let mut pages = opened.unwrap();
            let theirs = pages.reader.next().await.unwrap().unwrap().token;
            let positions = position::decode(&theirs).unwrap();
            assert_eq!(positions.len(), 1);
            assert_eq!(positions[0].range, begin.range);
            let ours = position::encode(&feeds.container.rid, mode, &positions).unwrap();
            let (ours, mut theirs) = (json(&ours), json(&theirs));
            // The only intended difference: ours always resumes from the beginning.
            theirs["root"]["start_from"] = serde_json::json!({"kind": "beginning"});
            assert_eq!(ours, theirs);
        }
    }
}

#[tokio::test]
async fn a_document_that_no_parser_accepts_is_read_with_the_others() {
    let deep = format!(",\"deep\":{}{}", "[".repeat(127), "]".repeat(127));
    let texts = [
        deep.as_str(),
        r#","half":"smile \ud83d""#,
        r#","half":"smile \ud83dx""#,
        r#","half":"smile \ud83d\n""#,
        r#","second half":"\ude00""#,
        r#","large":1e400"#,
        r#","large":[{"n":-1e999}]"#,
    ];
    for text in texts {
        one_is_as_given(text).await;
    }
}

/// Of nine documents, the fifth is as given.
async fn one_is_as_given(fifth: &str) {
    let lines: String = (0..9).map(|n| line(n, if n == 4 { fifth } else { "" })).collect();
    let local = local(&lines).await;
    let feeds = local.feeds(Mode::LatestVersion, 3);
    let mut changes = Vec::new();
    for range in feeds.ranges().await.unwrap() {
        let mut feed = feeds.feed(Position::of(range, None), Start::Beginning);
        loop {
            let page = feed.next_page(feeds.page_size).await.unwrap();
            assert!(page.unreadable.is_empty(), "{:?}", page.unreadable);
            changes.extend(page.changes);
            if page.caught_up {
                break;
            }
        }
    }
    let ids: Vec<_> = changes.iter().map(|change| change.origin.id.as_str()).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8"], "{fifth}");
    let SourceChange { origin, event } = &changes[4];
    let key = PartitionKey(vec![KeyValue::String("same".to_owned())]);
    assert_eq!(origin.partition_key, key);
    assert!(origin.lsn.is_some() && origin.committed_at.is_some(), "{origin:?}");
    let Event::Upsert { current, .. } = event else { panic!("{event:?}") };
    // Each field of a document that is too deep as a whole may be parsed.
    let document = String::from_utf8(current.text()).unwrap();
    assert!(document.contains(fifth), "{document}");
    drop(local.accounts);
}

/// A replica that lags answers that nothing is newer. A quorum knows better.
#[tokio::test]
async fn the_end_is_proven_by_a_quorum_and_not_by_a_replica_that_lags() {
    let (local, _, mut feed) = one_range(&line(0, "")).await;
    let one = NonZeroU32::MIN;
    assert_eq!(feed.next_page(one).await.unwrap().changes.len(), 1);
    assert!(feed.next_page(one).await.unwrap().caught_up);
    assert!(feed.prove_end().await.unwrap().is_end);
    local.accounts.fault(FaultRule {
        operation: Some("feed".to_owned()),
        then: Effect { stale: true, ..Effect::default() },
        ..FaultRule::default()
    });
    local.accounts.seed("source", "shop", "orders", &line(1, "")).unwrap();
    let page = feed.next_page(one).await.unwrap();
    assert!(page.caught_up && page.changes.is_empty());
    assert!(!feed.prove_end().await.unwrap().is_end);
    local.accounts.clear_faults();
    assert_eq!(feed.next_page(one).await.unwrap().changes.len(), 1);
    assert!(feed.prove_end().await.unwrap().is_end);
}

/// What a quorum has cannot be parsed; that is an answer, and no replica is asked instead.
#[tokio::test]
async fn a_document_that_cannot_be_parsed_proves_that_the_end_is_not_reached() {
    let (local, _, mut feed) = one_range(&line(0, r#","large":1e400"#)).await;
    let before = local.requests("feed");
    let Proof { is_end, charge } = feed.prove_end().await.unwrap();
    assert!(!is_end && charge > 0.0, "{charge}");
    assert_eq!(local.requests("feed") - before, 1);
    assert_eq!(feed.next_page(NonZeroU32::MIN).await.unwrap().changes.len(), 1);
    assert!(feed.prove_end().await.unwrap().is_end);
}

/// The token of the SDK may lack parts of a divided range that were not read yet.
#[tokio::test]
async fn the_parts_that_an_answer_does_not_tell_of_go_on_where_the_range_was() {
    let (_local, _, mut feed) = one_range(&line(0, "")).await;
    let range = |min: &str, max: &str| FeedRange { min: min.to_owned(), max: max.to_owned() };
    feed.position = Position::of(range("20", "60"), Some("\"7\"".to_owned()));
    let told = Position::of(range("30", "40"), Some("\"9\"".to_owned()));
    let (parts, positions) = (PageParts::default(), vec![told]);
    let (page, _) = feed.page(FeedAnswer { parts, positions, head_lsn: None, status: 200 });
    let shown = page.positions.iter().map(|p| format!("{} {}", p.range, p.lsn().unwrap()));
    assert_eq!(shown.collect::<Vec<_>>(), ["[20,30) 7", "[30,40) 9", "[40,60) 7"]);
    assert!(!page.caught_up);
}

/// Documents of one key, so that one feed range holds them all, and a feed of that range.
async fn one_range(lines: &str) -> (Local, ContainerFeeds, Feed) {
    let local = local(lines).await;
    let feeds = local.feeds(Mode::LatestVersion, 1);
    let key = PartitionKey(vec![KeyValue::String("same".to_owned())]);
    let here = Target::new(local.container.clone()).partition(&key).await;
    let mut ranges = feeds.ranges().await.unwrap();
    ranges.retain(|range| local.container.partition(range) == here);
    assert_eq!(ranges.len(), 1);
    let begin = Position::of(ranges.remove(0), None);
    let feed = Feed::new(feeds.clone(), begin, Start::Beginning);
    (local, feeds, feed)
}

#[tokio::test]
async fn pages_have_the_requested_size_and_only_another_size_opens_a_new_iterator() {
    let lines: String = (0..20).map(|n| line(n, "")).collect();
    let (local, _, mut feed) = one_range(&lines).await;
    let mut read = 0;
    let mut metadata = local.requests("metadata");
    for (size, opened) in [(3, true), (3, false), (5, true), (5, false), (1, true), (3, true)] {
        let page = feed.next_page(NonZeroU32::new(size).unwrap()).await.unwrap();
        let ids: Vec<_> = page.changes.iter().map(|change| change.origin.id.clone()).collect();
        let wanted: Vec<_> = (read..read + size).map(|n| n.to_string()).collect();
        assert_eq!(ids, wanted);
        read += size;
        let before = std::mem::replace(&mut metadata, local.requests("metadata"));
        assert_eq!(metadata > before, opened, "{before} and {metadata}, page of {size}");
    }
}

/// A copy lives as long as its document.
#[tokio::test]
async fn a_document_expires_after_the_default_of_its_container() {
    for (default_ttl, expected) in
        [(None, None), (Some(-1), Some(None)), (Some(5000), Some(Some(5000)))]
    {
        let settings = ContainerSettings { default_ttl, ..ContainerSettings::new(&["/k"], 1) };
        let local = Local::start(&settings).await;
        local.accounts.seed("source", "shop", "orders", &line(1, "")).unwrap();
        let feeds = local.feeds(Mode::LatestVersion, 1);
        let range = feeds.ranges().await.unwrap().remove(0);
        let begin = Position::of(range, None);
        let mut feed = Feed::new(feeds, begin, Start::Beginning);
        let page = feed.next_page(NonZeroU32::MIN).await.unwrap();
        let origin = &page.changes[0].origin;
        let written = origin.committed_at.unwrap();
        let lifetime = origin.expiry.map(|expiry| expiry.at.map(|at| at - written));
        assert_eq!(lifetime, expected, "{default_ttl:?}");
        assert_eq!(Target::new(local.container.clone()).default_ttl(), default_ttl.map(i64::from));
    }
}

#[tokio::test]
async fn a_page_costs_what_all_its_attempts_cost() {
    let lines: String = (0..9).map(|n| line(n, "")).collect();
    let (local, _, mut feed) = one_range(&lines).await;
    let size = NonZeroU32::new(3).unwrap();
    let plain = feed.next_page(size).await.unwrap();
    for (status, substatus, cost) in CHARGED {
        local.accounts.fault(FaultRule {
            operation: Some("feed".to_owned()),
            times: Some(1),
            then: Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() },
            ..FaultRule::default()
        });
        let page = feed.next_page(size).await.unwrap();
        assert_eq!(page.changes.len(), 3);
        let more = page.charge - plain.charge;
        assert!((more - cost).abs() < 0.005, "{status}/{substatus}: {more} more");
    }
}

#[tokio::test]
async fn a_feed_that_cannot_be_opened_costs_what_all_its_attempts_cost() {
    let (local, _, mut feed) = one_range(&line(0, "")).await;
    let [(status, substatus, cost), _] = CHARGED;
    local.accounts.fault(FaultRule {
        operation: Some("metadata".to_owned()),
        then: Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() },
        ..FaultRule::default()
    });
    let before = local.requests("metadata");
    let error = feed.next_page(NonZeroU32::MIN).await.unwrap_err();
    let attempts = local.requests("metadata") - before;
    assert!(attempts > 1, "{attempts} attempts");
    assert_eq!(error.answer.status, status);
    let charge = cost * f64::from(attempts);
    assert!((error.answer.charge - charge).abs() < 0.005, "{} RU", error.answer.charge);
}

#[tokio::test]
async fn the_charge_of_a_page_that_cannot_be_read_counts() {
    let deep = format!(",\"deep\":{}{}", "[".repeat(127), "]".repeat(127));
    let lines: String = (0..3).map(|n| line(n, if n == 1 { deep.as_str() } else { "" })).collect();
    let (local, _, mut feed) = one_range(&lines).await;
    let before = local.units("feed");
    let mut charge = 0.0;
    for _ in 0..3 {
        charge += feed.next_page(NonZeroU32::new(3).unwrap()).await.unwrap().charge;
    }
    let paid = local.units("feed") - before;
    assert!((charge - paid).abs() < 0.05, "{charge} reported, {paid} charged");
}
