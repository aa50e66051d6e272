//! A copy expires when its source document does.

use std::collections::BTreeMap;

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::history::remembering;
use crate::support::{Bridge, Pair};

/// How long ago the documents were written, in seconds.
const AGE: u64 = 400;

/// The documents with the time to live that each has in the source.
const DOCUMENTS: [(&str, Option<i64>); 5] = [
    ("none", None),
    ("long", Some(1000)),
    ("short", Some(300)),
    ("never", Some(-1)),
    ("odd", Some(7)),
];

/// Copies old documents; returns the time to live of each copy.
async fn copied(
    source_ttl: Option<i32>,
    target_ttl: Option<i32>,
    sink: &str,
    route: &str,
) -> BTreeMap<String, Option<i64>> {
    let source = ContainerSettings { default_ttl: source_ttl, ..remembering(&["/region"], 1) };
    let target =
        ContainerSettings { default_ttl: target_ttl, ..ContainerSettings::new(&["/region"], 1) };
    let pair = Pair::start(&source, &target).await;
    pair.accounts.world.clock.set_back(AGE);
    for (id, ttl) in DOCUMENTS {
        let ttl = ttl.map_or(String::new(), |ttl| format!(",\"ttl\":{ttl}"));
        pair.seed(&format!("{{\"id\":\"{id}\",\"region\":\"r\"{ttl}}}\n"));
    }
    let config = pair.configure(sink, "", "", route);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.letters(), []);
    let ttl = |copy: serde_json::Value| {
        (
            copy["id"].as_str().unwrap().to_owned(),
            copy.get("ttl").and_then(serde_json::Value::as_i64),
        )
    };
    pair.copies().into_iter().map(ttl).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_an_old_document_has_the_rest_of_its_lifetime() {
    // `odd` and `short` have expired.
    let rest = |seconds: i64| Some(seconds - 400);
    for (source_ttl, target_ttl, sink, route, expected) in [
        (Some(-1), Some(-1), "", "", [("long", rest(1000)), ("never", Some(-1)), ("none", None)]),
        // The default of the source counts, and that of the target does not.
        (
            Some(2000),
            Some(50),
            "",
            "",
            [("long", rest(1000)), ("never", Some(-1)), ("none", rest(2000))],
        ),
        (
            Some(-1),
            Some(50),
            "batch_changes = 1",
            "",
            [("long", rest(1000)), ("never", Some(-1)), ("none", Some(-1))],
        ),
    ] {
        let copied = copied(source_ttl, target_ttl, sink, route).await;
        let ids: Vec<_> = copied.keys().map(String::as_str).collect();
        assert_eq!(ids, expected.map(|(id, _)| id));
        for (id, expected) in expected {
            let ttl = copied[id];
            let is_close = ttl.zip(expected).map_or(ttl == expected, |(ttl, expected)| {
                if expected < 0 {
                    ttl == expected
                } else {
                    (expected - 5..=expected).contains(&ttl)
                }
            });
            assert!(is_close, "{id}: {ttl:?} instead of {expected:?}");
        }
    }
}

/// No container expires documents; the user wants it so; the route says what the `ttl` is.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_that_is_not_to_be_kept_is_copied_as_it_is() {
    let all: BTreeMap<_, _> = DOCUMENTS.map(|(id, ttl)| (id.to_owned(), ttl)).into();
    assert_eq!(copied(None, Some(-1), "", "").await, all);
    assert_eq!(copied(Some(-1), None, "", "").await, all);
    assert_eq!(copied(Some(-1), Some(-1), "ttl = \"as-is\"", "").await, all);
    let set = copied(Some(-1), Some(-1), "", "set = { \"/ttl\" = 77 }").await;
    let seven = all.keys().map(|id| (id.clone(), Some(77))).collect();
    assert_eq!(set, seven);
}
