//! The suite finds each violation, and none in a correct sink.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cosmos_bridge_conformance::{Harness, Outage, Received, conforms};
use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_sink::{
    Cause, Change, Grouping, Limits, Outcome, Sink, SinkError, Wait, Written,
};

/// The violations.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    CheckWrites,
    OutcomeMissing,
    OrderReversed,
    LosesOneOfMany,
    NewIdEachTime,
    KeepsUntilClose,
    NeverFlushes,
    RejectsNeighbours,
    RejectsInOutage,
    DeliversInOutage,
    ForgetsWhyItWaits,
    OvertakesWhatWaits,
    TellsTheDocument,
    AnswersAndLoses,
    Hangs,
}

#[derive(Default)]
struct Topic {
    log: Mutex<Vec<Received>>,
    read: AtomicUsize,
    away: AtomicBool,
    writes: AtomicUsize,
}

struct Memory {
    flaw: Flaw,
    keeps_history: bool,
    topic: Arc<Topic>,
}

struct MemorySink {
    flaw: Flaw,
    topic: Arc<Topic>,
    kept: Mutex<Vec<Received>>,
}

const LARGEST: usize = 10_000;

fn encoder() -> Encoder {
    let format = Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };
    Encoder::new(format, Oversize::DeadLetter)
}

impl MemorySink {
    fn write_one(&self, change: &Change, written: &mut Written) {
        let n = self.topic.writes.fetch_add(1, Ordering::Relaxed);
        let outcome = match encoder().encode(change, LARGEST) {
            _ if self.topic.away.load(Ordering::Relaxed) => self.away(written),
            Err(too_large) => Outcome::Rejected { reason: too_large.to_string() },
            Ok(mut event) => {
                if self.flaw == Flaw::NewIdEachTime {
                    event.attributes.iter_mut().find(|(name, _)| *name == "id").unwrap().1 =
                        n.to_string();
                }
                let received = Received {
                    document: change.id.clone(),
                    body: event.body,
                    attributes: event
                        .attributes
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                };
                let mut log = match self.flaw {
                    Flaw::KeepsUntilClose | Flaw::NeverFlushes => &self.kept,
                    _ => &self.topic.log,
                }
                .lock()
                .unwrap();
                let lost = self.flaw == Flaw::LosesOneOfMany && n % 100 == 99;
                if !lost {
                    log.push(received);
                }
                Outcome::Delivered
            }
        };
        written.outcomes.push(outcome);
    }

    fn away(&self, written: &mut Written) -> Outcome {
        if self.flaw != Flaw::ForgetsWhyItWaits {
            written.wait = Some(Wait { cause: Cause::Busy, retry_after: None });
        }
        let first = written.outcomes.is_empty();
        match self.flaw {
            Flaw::RejectsInOutage => Outcome::Rejected { reason: "away".to_owned() },
            Flaw::DeliversInOutage => Outcome::Delivered,
            Flaw::OvertakesWhatWaits if !first => Outcome::Delivered,
            Flaw::TellsTheDocument => {
                Outcome::Deferred { reason: "secret-of-the-document".to_owned() }
            }
            _ => Outcome::Deferred { reason: "away".to_owned() },
        }
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn limits(&self) -> Limits {
        Limits { grouping: Grouping::Any, changes: 100, bytes: 1 << 20, concurrency: 4 }
    }

    async fn check(&self) -> Result<(), SinkError> {
        if self.flaw == Flaw::CheckWrites {
            self.topic.log.lock().unwrap().push(Received {
                document: "check".to_owned(),
                body: Some(Vec::new()),
                attributes: Vec::new(),
            });
        }
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut written = Written { requests: 1, ..Written::default() };
        if self.flaw == Flaw::Hangs && self.topic.away.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let mut in_order: Vec<&Change> = changes.iter().collect();
        if self.flaw == Flaw::OrderReversed {
            in_order.reverse();
        }
        for change in in_order {
            self.write_one(change, &mut written);
            tokio::task::yield_now().await;
        }
        let rejected = |outcome: &Outcome| matches!(outcome, Outcome::Rejected { .. });
        if self.flaw == Flaw::RejectsNeighbours && written.outcomes.iter().any(rejected) {
            let reason = "a neighbour is too large".to_owned();
            written.outcomes.fill(Outcome::Rejected { reason });
        }
        if self.flaw == Flaw::OutcomeMissing && changes.len() > 1 {
            written.outcomes.pop();
        }
        if self.flaw == Flaw::AnswersAndLoses && changes.len() > 1 {
            self.topic.log.lock().unwrap().pop();
        }
        written
    }

    async fn close(&self) -> Result<(), SinkError> {
        if self.flaw == Flaw::KeepsUntilClose {
            self.topic.log.lock().unwrap().append(&mut self.kept.lock().unwrap());
        }
        Ok(())
    }
}

#[async_trait]
impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Sink> {
        let topic = Arc::clone(&self.topic);
        Arc::new(MemorySink { flaw: self.flaw, topic, kept: Mutex::default() })
    }

