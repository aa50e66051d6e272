//! The calls that changes become, without a server.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_event::{Data, Encoder, Format, Oversize};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{ContainerName, KeyValue, Origin, PartitionKey};
use serde_json::json;

use super::*;
use crate::RedisOptions;

fn expiry() -> Expiry {
    Expiry { ttl: Ttl::Document, default_ttl: None, tombstone_ttl: Duration::from_mins(1) }
}

fn settings(key: &str, mode: Mode, cluster: bool) -> Settings {
    let text = format!("mode = \"set\"\nservers = [\"a:1\"]\ncluster = {cluster}\nkey = {key:?}");
    let options: RedisOptions = from_toml(&text).unwrap();
    Settings { mode, ..options.settings("") }
}

fn upsert(id: &str, lsn: i64, document: Value) -> Change {
    let Value::Object(document) = document else { panic!("an object") };
    let container = ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "orders".to_owned(),
        rid: "rid".to_owned(),
    };
    let key = PartitionKey(vec![KeyValue::String("north".to_owned())]);
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document.into()) },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_owned(),
            partition_key: key,
            lsn: Some(lsn),
            committed_at: Some(1000),
            nth: 2,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

fn delete(id: &str, lsn: i64) -> Change {
    Change { operation: Operation::Delete { expired: false }, ..upsert(id, lsn, json!({})) }
}

fn calls(settings: &Settings, changes: &[Change]) -> Vec<Call> {
    Plan::calls(settings, "w", changes, &mut Answers::new(changes))
}

/// Every text of a command.
fn texts(command: &Cmd) -> Vec<String> {
    let texts = command.args_iter().map(|argument| match argument {
        redis::Arg::Simple(text) => String::from_utf8_lossy(text).into_owned(),
        _ => panic!("a cursor"),
    });
    texts.collect()
}

