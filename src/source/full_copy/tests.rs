use std::sync::Arc;

use cosmos_bridge_sink::{ContainerName, Document, Origin, PartitionKey};

use super::page_of_existing;
use crate::cosmos::{Page, Unreadable};
use crate::model::{Event, FeedRange, Position, SourceChange};

fn origin(lsn: i64) -> Origin {
    let name = ContainerName {
        account: "a".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        rid: "rid".to_owned(),
    };
    Origin {
        container: Arc::new(name),
        id: lsn.to_string(),
        partition_key: PartitionKey::default(),
        lsn: (lsn > 0).then_some(lsn),
        nth: 0,
        committed_at: None,
        expiry: None,
        is_snapshot: false,
        trace: None,
    }
}

/// A page of documents with these log sequence numbers, up to `to`.
fn page(lsns: &[i64], to: &[(&str, i64)], head: Option<i64>) -> Page {
    let current = Document::parse(b"{}").unwrap();
    let event = Event::Upsert { current, previous: None, is_new: false };
    let change = |lsn: &i64| SourceChange { origin: Arc::new(origin(*lsn)), event: event.clone() };
    let unreadable = |lsn: &i64| Unreadable {
        cause: String::new(),
        origin: origin(*lsn),
        operation: "upsert",
        document: Vec::new(),
    };
    let position = |(min, lsn): &(&str, i64)| {
        let range = FeedRange { min: (*min).to_owned(), max: "FF".to_owned() };
        Position::of(range, Some(format!("\"{lsn}\"")))
    };
    Page {
        changes: lsns.iter().map(change).collect(),
        unreadable: lsns.iter().map(unreadable).collect(),
        positions: to.iter().map(position).collect(),
        head_lsn: head,
        charge: 2.0,
        caught_up: lsns.is_empty(),
        bytes: 1,
        items: 2 * lsns.len(),
        left_out: 0,
    }
}

fn shown(position: &Position) -> String {
    let etag = position.etag.as_deref().unwrap_or("-").trim_matches('"');
    let from = position.stream_from.as_deref().map(|from| format!(" from {from}"));
    format!("{etag}{}", from.unwrap_or_default())
}

#[test]
fn what_existed_is_read_up_to_the_moment_and_from_replicas_that_have_it() {
    type Case<'a> = (&'a str, Page, &'a [i64], &'a [&'a str]);
    let cases: [Case<'_>; 12] = [
        ("before it", page(&[3, 7], &[("", 7)], Some(100)), &[3, 7], &["7 from 90"]),
        ("at it", page(&[7, 90], &[("", 90)], Some(100)), &[7, 90], &["90"]),
        ("across it", page(&[7, 91, 95], &[("", 95)], Some(100)), &[7], &["90"]),
        ("behind it", page(&[91], &[("", 91)], Some(100)), &[], &["90"]),
        ("nothing more", page(&[], &[("", 90)], Some(90)), &[], &["90"]),
        ("nothing more, where it was asked", page(&[], &[("", 50)], Some(90)), &[], &["90"]),
        ("nothing more, and far", page(&[], &[("", 120)], Some(120)), &[], &["90"]),
        ("a replica that lags", page(&[3, 7], &[("", 7)], Some(89)), &[], &["2 from 90"]),
        ("one that lags and has no more", page(&[], &[("", 50)], Some(50)), &[], &["2 from 90"]),
        ("no number of the replica", page(&[3], &[("", 3)], None), &[3], &["3 from 90"]),
        ("no number of a document", page(&[0], &[("", 9)], Some(90)), &[0], &["9 from 90"]),
        ("a split", page(&[3], &[("", 95), ("7F", 3)], Some(95)), &[3], &["90", "3 from 90"]),
    ];
    let at = Position {
        stream_from: Some("90".to_owned()),
        ..Position::of(FeedRange::whole(), Some("\"2\"".to_owned()))
    };
    for (what, page, changes, positions) in cases {
        let found = page_of_existing(page, &at);
        let lsns: Vec<_> = found.changes.iter().map(|c| c.origin.lsn.unwrap_or(0)).collect();
        assert_eq!(lsns, changes, "{what}");
        let unreadable: Vec<_> =
            found.unreadable.iter().map(|one| one.origin.lsn.unwrap_or(0)).collect();
        assert_eq!(unreadable, changes, "{what}");
        assert!(found.changes.iter().all(|change| change.origin.is_snapshot), "{what}");
        assert_eq!(found.positions.iter().map(shown).collect::<Vec<_>>(), positions, "{what}");
        assert!(!found.caught_up && found.charge > 1.9, "{what}");
    }
}

/// No service is known to have such places; without the rule, what exists would be left out.
#[test]
fn a_moment_without_a_number_leaves_nothing_out() {
    let at = Position {
        stream_from: Some("abc".to_owned()),
        ..Position::of(FeedRange::whole(), Some("\"2\"".to_owned()))
    };
    let found = page_of_existing(page(&[3, 7], &[("", 7)], Some(7)), &at);
    assert_eq!((found.changes.len(), shown(&found.positions[0])), (2, "7 from abc".to_owned()));
    let found = page_of_existing(page(&[], &[("", 7)], Some(7)), &at);
    assert_eq!(shown(&found.positions[0]), "abc");
}
