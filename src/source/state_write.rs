//! Writes to the state, repeated until they succeed.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::{Attempt, Backoff, Step, retry};
use crate::observe::FailureLog;
use crate::state::StateError;

/// A healthy disk stores a position in milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const NO_ANSWER: &str = "a write to the state file has not ended for 10 s or longer";

/// Writes until the state has it: a full disk holds the pipeline up, and loses nothing. `None` if it
/// failed and a stop was asked for.
pub(super) async fn until_written<W, F, T>(
    log: &FailureLog,
    stop: &CancellationToken,
    write: W,
) -> Option<T>
where
    W: FnMut() -> F + Send,
    F: Future<Output = Result<T, StateError>> + Send,
    T: Send,
{
    retry(&mut StateWrite { log, stop, backoff: Backoff::for_requests(), write }).await
}

struct StateWrite<'a, W> {
    log: &'a FailureLog,
    stop: &'a CancellationToken,
    backoff: Backoff,
    write: W,
}

impl<W, F, T> Attempt for StateWrite<'_, W>
where
    W: FnMut() -> F + Send,
    F: Future<Output = Result<T, StateError>> + Send,
    T: Send,
{
    type Done = T;

    async fn attempt(&mut self) -> Step<T> {
        match answer_to(self.log, (self.write)()).await {
            Ok(written) => {
                self.log.recovered();
                Step::Done(written)
            }
            Err(error) => {
                self.log.failed(&error.to_string());
                Step::RepeatAfter(self.backoff.next_wait(None))
            }
        }
    }

    async fn pause(&mut self, pause: Duration) -> Option<()> {
        self.stop.run_until_cancelled(sleep(pause)).await
    }
}

/// A write that is under way is never given up: it may be on the disk already. A disk that does not
/// answer also blocks the pipeline; all that can be done is to report it.
async fn answer_to<T>(log: &FailureLog, write: impl Future<Output = T>) -> T {
    let mut write = std::pin::pin!(write);
    loop {
        match timeout(ANSWER_WITHIN, &mut write).await {
            Ok(answer) => return answer,
            Err(_) => log.failed(NO_ANSWER),
        }
    }
}