    async fn received(&self, _at_least: usize) -> Vec<Received> {
        let log = self.topic.log.lock().unwrap();
        let from = self.topic.read.swap(log.len(), Ordering::Relaxed);
        let new = &log[from..];
        if self.keeps_history {
            return new.to_vec();
        }
        let is_latest = |at: &usize| new[at + 1..].iter().all(|r| r.document != new[*at].document);
        let exists = |received: &Received| received.body.is_some();
        let latest = (0..new.len()).filter(is_latest).map(|at| new[at].clone());
        latest.filter(exists).collect()
    }

    fn keeps_history(&self) -> bool {
        self.keeps_history
    }

    fn too_large(&self) -> Option<usize> {
        Some(LARGEST)
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(&*self.topic)
    }
}

#[async_trait]
impl Outage for Topic {
    async fn begin(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    async fn end(&self) {
        self.away.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flaw_fails_its_cases_and_no_flaw_none() {
    let check = "check leaves nothing behind";
    let outcomes = "every change has one outcome";
    let order = "changes of a document stay in order";
    let concurrent = "several concurrent writes";
    let again = "a repeated change is the same again";
    let awkward = "awkward ids, keys and documents arrive as they are";
    let large = "one change that is too large is refused alone";
    let away = "while the target is away everything waits, then all arrives";
    let close = "close flushes";
    let all_but = |left_out: &[&str]| -> Vec<&str> {
        let all = [check, outcomes, order, concurrent, again, awkward, large, away, close];
        all.into_iter().filter(|case| !left_out.contains(case)).collect()
    };
    let table = [
        (Flaw::None, vec![]),
        (Flaw::CheckWrites, vec![check]),
        (Flaw::OutcomeMissing, all_but(&[check])),
        (Flaw::OrderReversed, vec![order, concurrent, again, awkward, away, close]),
        (Flaw::LosesOneOfMany, vec![outcomes, order, concurrent]),
        (Flaw::NewIdEachTime, all_but(&[])),
        (Flaw::KeepsUntilClose, all_but(&[close])),
        (Flaw::NeverFlushes, all_but(&[])),
        (Flaw::RejectsNeighbours, vec![large]),
        (Flaw::RejectsInOutage, vec![away]),
        (Flaw::DeliversInOutage, vec![away]),
        (Flaw::ForgetsWhyItWaits, vec![away]),
        (Flaw::OvertakesWhatWaits, vec![away]),
        (Flaw::TellsTheDocument, vec![away]),
        (Flaw::AnswersAndLoses, all_but(&[check])),
        (Flaw::Hangs, vec![away]),
    ];
    for (flaw, expected) in table {
        let memory = Memory { flaw, keeps_history: true, topic: Arc::default() };
        let failed = conforms(&memory).await.err().map(|failures| failures.0).unwrap_or_default();
        let cases: Vec<&str> = failed.iter().map(|failure| failure.case).collect();
        assert_eq!(cases, expected, "{flaw:?}: {failed:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flaw_is_found_in_a_target_that_keeps_the_latest_version_only() {
    let table = [
        (Flaw::None, 0),
        (Flaw::CheckWrites, 1),
        (Flaw::OutcomeMissing, 8),
        (Flaw::OrderReversed, 6),
        (Flaw::LosesOneOfMany, 3),
        (Flaw::NeverFlushes, 9),
        (Flaw::RejectsInOutage, 1),
        (Flaw::OvertakesWhatWaits, 1),
        (Flaw::AnswersAndLoses, 8),
    ];
    let mut found = Vec::new();
    for (flaw, _) in table {
        let memory = Memory { flaw, keeps_history: false, topic: Arc::default() };
        let failed = conforms(&memory).await.err().map_or(0, |failures| failures.0.len());
        found.push((flaw, failed));
    }
    assert_eq!(found, table);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_told_in_a_few_lines() {
    let memory = Memory { flaw: Flaw::CheckWrites, keeps_history: true, topic: Arc::default() };
    let failures = conforms(&memory).await.unwrap_err();
    assert_eq!(
        failures.to_string(),
        "1 of 9 cases failed\n  check leaves nothing behind: found check, which was not written"
    );
}
