use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Cause, Change, ContainerName, Grouping, KeyValue, Limits, Operation, Origin, Outcome,
    PartitionKey, Sink, SinkError, Wait, Written,
};
use parking_lot::Mutex;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio::time::Instant;

use super::{LATE_LIMIT, LateWrites, merged};

/// A broker that keeps the last message of each document, behind a network that delays some.
struct Broker {
    random: Mutex<TestRng>,
    /// The version of the last message of each document.
    last: Mutex<BTreeMap<String, i64>>,
    /// Messages that are still on their way.
    late: Mutex<Vec<(Instant, String, i64)>>,
}

impl Broker {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            random: Mutex::new(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)),
            last: Mutex::default(),
            late: Mutex::default(),
        }
    }

    fn below(&self, limit: u64) -> u64 {
        self.random.lock().next_u64() % limit
    }

    fn arrive(&self) {
        let mut late = self.late.lock();
        late.sort_by_key(|(at, ..)| *at);
        while late.first().is_some_and(|(at, ..)| *at <= Instant::now()) {
            let (_, id, version) = late.remove(0);
            self.last.lock().insert(id, version);
        }
    }
}

#[async_trait]
impl Sink for Broker {
    fn name(&self) -> &'static str {
        "broker"
    }

    fn limits(&self) -> Limits {
        Limits { grouping: Grouping::Any, changes: 10, bytes: 1000, concurrency: 1 }
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        // All in one request, which is late.
        if self.below(8) == 0 {
            let millis = u64::try_from(LATE_LIMIT.as_millis()).unwrap();
            let at = Instant::now() + Duration::from_millis(self.below(millis));
            let mut late = self.late.lock();
            for change in changes {
                late.push((at, change.id.clone(), change.origin.lsn.unwrap()));
            }
            answers.rest_unanswered();
            answers.defer_rest("no answer", Cause::Busy);
            return answers.finish();
        }
        for (index, change) in changes.iter().enumerate() {
            if answers.is_held(index) {
                continue;
            }
            self.arrive();
            let (id, version) = (change.id.clone(), change.origin.lsn.unwrap());
            match self.below(10) {
                // Not answered, and late.
                0 | 1 => {
                    let millis = u64::try_from(LATE_LIMIT.as_millis()).unwrap();
                    let at = Instant::now() + Duration::from_millis(self.below(millis));
                    self.late.lock().push((at, id, version));
                    answers.defer(index, "no answer", Cause::Busy);
                    answers.unanswered(index);
                }
                // Refused.
                2 => answers.defer(index, "refused", Cause::Fault),
                _ => {
                    self.last.lock().insert(id, version);
                    answers.deliver(index);
                }
            }
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn change(id: &str, version: i64) -> Change {
    let name = |text: &str| text.to_owned();
    let container = ContainerName {
        account: name("a"),
        database: name("d"),
        container: name("c"),
        rid: name("r"),
    };
    let partition_key = PartitionKey(vec![KeyValue::String(name("k"))]);
    let origin = Origin {
        container: Arc::new(container),
        id: id.to_owned(),
        partition_key: partition_key.clone(),
        lsn: Some(version),
        nth: 0,
        committed_at: None,
        expiry: None,
        is_snapshot: false,
        trace: None,
    };
    Change {
        id: id.to_owned(),
        partition_key,
        operation: Operation::Upsert { document: Arc::default() },
        previous: None,
        origin: Arc::new(origin),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

/// Publishes a random history; returns whether the last message of each document is its last version,
/// and how long it took.
async fn follows(seed: u64, is_guarded: bool) -> (bool, Duration) {
    let (broker, late_writes) = (Broker::new(seed), LateWrites::default());
    let (began, mut model) = (Instant::now(), BTreeMap::new());
    let mut version = 0;
    for _ in 0..10 {
        let mut changes = Vec::new();
        for _ in 0..=broker.below(4) {
            version += 1;
            let id = format!("d{}", broker.below(5));
            changes.push(change(&id, version));
            model.insert(id, version);
        }
        while !changes.is_empty() {
            let written = if is_guarded {
                late_writes.write(&broker, &changes).await
            } else {
                broker.write(&changes).await
            };
            assert_eq!(written.outcomes.len(), changes.len());
            let left = changes.into_iter().zip(&written.outcomes);
            let left = left.filter(|(_, outcome)| **outcome != Outcome::Delivered);
            changes = left.map(|(change, _)| change).collect();
            let pause = written.wait.and_then(|wait| wait.retry_after);
            tokio::time::advance(pause.unwrap_or(Duration::from_millis(200))).await;
        }
    }
    let took = began.elapsed();
    tokio::time::advance(LATE_LIMIT).await;
    broker.arrive();
    (*broker.last.lock() == model, took)
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_late_is_never_the_last_one_of_its_document() {
    for seed in 0..1000 {
        assert!(follows(seed, true).await.0, "seed {seed}");
    }
}

/// Otherwise the test above could not fail.
#[tokio::test(start_paused = true)]
async fn without_the_guard_late_messages_do_harm() {
    let mut harmed = 0;
    for seed in 0..200 {
        harmed += u32::from(!follows(seed, false).await.0);
    }
    assert!(harmed > 20, "{harmed}");
}

#[tokio::test(start_paused = true)]
async fn only_a_later_change_of_the_document_waits_and_not_for_ever() {
    let late_writes = LateWrites::default();
    let (a1, a2, b1) = (change("a", 1), change("a", 2), change("b", 3));
    assert_eq!(late_writes.waits(std::slice::from_ref(&a2)), None);
    late_writes.note(std::slice::from_ref(&a1), &[0]);
    let changes = [a1, a2.clone(), b1];
    assert_eq!(late_writes.waits(&changes), Some(vec![None, Some(LATE_LIMIT), None]));
    tokio::time::advance(Duration::from_secs(10)).await;
    let rest = LATE_LIMIT.saturating_sub(Duration::from_secs(10));
    assert_eq!(late_writes.waits(std::slice::from_ref(&a2)), Some(vec![Some(rest)]));
    tokio::time::advance(rest).await;
    assert_eq!(late_writes.waits(&changes), None);
    // The next one forgets what is over.
    late_writes.note(std::slice::from_ref(&a2), &[0]);
    assert_eq!(late_writes.documents.lock().len(), 1);
    // Of two in one request, the first may be repeated.
    let both = [change("c", 1), change("c", 2)];
    late_writes.note(&both, &[1, 0]);
    assert_eq!(late_writes.waits(&both), Some(vec![None, Some(LATE_LIMIT)]));
}

/// Delivers everything, and keeps the versions.
#[derive(Default)]
struct Accepting(Mutex<Vec<i64>>);

#[async_trait]
impl Sink for Accepting {
    fn name(&self) -> &'static str {
        "accepting"
    }

    fn limits(&self) -> Limits {
        Limits { grouping: Grouping::Any, changes: 10, bytes: 1000, concurrency: 1 }
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        assert!(!changes.is_empty());
        self.0.lock().extend(changes.iter().filter_map(|change| change.origin.lsn));
        let mut answers = Answers::new(changes);
        (0..changes.len()).for_each(|index| answers.deliver(index));
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_waits_holds_up_no_other_document_of_its_write() {
    let (sink, late_writes) = (Accepting::default(), LateWrites::default());
    late_writes.note(&[change("a", 1)], &[0]);
    let written = late_writes.write(&sink, &[change("a", 2), change("b", 3)]).await;
    assert_eq!(*sink.0.lock(), [3]);
    assert!(matches!(written.outcomes[..], [Outcome::Deferred { .. }, Outcome::Delivered]));
    // Nothing is offered if all wait.
    let written = late_writes.write(&sink, &[change("a", 2)]).await;
    assert_eq!(*sink.0.lock(), [3]);
    assert!(matches!(written.outcomes[..], [Outcome::Deferred { .. }]));
    assert_eq!(written.wait.and_then(|wait| wait.retry_after), Some(LATE_LIMIT));
}

/// The indexes that a sink answers with are those of the changes that it was offered.
#[test]
fn the_answer_of_a_sink_is_for_the_changes_that_did_not_wait() {
    let (none, short, long) = (None, Some(3), Some(20));
    // How many seconds each change waits, of which the sink was offered the others. What the sink answered: the
    // outcomes in letters, the indexes of conflicts and of what was not answered. The same for all changes, and
    // the longest wait, unless a graver cause has its own.
    for (waits, answer, expected) in [
        (vec![short, none], ("d", vec![], vec![]), ("hd", vec![], vec![], 3)),
        (vec![long, short], ("", vec![], vec![]), ("hh", vec![], vec![], 20)),
        (
            vec![short, none, long, none, none],
            ("drd", vec![1], vec![0, 2]),
            ("hdhrd", vec![3], vec![1, 4], 20),
        ),
    ] {
        let (outcomes, conflicts, unanswered) = answer;
        let outcome = |letter| match letter {
            'd' => Outcome::Delivered,
            _ => Outcome::Rejected { reason: "a unique key".to_owned() },
        };
        let outcomes = outcomes.chars().map(outcome).collect();
        for (wait, cause) in [
            (None, Cause::Fault),
            (Some(Wait { cause: Cause::Busy, retry_after: None }), Cause::Busy),
        ] {
            let (outcomes, conflicts) = (Vec::clone(&outcomes), conflicts.clone());
            let unanswered = unanswered.clone();
            let written = Written { outcomes, conflicts, unanswered, wait, ..Written::default() };
            let waits: Vec<_> = waits.iter().map(|wait| wait.map(Duration::from_secs)).collect();
            let all = merged(written, &waits);
            let letter = |outcome: &Outcome| match outcome {
                Outcome::Delivered => 'd',
                Outcome::Rejected { .. } => 'r',
                Outcome::Deferred { .. } => 'h',
            };
            let letters: String = all.outcomes.iter().map(letter).collect();
            let (of_all, conflicts, unanswered, seconds) = &expected;
            assert_eq!(letters, *of_all, "{waits:?}");
            assert_eq!((&all.conflicts, &all.unanswered), (conflicts, unanswered), "{waits:?}");
            let longest = Some(Duration::from_secs(*seconds));
            let retry_after = if cause == Cause::Fault { longest } else { None };
            assert_eq!(all.wait, Some(Wait { cause, retry_after }), "{waits:?}");
        }
    }
}
