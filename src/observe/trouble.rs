//! Failures that last, told once and then now and again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

/// How often a lasting failure is told again.
const REMINDER: Duration = Duration::from_secs(30);

/// One thing that can go wrong for a while: the first failure is told, then a reminder now and
/// again with the number of attempts, then the recovery. What fails and works by turns is told no
/// more often.
#[derive(Debug)]
pub struct Trouble {
    what: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lasting: Option<Lasting>,
    /// When a failure was last told.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Lasting {
    since: Instant,
    attempts: u64,
    is_told: bool,
}

impl Trouble {
    /// `what` completes the sentence "failed ...": "writing to sink `a`".
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), state: Mutex::default() }
    }

    pub fn failed(&self, error: &str) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = state.told.is_none_or(|told| now - told >= REMINDER);
        let begin = || Lasting { since: now, attempts: 0, is_told: false };
        let lasting = state.lasting.get_or_insert_with(begin);
        lasting.attempts += 1;
        if !is_due {
            return;
        }
        if lasting.is_told {
            let (attempts, for_seconds) = (lasting.attempts, (now - lasting.since).as_secs());
            warn!(attempts, for_seconds, error, "still failing {}", self.what);
        } else {
            lasting.is_told = true;
            warn!(error, "failed {}; trying again until it works", self.what);
        }
        state.told = Some(now);
    }

    pub fn recovered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lasting) = state.lasting.take()
            && lasting.is_told
        {
            let after_seconds = lasting.since.elapsed().as_secs_f64();
            info!(attempts = lasting.attempts, after_seconds, "works again: {}", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::Trouble;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        /// What was logged while `work` ran, without times.
        async fn of(work: impl Future<Output = ()>) -> String {
            let lines = Self::default();
            let writer = lines.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || writer.clone())
                .without_time()
                .with_target(false)
                .with_ansi(false)
                .finish();
            let guard = tracing::subscriber::set_default(subscriber);
            work.await;
            drop(guard);
            let text = lines.0.lock().unwrap().clone();
            String::from_utf8(text).unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_then_remembered_now_and_again_then_over() {
        let told = Lines::of(async {
            let trouble = Trouble::new("writing to sink `a`");
            for _ in 0..140 {
                trouble.failed("refused");
                tokio::time::advance(Duration::from_millis(500)).await;
            }
            trouble.recovered();
            trouble.recovered();
        });
        insta::assert_snapshot!(told.await, @r#"
        WARN failed writing to sink `a`; trying again until it works error="refused"
        WARN still failing writing to sink `a` attempts=61 for_seconds=30 error="refused"
        WARN still failing writing to sink `a` attempts=121 for_seconds=60 error="refused"
        INFO works again: writing to sink `a` attempts=140 after_seconds=70.0
        "#);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_and_works_by_turns_does_not_fill_the_log() {
        let told = Lines::of(async {
            let trouble = Trouble::new("writing to sink `a`");
            for _ in 0..3000 {
                trouble.failed("refused");
                tokio::time::advance(Duration::from_millis(10)).await;
                trouble.recovered();
                tokio::time::advance(Duration::from_millis(10)).await;
            }
        });
        let told = told.await;
        assert_eq!(told.lines().count(), 4, "{told}");
    }
}
