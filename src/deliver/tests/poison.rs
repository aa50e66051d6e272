//! Changes that fail in each attempt, among others.

use std::sync::atomic::Ordering::Relaxed;

use cosmos_bridge_sink::Answers;

use super::*;

/// Ends an attempt after this many failures, as sinks do.
const FAILURES_MAX: usize = 5;

/// Takes every change but those of documents whose id begins with `bad`.
#[derive(Default)]
struct Poisoned {
    attempts: AtomicUsize,
    /// The ids of what was taken, with the number of the attempt.
    taken: Mutex<Vec<(usize, String)>>,
}

#[async_trait]
impl Sink for Poisoned {
    fn name(&self) -> &'static str {
        "poisoned"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let attempt = self.attempts.fetch_add(1, Relaxed) + 1;
        let (mut answers, mut failures) = (Answers::new(changes), 0);
        for (index, change) in changes.iter().enumerate() {
            if answers.is_held(index) {
                continue;
            }
            if change.id.starts_with("bad") {
                answers.defer(index, "internal error", Cause::Fault);
                failures += 1;
            } else {
                self.taken.lock().unwrap().push((attempt, change.id.clone()));
                answers.deliver(index);
                failures = 0;
            }
            if failures == FAILURES_MAX {
                break;
            }
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_did_not_send_comes_first_in_the_next() {
    // The ids, and the attempts in which the good ones are taken.
    type Case<'c> = (&'c [&'c str], &'c [(usize, &'c str)]);
    let table: [Case<'_>; 4] = [
        (&["bad1", "a", "bad1", "b"], &[(1, "a"), (1, "b")]),
        (&["bad1", "bad2", "bad3", "bad4", "bad5", "a", "b", "a"], &[(2, "a"), (2, "b"), (2, "a")]),
        (
            &["bad1", "bad2", "bad3", "bad4", "bad5", "bad1", "bad6", "a", "bad7", "b"],
            &[(2, "a"), (2, "b")],
        ),
        (
            &[
                "a", "bad1", "bad2", "bad3", "bad4", "bad5", "bad6", "bad7", "bad8", "bad9",
                "bad0", "b",
            ],
            &[(1, "a"), (3, "b")],
        ),
    ];
    for (ids, expected) in table {
        let sink = Arc::new(Poisoned::default());
        let governor = Governor::new(None, YieldPolicy::Normal, 32);
        let delivery = Delivery::new(Arc::clone(&sink) as _, Arc::new(governor), None);
        let mut batch = batch("k", 0, 0);
        let first = batch.changes[0].clone();
        batch.changes =
            ids.iter().map(|id| Change { id: (*id).to_owned(), ..first.clone() }).collect();
        batch.bytes = vec![10; ids.len()];
        batch.pages = vec![0; ids.len()];
        let stop = WriteStop::default();
        let writing = delivery.until_done(&batch, &stop);
        let ended = tokio::time::timeout(Duration::from_mins(10), writing).await;
        assert!(ended.is_err(), "it ends only when the last one is taken");
        let taken = sink.taken.lock().unwrap();
        let taken: Vec<_> = taken.iter().map(|(at, id)| (*at, id.as_str())).collect();
        assert_eq!(taken, expected, "{ids:?}");
    }
}
