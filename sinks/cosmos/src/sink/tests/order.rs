//! The versions of one document, in batches that are refused, throttled or partly answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Change, Outcome, Sink as _};

use super::super::CosmosSink;
use super::super::service::{Scripted, Service};
use crate::fixtures::{delete, options, upsert};

const DONE: Scripted = None;
const TOO_LARGE: Scripted = Some((413, 0));
const CONFLICT: Scripted = Some((409, 1001));
const THROTTLED: Scripted = Some((429, 3200));
const HOT_KEY: Scripted = Some((429, 3214));
const RETRY: Scripted = Some((449, 0));

/// What became of each change in one write: delivered, rejected, or deferred.
fn letters(outcomes: &[Outcome]) -> String {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Delivered => 'D',
        Outcome::Rejected { .. } => 'R',
        Outcome::Deferred { .. } => '-',
    };
    outcomes.iter().map(letter).collect()
}

fn new_sink(service: &Arc<Service>) -> CosmosSink {
    let container = Arc::clone(service);
    CosmosSink::new("target", options(), container, || 0)
}

/// Offers changes until each is delivered or rejected. Returns the rejected versions.
async fn settle(sink: &CosmosSink, mut changes: Vec<Change>) -> Vec<i64> {
    let mut rejected = Vec::new();
    while !changes.is_empty() {
        let written = sink.write(&changes).await;
        let left = changes.into_iter().zip(written.outcomes).filter_map(|(change, outcome)| {
            if matches!(outcome, Outcome::Rejected { .. }) {
                rejected.extend(change.origin.lsn);
            }
            matches!(outcome, Outcome::Deferred { .. }).then_some(change)
        });
        changes = left.collect();
        tokio::time::advance(Duration::from_millis(200)).await;
    }
    rejected
}

/// The versions that the service has executed, by document; 0 is a delete.
fn executed(service: &Service) -> BTreeMap<String, Vec<i64>> {
    let mut executed = BTreeMap::<String, Vec<i64>>::new();
    for (id, version) in service.executed() {
        executed.entry(id).or_default().push(version);
    }
    executed
}

/// A batch that is refused is followed by requests for one change each. Each row has the answers to the
/// writes of `a` and `b` in the order in which they are sent, those of the batch first.
#[tokio::test(start_paused = true)]
async fn after_a_batch_is_refused_no_version_passes_an_earlier_one() {
    type Case<'c> = (&'c str, Vec<Change>, Vec<(&'c str, Vec<Scripted>)>, &'c str, &'c [i64]);
    let a = |version| upsert("a", version);
    let b = |version| upsert("b", version);
    let cases: [Case<'_>; 8] = [
        (
            "the first version is throttled after a batch that was refused for good",
            vec![b(1), a(2), a(3)],
            vec![("b", vec![TOO_LARGE, TOO_LARGE]), ("a", vec![THROTTLED])],
            "R--",
            &[2, 3],
        ),
        (
            "the document that is refused for good comes last",
            vec![a(1), a(2), b(3)],
            vec![("a", vec![DONE, DONE, RETRY]), ("b", vec![TOO_LARGE, TOO_LARGE])],
            "---",
            &[1, 2],
        ),
        (
            "a version is refused for good, the next one is written",
            vec![a(1), a(2), b(3)],
            vec![("a", vec![TOO_LARGE, TOO_LARGE])],
            "RDD",
            &[2],
        ),
        (
            "a version meets a conflict, and the next one waits for it",
            vec![a(1), a(2), b(3)],
            vec![("a", vec![TOO_LARGE, CONFLICT, CONFLICT, DONE])],
            "R-D",
            &[2],
        ),
        (
            "the second version is throttled",
            vec![b(1), a(2), a(3), b(4)],
            vec![("b", vec![TOO_LARGE, TOO_LARGE]), ("a", vec![DONE, HOT_KEY])],
            "RD--",
            &[2, 3],
        ),
        (
            "a delete between two versions is throttled",
            vec![b(1), a(2), delete("a", 3), a(4)],
            vec![("b", vec![TOO_LARGE, TOO_LARGE]), ("a", vec![DONE, THROTTLED])],
            "RD--",
            &[2, 0, 4],
        ),
        (
            "a throttled part defers the batch as a whole",
            vec![a(1), b(2), a(3)],
            vec![("b", vec![THROTTLED])],
            "---",
            &[1, 3],
        ),
        (
            "nothing is sent after a request that has to wait",
            vec![b(1), a(2), upsert("c", 3)],
            vec![("b", vec![TOO_LARGE, TOO_LARGE]), ("a", vec![THROTTLED])],
            "R--",
            &[2],
        ),
    ];
    for (name, changes, script, first, versions) in cases {
        let service = Arc::new(Service::new(1, Duration::ZERO));
        for (id, answers) in script {
            service.script(id, answers);
        }
        let sink = new_sink(&service);
        let written = sink.write(&changes).await;
        assert_eq!(letters(&written.outcomes), first, "{name}");
        let rest = changes.into_iter().zip(&written.outcomes).filter_map(|(change, outcome)| {
            matches!(outcome, Outcome::Deferred { .. }).then_some(change)
        });
        let rejected = settle(&sink, rest.collect()).await;
        assert!(rejected.iter().all(|version| !versions.contains(version)), "{name}: {rejected:?}");
        assert_eq!(executed(&service)["a"], versions, "{name}");
    }
}

/// Random answers to random histories, in batches and one by one.
#[tokio::test(start_paused = true)]
async fn no_answer_brings_an_earlier_version_back() {
    let (mut refused, mut waits) = (0, 0);
    for seed in 0..300 {
        let service = Arc::new(Service::new(seed, Duration::ZERO));
        let sink = new_sink(&service);
        let mut version = 0;
        let mut last = BTreeMap::<String, Change>::new();
        for _ in 0..10 {
            let mut changes = Vec::new();
            for _ in 0..=service.below(7) {
                version += 1;
                let id = format!("d{}", service.below(3));
                let is_delete = last.contains_key(&id) && service.below(4) == 0;
                changes.push(if is_delete { delete(&id, version) } else { upsert(&id, version) });
            }
            for id in ["d0", "d1", "d2"] {
                let answers: Vec<Scripted> = (0..service.below(4))
                    .map(|_| match service.below(8) {
                        0 | 1 => THROTTLED,
                        2 => RETRY,
                        3 => HOT_KEY,
                        4 | 5 => TOO_LARGE,
                        _ => DONE,
                    })
                    .collect();
                waits += answers.iter().filter(|answer| **answer == RETRY).count();
                service.script(id, answers);
            }
            let rejected = settle(&sink, changes.clone()).await;
            refused += rejected.len();
            let taken = changes.into_iter().filter(|change| {
                !rejected.iter().any(|version| change.origin.lsn == Some(*version))
            });
            last.extend(taken.map(|change| (change.id.clone(), change)));
        }
        for (id, versions) in executed(&service) {
            let written = versions.iter().filter(|version| **version > 0);
            assert!(written.is_sorted(), "seed {seed}, {id}: {versions:?}");
        }
        let documents = service.documents().await;
        for (id, change) in &last {
            let document = documents.get(id).map(|document| document["version"].as_i64().unwrap());
            let expected = match change.operation {
                cosmos_bridge_sink::Operation::Upsert { .. } => change.origin.lsn,
                cosmos_bridge_sink::Operation::Delete { .. } => None,
            };
            assert_eq!(document, expected, "seed {seed}, {id}");
        }
    }
    assert!(refused > 300 && waits > 300, "{refused} refused, {waits} waits");
}