#[test]
fn a_call_writes_a_document_and_its_version() {
    let table = [
        (Mode::Set(expiry()), vec!["set", "1060", "1120", "1", r#"{"id":"a","n":1,"ttl":60}"#]),
        (Mode::Json(expiry()), vec!["json", "1060", "1120", "1", r#"{"id":"a","n":1,"ttl":60}"#]),
        (Mode::Hash(expiry()), vec!["hash", "1060", "1120", "6", "id", "a", "n", "1", "ttl", "60"]),
    ];
    let changes = [upsert("a", 5, json!({"id": "a", "n": 1, "ttl": 60})), delete("a", 6)];
    for (mode, expected) in table {
        let settings = settings("{database}:{id}", mode, false);
        let calls = calls(&settings, &changes);
        assert_eq!((calls.len(), &calls[0].changes), (1, &vec![0, 1]));
        let keys: usize = calls[0].keys.iter().map(String::len).sum();
        let arguments: usize = calls[0].arguments.iter().map(Vec::len).sum();
        assert_eq!(calls[0].bytes, keys + arguments);
        let command = texts(&calls[0].with_code(&DOCUMENTS, 9));
        let version_key = "cosmos-bridge:version:{shop:a}";
        assert_eq!(command[0], "EVAL");
        assert_eq!(command[2..7], ["4", "shop:a", version_key, "shop:a", version_key]);
        let version = |lsn: &str| format!(" {lsn} 2 1000");
        assert_eq!(command[7], expected[0]);
        assert!(command[8].ends_with(&version("5")) && command[8].len() == 16 + 9);
        assert_eq!(command[9..9 + expected.len() - 1], expected[1..]);
        let of_delete = &command[9 + expected.len() - 1..];
        assert_eq!(of_delete[0], "delete");
        assert!(of_delete[1].ends_with(&version("6")));
        assert_eq!(of_delete[2..], ["", "60", "0"]);
        let by_hash = texts(&calls[0].by_hash(&DOCUMENTS, 9));
        assert_eq!((by_hash[0].as_str(), by_hash[1].len()), ("EVALSHA", 40));
        assert_eq!(by_hash[2..], command[2..]);
    }
}

#[test]
fn a_key_expires_as_the_document_or_the_sink_says() {
    let day = Some(86_400);
    // What the sink does with `ttl`, its default, the document, and when it expires: it was committed at 1000.
    for (ttl, default_ttl, document, expected) in [
        (Ttl::Document, None, json!({}), None),
        (Ttl::Document, None, json!({"ttl": 60}), Some(1060)),
        (Ttl::Document, None, json!({"ttl": 1}), Some(1001)),
        (Ttl::Document, None, json!({"ttl": 0x7fff_ffff}), Some(1000 + 0x7fff_ffff)),
        (Ttl::Document, day, json!({}), Some(87_400)),
        (Ttl::Document, day, json!({"ttl": 60}), Some(1060)),
        (Ttl::Document, day, json!({"ttl": -1}), None),
        (Ttl::Document, day, json!({"ttl": 0}), Some(87_400)),
        (Ttl::Document, day, json!({"ttl": "60"}), Some(87_400)),
        (Ttl::Document, day, json!({"ttl": 0x8000_0000_u32}), Some(87_400)),
        (Ttl::Ignore, None, json!({"ttl": 60}), None),
        (Ttl::Ignore, day, json!({"ttl": -1}), Some(87_400)),
    ] {
        let default_ttl = default_ttl.map(Duration::from_secs);
        let expiry = Expiry { ttl, default_ttl, ..expiry() };
        let change = upsert("a", 5, document);
        let Operation::Upsert { document } = &change.operation else { panic!("an upsert") };
        let found = expires(expiry, &change, document);
        assert_eq!(found, expected, "{ttl:?} {default_ttl:?} {document:?}");
    }
}

/// Versions are compared with those that earlier releases wrote: this test fails if they change.
#[test]
fn a_version_is_stable_and_names_its_source() {
    let change = upsert("a", 5, json!({"id": "a"}));
    assert_eq!(version(&change), "bf994cc1ecce6bc3 5 2 1000");
    let mut other = change.clone();
    other.id = "b".to_owned();
    assert_eq!(version(&other), version(&change), "the source is where the change was read");
    let mut all: Vec<String> = Vec::new();
    let edits: [fn(&mut Origin); 4] = [
        |origin| origin.id = "b".to_owned(),
        |origin| origin.partition_key = PartitionKey(vec![KeyValue::Number(1.0)]),
        |origin| origin.lsn = None,
        |origin| origin.nth = 3,
    ];
    for edit in edits {
        let mut origin = Origin::clone(&change.origin);
        edit(&mut origin);
        all.push(version(&Change { origin: Arc::new(origin), ..change.clone() }));
    }
    assert!(all[2].ends_with(" 1000 2 1000"));
    all.push(version(&change));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
}

#[test]
fn changes_of_a_key_are_in_one_call_and_calls_are_limited() {
    let documents: Vec<Change> =
        (0..200).map(|number| upsert(&format!("{}", number % 150), number, json!({}))).collect();
    let one = calls(&settings("{id}", Mode::Set(expiry()), false), &documents);
    let sizes: Vec<usize> = one.iter().map(|call| call.changes.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 200);
    assert!(sizes.len() <= 4, "{sizes:?}");
    for calls in [one, calls(&settings("{id}", Mode::Set(expiry()), true), &documents)] {
        let mut of_key = HashMap::new();
        for (at, call) in calls.iter().enumerate() {
            assert!(call.changes.is_sorted());
            for index in &call.changes {
                assert_eq!(*of_key.entry(&documents[*index].id).or_insert(at), at);
            }
        }
        assert_eq!(of_key.len(), 150);
    }
    // In a cluster the keys of a call are in one slot.
    let settings = settings("{id}", Mode::Set(expiry()), true);
    for call in calls(&settings, &documents) {
        assert!(call.keys.iter().all(|key| slot(key) == slot(&call.keys[0])));
    }
    // Large documents are few in a call.
    let note = "n".repeat(600_000);
    let large: Vec<Change> =
        (0..6).map(|number| upsert(&number.to_string(), 1, json!({"note": note}))).collect();
    let sizes: Vec<usize> = calls(&self::settings("{id}", Mode::Set(expiry()), false), &large)
        .iter()
        .map(|call| call.changes.len())
        .collect();
    assert_eq!(sizes, [2, 2, 2]);
}

#[test]
fn events_of_a_stream_are_in_one_call_that_names_its_connection() {
    let format = Format { data: Data::Document, cloud_events: None };
    let encoder = Encoder::new(format, Oversize::DeadLetter);
    let stream = Stream { encoder, max_message: 300, max_length: Some(7) };
    let settings = settings("{/to}", Mode::Stream(stream), false);
    let to = |id: &str, to: &str| upsert(id, 1, json!({"id": id, "to": to}));
    let changes = [
        to("a", "x"),
        to("b", "y"),
        upsert("c", 1, json!({"to": "x", "note": "n".repeat(300)})),
        delete("d", 1),
        to("e", "x"),
    ];
    let mut answers = Answers::new(&changes);
    let calls = Plan::calls(&settings, "w", &changes, &mut answers);
    let of_calls: Vec<&[usize]> = calls.iter().map(|call| call.changes.as_slice()).collect();
    assert_eq!(of_calls, [[0, 4].as_slice(), &[1]]);
    assert!(!answers.is_open(2) && !answers.is_open(3) && answers.is_open(4));
    let command = texts(&calls[0].with_code(&EVENTS, 9));
    assert_eq!(command[2..8], ["2", "x", "cosmos-bridge:writer:w:{x}", "9", "7", "10"]);
    assert_eq!(command[8], "event-id");
    assert_eq!(command[10..12], ["operation", "upsert"]);
    assert_eq!(
        command[14..18],
        ["content-type", "application/json", "data", r#"{"id":"a","to":"x"}"#]
    );
    assert_eq!(command[18], "10");
}
