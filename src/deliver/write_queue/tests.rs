use std::collections::HashMap;
use std::sync::Arc;

use cosmos_bridge_sink::{
    Change, ContainerName, Grouping, KeyValue, Limits, Operation, Origin, PartitionKey,
};
use proptest::prelude::*;

use super::{AddressedChange, WriteBatch, WriteQueue};
use crate::model::PartitionId;

const LIMITS: Limits =
    Limits { grouping: Grouping::Key, changes: 3, bytes: 10_000, concurrency: 8 };

fn change(key: &str, id: &str) -> Change {
    let key = PartitionKey(vec![KeyValue::String(key.to_owned())]);
    let container = ContainerName {
        account: "a".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        rid: "rid".to_owned(),
    };
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation: Operation::Delete { expired: false },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_owned(),
            partition_key: key,
            lsn: None,
            committed_at: None,
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

fn addressed(key: &str, id: &str) -> AddressedChange {
    AddressedChange { partition: PartitionId::UNKNOWN, bytes: id.len(), change: change(key, id) }
}

fn ids(batch: &WriteBatch) -> Vec<&str> {
    batch.changes.iter().map(|change| change.id.as_str()).collect()
}

#[test]
fn changes_of_one_key_go_together_up_to_the_limit() {
    let mut queue = WriteQueue::new(Grouping::Key);
    for id in ["1", "2", "3", "4"] {
        queue.push(0, addressed("x", id));
    }
    queue.push(0, addressed("y", "1"));
    let batches: Vec<_> = std::iter::from_fn(|| queue.next_batch(LIMITS)).collect();
    let taken: Vec<_> = batches.iter().map(ids).collect();
    assert_eq!(taken, [vec!["1", "2", "3"], vec!["1"], vec!["4"]]);
}

/// One document may have as many changes as the window holds, and a batch takes few of them.
#[test]
fn thousands_of_changes_of_one_document_keep_their_order() {
    for together in [1, 3, 250] {
        let limits = Limits { grouping: Grouping::Any, changes: together, ..LIMITS };
        let mut queue = WriteQueue::new(Grouping::Any);
        for page in 0..1000 {
            queue.push(page, addressed("x", "counter"));
            if page % 10 == 0 {
                queue.push(page, addressed("x", &page.to_string()));
            }
        }
        let (mut pages, mut others) = (Vec::new(), 0);
        while let Some(batch) = queue.next_batch(limits) {
            for (change, page) in batch.changes.iter().zip(&batch.pages) {
                if change.id == "counter" { pages.push(*page) } else { others += 1 }
            }
            queue.finish(&batch);
        }
        assert_eq!((pages, others), ((0..1000).collect(), 100), "{together} together");
    }
}

/// A route may take an event's key and id from a field that changes, or give many documents one.
#[test]
fn events_of_one_document_follow_each_other_whether_of_the_source_or_of_the_target() {
    // Documents of source and target of two changes.
    let cases = [
        (Grouping::Any, [("a", "a"), ("a", "a")], "together"),
        (Grouping::Any, [("a", "open"), ("a", "closed")], "one after the other"),
        (Grouping::Any, [("a", "all"), ("b", "all")], "one after the other"),
        (Grouping::Any, [("a", "a"), ("b", "b")], "together"),
        (Grouping::Key, [("a", "open"), ("a", "closed")], "one after the other"),
        (Grouping::Key, [("a", "open"), ("b", "closed")], "side by side"),
        (Grouping::Key, [("a", "all"), ("b", "all")], "one after the other"),
    ];
    for (grouping, documents, expected) in cases {
        let limits = Limits { grouping, ..LIMITS };
        let mut queue = WriteQueue::new(grouping);
        for (source, target) in documents {
            let mut addressed = addressed(source, source);
            addressed.change.partition_key =
                PartitionKey(vec![KeyValue::String(target.to_owned())]);
            addressed.change.id = target.to_owned();
            queue.push(0, addressed);
        }
        let first = queue.next_batch(limits).unwrap();
        let second = queue.next_batch(limits);
        let found = match (first.changes.len(), &second) {
            (2, _) => "together",
            (_, Some(_)) => "side by side",
            (_, None) => "one after the other",
        };
        assert_eq!(found, expected, "{grouping:?} {documents:?}");
        queue.finish(&first);
        second.inspect(|batch| queue.finish(batch));
        let rest = queue.next_batch(limits);
        assert_eq!(rest.is_some(), expected == "one after the other", "{grouping:?} {documents:?}");
        rest.inspect(|batch| queue.finish(batch));
        assert!(queue.is_idle());
    }
}

#[test]
fn any_changes_go_together_where_the_sink_does_not_care_but_no_document_twice_at_once() {
    let limits = Limits { grouping: Grouping::Any, ..LIMITS };
    let mut queue = WriteQueue::new(Grouping::Any);
    for (key, id) in [("x", "1"), ("y", "1"), ("x", "1"), ("z", "1"), ("y", "1"), ("w", "1")] {
        queue.push(0, addressed(key, id));
    }
    let keys = |batch: &WriteBatch| -> Vec<_> {
        batch.changes.iter().map(|change| change.partition_key.text()).collect()
    };
    let first = queue.next_batch(limits).unwrap();
    assert_eq!(keys(&first), ["x", "y", "x"]);
    // Only the changes of a document that is on its way wait for it.
    let second = queue.next_batch(limits).unwrap();
    assert_eq!(keys(&second), ["z", "w"]);
    assert!(queue.next_batch(limits).is_none());
    queue.finish(&second);
    assert!(queue.next_batch(limits).is_none());
    queue.finish(&first);
    let third = queue.next_batch(limits).unwrap();
    assert_eq!(keys(&third), ["y"]);
    queue.finish(&third);
    assert!(queue.is_idle());
}

#[test]
fn a_document_that_is_being_written_holds_up_its_own_changes_and_no_others() {
    let mut queue = WriteQueue::new(Grouping::Key);
    queue.push(0, addressed("x", "1"));
    let first = queue.next_batch(LIMITS).unwrap();
    queue.push(1, addressed("x", "1"));
    queue.push(1, addressed("x", "2"));
    let second = queue.next_batch(LIMITS).unwrap();
    assert_eq!(ids(&second), ["2"]);
    assert!(queue.next_batch(LIMITS).is_none());
    queue.finish(&first);
    let third = queue.next_batch(LIMITS).unwrap();
    assert_eq!((ids(&third), &third.pages), (vec!["1"], &vec![1]));
    queue.finish(&second);
    assert!(!queue.is_idle());
    queue.finish(&third);
    assert!(queue.is_idle());
}

/// As many as a feed range may hold by default.
const WINDOW: usize = 5000;

/// Documents whose writes never end, each with a second change behind it, among others.
#[test]
fn writes_that_never_end_hold_up_no_other_document_until_the_window_is_full() {
    let cases = [
        (Grouping::Any, 1, 1, 1),
        (Grouping::Any, 1, 16, 16),
        (Grouping::Any, 1, 16, 100),
        (Grouping::Any, 100, 4, 50),
        (Grouping::Key, 1, 1, 1),
        (Grouping::Key, 1, 16, 100),
        (Grouping::Key, 100, 4, 50),
    ];
    for (grouping, changes, concurrency, poisoned) in cases {
        let limits = Limits { grouping, changes, concurrency, ..LIMITS };
        let mut queue = WriteQueue::new(grouping);
        for n in 0..WINDOW {
            // One partition key, which is what the others share with a document that fails.
            queue.push(n as u64, addressed("x", &(n % (WINDOW / 2)).to_string()));
        }
        let is_poisoned = |change: &Change| change.id.parse::<usize>().unwrap() < poisoned;
        let (mut written, mut never_end) = (0, 0);
        while let Some(batch) = queue.next_batch(limits) {
            never_end += batch.changes.iter().filter(|change| is_poisoned(change)).count();
            if batch.changes.iter().any(is_poisoned) {
                batch.note_stuck();
                batch.note_stuck();
            } else {
                written += batch.changes.len();
                queue.finish(&batch);
            }
        }
        let shared = poisoned.next_multiple_of(changes);
        let case = (grouping, changes, concurrency, poisoned);
        assert_eq!(never_end, poisoned, "{case:?}");
        // What shares a batch with them is written by the same attempts.
        assert_eq!(written, WINDOW - 2 * shared, "{case:?}");
    }
}

/// Where everything fails there is no storm of requests.
#[test]
fn the_number_of_batches_that_wait_is_limited() {
    let limits = Limits { grouping: Grouping::Any, changes: 1, concurrency: 8, ..LIMITS };
    let mut queue = WriteQueue::new(Grouping::Any);
    for n in 0..WINDOW {
        queue.push(n as u64, addressed("x", &n.to_string()));
    }
    let mut stuck = Vec::new();
    while let Some(batch) = queue.next_batch(limits) {
        batch.note_stuck();
        stuck.push(batch);
    }
    assert_eq!(stuck.len(), super::STUCK_MAX + 8);
    // Each that ends makes room for one.
    let mut again = Vec::new();
    for batch in stuck {
        queue.finish(&batch);
        let next = queue.next_batch(limits).unwrap();
        next.note_stuck();
        assert!(queue.next_batch(limits).is_none());
        again.push(next);
    }
    // When nothing fails any more, it is as before.
    for batch in &again {
        queue.finish(batch);
    }
    let under_way: Vec<_> = std::iter::from_fn(|| queue.next_batch(limits)).collect();
    assert_eq!(under_way.len(), 8);
}

#[test]
fn changes_of_one_key_go_together_up_to_the_bytes() {
    let mut queue = WriteQueue::new(Grouping::Key);
    let limits = Limits { changes: 100, bytes: 10, ..LIMITS };
    // As many bytes as letters.
    for id in ["aaaa", "bbbb", "cc", "dddddd", "eeee", "f", "gggggggggg"] {
        queue.push(0, addressed("x", id));
    }
    let mut taken = Vec::new();
    while let Some(batch) = queue.next_batch(limits) {
        taken.push(ids(&batch).join(" "));
        queue.finish(&batch);
    }
    assert_eq!(taken, ["aaaa bbbb cc", "dddddd eeee", "f", "gggggggggg"]);
}

#[test]
fn one_change_above_the_byte_limit_goes_alone() {
    let mut queue = WriteQueue::new(Grouping::Key);
    let limits = Limits { bytes: 1, ..LIMITS };
    queue.push(0, addressed("x", "long-id"));
    queue.push(0, addressed("x", "other"));
    assert_eq!(ids(&queue.next_batch(limits).unwrap()), ["long-id"]);
    assert_eq!(ids(&queue.next_batch(limits).unwrap()), ["other"]);
}

fn groupings() -> impl Strategy<Value = Grouping> {
    prop::sample::select(vec![Grouping::Any, Grouping::Key, Grouping::Partition])
}

/// Where the n-th change of a document is known to go: partitions are divided meanwhile.
fn partition(n: usize, document: u8) -> PartitionId {
    let split = u32::try_from(n / 10).unwrap();
    PartitionId(1 + split + u32::from(document) % 2)
}

#[test]
fn changes_of_one_partition_go_together_and_a_document_stays_where_its_changes_are() {
    let mut queue = WriteQueue::new(Grouping::Partition);
    let limits = Limits { grouping: Grouping::Partition, ..LIMITS };
    let on = |partition: u32, key: &str, id: &str| AddressedChange {
        partition: PartitionId(partition),
        ..addressed(key, id)
    };
    for change in [on(1, "x", "a"), on(2, "y", "b"), on(1, "z", "c"), on(2, "x", "d")] {
        queue.push(0, change);
    }
    let (first, second) = (queue.next_batch(limits).unwrap(), queue.next_batch(limits).unwrap());
    assert_eq!((ids(&first), first.partition), (vec!["a", "c"], PartitionId(1)));
    assert_eq!((ids(&second), second.partition), (vec!["b", "d"], PartitionId(2)));
    // The first partition is divided: only documents without unfinished changes go with its parts.
    for change in [on(3, "x", "a"), on(4, "z", "e")] {
        queue.push(1, change);
    }
    let third = queue.next_batch(limits).unwrap();
    assert_eq!((ids(&third), third.partition), (vec!["e"], PartitionId(4)));
    assert!(queue.next_batch(limits).is_none());
    queue.finish(&first);
    let fourth = queue.next_batch(limits).unwrap();
    assert_eq!((ids(&fourth), fourth.partition), (vec!["a"], PartitionId(1)));
    queue.push(2, on(3, "z", "c"));
    assert_eq!(queue.next_batch(limits).unwrap().partition, PartitionId(3));
}

/// What else of a key is pending decides whether a conflict may resolve itself.
#[test]
fn a_batch_knows_of_other_changes_of_its_keys_and_not_of_those_of_its_partition() {
    for grouping in [Grouping::Key, Grouping::Partition] {
        let mut queue = WriteQueue::new(grouping);
        let limits = Limits { grouping, changes: 2, ..LIMITS };
        for (key, id) in [("x", "1"), ("x", "2"), ("x", "3"), ("y", "4"), ("z", "5")] {
            queue.push(0, addressed(key, id));
        }
        let key = |key: &str| PartitionKey(vec![KeyValue::String(key.to_owned())]);
        let batches: Vec<_> = std::iter::from_fn(|| queue.next_batch(limits)).collect();
        assert!(batches[0].has_others(&key("x")), "{grouping:?}");
        let last = batches.iter().find(|batch| ids(batch).contains(&"3")).unwrap();
        assert!(last.has_others(&key("x")), "{grouping:?}");
        for batch in batches.iter().filter(|batch| batch.changes[0].id != last.changes[0].id) {
            queue.finish(batch);
        }
        assert!(!last.has_others(&key("x")), "{grouping:?}");
        queue.finish(last);
        assert!(queue.is_idle() && !last.pending.has_any(), "{grouping:?}");
    }
}

proptest! {
    /// As below, for source documents that a route sends to several documents of the target.
    #[test]
    fn order_per_source_document_holds(
        pushes in prop::collection::vec((0u8..4, 0u8..3, 0u8..2), 1..60),
        turns in prop::collection::vec(any::<(bool, usize)>(), 0..200),
        grouping in groupings(),
    ) {
        let limits = Limits { grouping, ..LIMITS };
        let mut queue = WriteQueue::new(grouping);
        let mut waiting = pushes.iter().enumerate();
        let mut under_way: Vec<WriteBatch> = Vec::new();
        let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
        let mut turns = turns.into_iter();
        let mut handed_out = 0;
        while handed_out < pushes.len() || !under_way.is_empty() {
            let (push, pick) = turns.next().unwrap_or((true, 0));
            if push && let Some((n, (source, key, id))) = waiting.next() {
                let mut addressed = addressed("source", &source.to_string());
                let target = KeyValue::String(key.to_string());
                addressed.change.partition_key = PartitionKey(vec![target]);
                addressed.change.id = format!("{source}{id}");
                addressed.partition = partition(n, *id);
                queue.push(n as u64, addressed);
            }
            if let Some(batch) = queue.next_batch(limits) {
                for (change, page) in batch.changes.iter().zip(&batch.pages) {
                    let mut others = under_way.iter().flat_map(|batch| &batch.changes);
                    prop_assert!(!others.any(|other| other.origin.id == change.origin.id));
                    seen.entry(change.origin.id.clone()).or_default().push(*page);
                }
                handed_out += batch.changes.len();
                under_way.push(batch);
            } else if !under_way.is_empty() {
                let batch = under_way.swap_remove(pick % under_way.len());
                queue.finish(&batch);
            } else {
                // Everything that was pushed is handed out if nothing is under way.
                let pushed = pushes.len() - waiting.len();
                prop_assert_eq!(handed_out, pushed);
            }
        }
        prop_assert!(queue.is_idle());
        for pages in seen.values() {
            prop_assert!(pages.is_sorted());
        }
    }
}

proptest! {
    /// Whatever the order in which writes end: every change is handed out once, no document is
    /// written twice at a time, and each document's changes come in the order they were read.
    #[test]
    fn order_per_document_holds(
        pushes in prop::collection::vec((0u8..3, 0u8..4), 1..80),
        turns in prop::collection::vec(any::<(bool, usize)>(), 0..200),
        grouping in groupings(),
    ) {
        let limits = Limits { grouping, ..LIMITS };
        let mut queue = WriteQueue::new(grouping);
        let mut waiting = pushes.iter().enumerate();
        let mut under_way: Vec<WriteBatch> = Vec::new();
        let mut seen: HashMap<(PartitionKey, String), Vec<u64>> = HashMap::new();
        let mut turns = turns.into_iter();
        let mut handed_out = 0;
        while handed_out < pushes.len() || !under_way.is_empty() {
            let (push, pick) = turns.next().unwrap_or((true, 0));
            if push && let Some((n, (key, id))) = waiting.next() {
                let mut addressed = addressed(&key.to_string(), &id.to_string());
                addressed.partition = partition(n, *id);
                queue.push(n as u64, addressed);
            }
            if let Some(batch) = queue.next_batch(limits) {
                for (change, page) in batch.changes.iter().zip(&batch.pages) {
                    let document = (change.partition_key.clone(), change.id.clone());
                    let busy = under_way.iter().flat_map(|u| &u.changes);
                    prop_assert!(!busy.clone().any(|c| (&c.partition_key, &c.id) == (&document.0, &document.1)));
                    seen.entry(document).or_default().push(*page);
                }
                handed_out += batch.changes.len();
                under_way.push(batch);
            } else if !under_way.is_empty() {
                let batch = under_way.swap_remove(pick % under_way.len());
                queue.finish(&batch);
            }
        }
        prop_assert!(queue.is_idle());
        for pages in seen.values() {
            prop_assert!(pages.is_sorted());
        }
    }
}

proptest! {
    /// As above, for source documents and documents of the target in any combination.
    #[test]
    fn order_per_document_of_either_side_holds(
        pushes in prop::collection::vec((0u8..4, 0u8..4), 1..60),
        turns in prop::collection::vec(any::<(bool, usize)>(), 0..200),
        grouping in groupings(),
    ) {
        let limits = Limits { grouping, ..LIMITS };
        let mut queue = WriteQueue::new(grouping);
        let mut waiting = pushes.iter().enumerate();
        let mut under_way: Vec<WriteBatch> = Vec::new();
        let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
        let mut turns = turns.into_iter();
        let mut handed_out = 0;
        let names = |change: &Change| [format!("from {}", change.origin.id), change.id.clone()];
        while handed_out < pushes.len() || !under_way.is_empty() {
            let (push, pick) = turns.next().unwrap_or((true, 0));
            if push && let Some((n, (source, target))) = waiting.next() {
                let mut addressed = addressed("source", &source.to_string());
                addressed.change.id = format!("to {target}");
                let key = KeyValue::String((target % 2).to_string());
                addressed.change.partition_key = PartitionKey(vec![key]);
                addressed.partition = partition(n, *target);
                queue.push(n as u64, addressed);
            }
            if let Some(batch) = queue.next_batch(limits) {
                for (change, page) in batch.changes.iter().zip(&batch.pages) {
                    for name in names(change) {
                        let mut others = under_way.iter().flat_map(|batch| &batch.changes);
                        prop_assert!(!others.any(|other| names(other).contains(&name)));
                        seen.entry(name).or_default().push(*page);
                    }
                }
                handed_out += batch.changes.len();
                under_way.push(batch);
            } else if !under_way.is_empty() {
                let batch = under_way.swap_remove(pick % under_way.len());
                queue.finish(&batch);
            } else {
                // Nothing waits for nothing.
                prop_assert_eq!(handed_out, pushes.len() - waiting.len());
            }
        }
        prop_assert!(queue.is_idle());
        for pages in seen.values() {
            prop_assert!(pages.is_sorted());
        }
    }
}
