use cosmos_bridge_sink::{ContainerName, Document, KeyValue, PartitionKey};
use serde_json::json;

use super::*;
use crate::config::parse_filter;

const UNTIL: i64 = 200;

fn origin(id: &str, committed_at: Option<i64>) -> Origin {
    let text = |text: &str| text.to_owned();
    let container = ContainerName {
        account: text("a"),
        database: text("d"),
        container: text("c"),
        rid: text("rid"),
    };
    Origin {
        container: Arc::new(container),
        id: text(id),
        partition_key: PartitionKey(vec![KeyValue::String(text(id))]),
        lsn: Some(1),
        nth: 0,
        committed_at,
        expiry: None,
        is_snapshot: false,
        trace: None,
    }
}

fn upsert(id: &str, committed_at: i64) -> SourceChange {
    let document = json!({ "id": id, "region": id.split('-').next(), "_ts": committed_at });
    let current = Document::parse(document.to_string().as_bytes()).unwrap();
    let event = Event::Upsert { current, previous: None, is_new: false };
    SourceChange { origin: Arc::new(origin(id, Some(committed_at))), event }
}

fn delete(id: &str, committed_at: i64) -> SourceChange {
    let event = Event::Delete { previous: None, expired: false };
    SourceChange { origin: Arc::new(origin(id, Some(committed_at))), event }
}

fn broken(id: &str, committed_at: Option<i64>) -> Unreadable {
    let (cause, document) = ("no JSON".to_owned(), b"{".to_vec());
    Unreadable { cause, origin: origin(id, committed_at), operation: "upsert", document }
}

fn interval(from: Option<i64>, condition: Option<&str>) -> Wanted {
    let condition = condition.map(|text| {
        let filter = parse_filter("--where", text).unwrap();
        Condition::compile(&filter).unwrap()
    });
    Wanted::Interval { from, condition }
}

/// The ids of what is left of a page, with a mark for what cannot be decided.
fn left(selection: &Selection, changes: Vec<SourceChange>, unreadable: Vec<Unreadable>) -> String {
    let mut page = Page { changes, unreadable, ..Page::default() };
    let read = page.changes.len() + page.unreadable.len();
    selection.apply(&mut page);
    assert_eq!(page.changes.len() + page.unreadable.len() + page.left_out, read);
    let changes = page.changes.iter().map(|change| change.origin.id.clone());
    let unreadable = page.unreadable.iter().map(|one| format!("!{}", one.origin.id));
    changes.chain(unreadable).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_committed_in_the_interval_and_fulfils_the_condition_is_selected() {
    let region = r#"{ path = "/region", equals = "a" }"#;
    let fails = r#"{ jq = ".id | tonumber" }"#;
    let table = [
        (None, None, "a-99 b-100 a-150 a-199 b-200"),
        (Some(100), None, "b-100 a-150 a-199 b-200"),
        // The reader cuts off what is too late, also what no condition selects.
        (Some(150), Some(region), "a-150 a-199 b-200"),
        (None, Some(region), "a-99 a-150 a-199 b-200"),
        (Some(199), Some(fails), "b-200 !a-199"),
    ];
    for (from, condition, expected) in table {
        let wanted = interval(from, condition);
        let selection = Selection::new(wanted, UNTIL, None);
        let changes = ["a-99", "b-100", "a-150", "a-199", "b-200"]
            .map(|id| upsert(id, id.split('-').next_back().unwrap().parse().unwrap()));
        assert_eq!(
            left(&selection, changes.into(), Vec::new()),
            expected,
            "{from:?} {condition:?}"
        );
        let selected = expected.split(' ').filter(|id| *id != "b-200").count() as u64;
        assert_eq!(selection.selected.load(Relaxed), selected);
    }
}

#[test]
fn what_cannot_be_parsed_is_told_unless_it_is_known_to_be_out_of_the_interval() {
    for condition in [None, Some(r#"{ path = "/region", equals = "a" }"#)] {
        let selection = Selection::new(interval(Some(100), condition), UNTIL, None);
        let unreadable = vec![broken("1", Some(99)), broken("2", Some(100)), broken("3", None)];
        assert_eq!(left(&selection, Vec::new(), unreadable), "!2 !3");
    }
}

#[test]
fn what_is_selected_is_a_snapshot_and_is_noted() {
    let sent = Arc::new(SentDocuments::default());
    let selection = Selection::new(interval(Some(100), None), UNTIL, Some(Arc::clone(&sent)));
    let changes = vec![upsert("early", 99), upsert("sent", 100), upsert("late", 200)];
    let mut page = Page { changes, ..Page::default() };
    selection.apply(&mut page);
    assert!(page.changes[0].origin.is_snapshot);
    let noted = |id: &str| sent.may_hold(&origin(id, None));
    assert_eq!(["early", "sent", "late"].map(noted), [false, true, false]);

    // What follows are changes of these documents alone, whenever they were made, and deletes too.
    let again = Selection::new(Wanted::Sent(sent), 400, None);
    let changes = vec![upsert("sent", 300), delete("sent", 301), upsert("other", 50)];
    let mut page = Page { changes, ..Page::default() };
    again.apply(&mut page);
    assert_eq!(page.changes.len(), 2);
    assert!(page.changes.iter().all(|change| !change.origin.is_snapshot));
    assert_eq!(page.left_out, 1);
}
