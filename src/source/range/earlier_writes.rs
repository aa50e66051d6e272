//! Writes of a range that had not returned when it was divided.
//!
//! A write that does not return must not hold up the parts of its range, and no two writes may hold the
//! same document. So the parts are read immediately, and the sink of such a write gets nothing of them
//! until the write has returned.

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::done::Done;

/// Writes that are under way while their range has ended.
pub(in crate::source) struct UnfinishedWrites {
    tasks: JoinSet<Done>,
    /// By sink: how many, and what is cancelled when they have ended.
    sinks: Vec<(usize, CancellationToken)>,
}

impl UnfinishedWrites {
    /// `counts`: by sink, how many of the tasks are its own.
    pub(super) fn new(tasks: JoinSet<Done>, counts: impl Iterator<Item = usize>) -> Self {
        Self { tasks, sinks: counts.map(|count| (count, CancellationToken::new())).collect() }
    }

    /// What the parts of the range have to wait for, in addition to what the range waited for.
    pub(in crate::source) fn follow(&self, earlier: &EarlierWrites) -> EarlierWrites {
        let mut all = earlier.clone();
        all.0.resize(self.sinks.len(), Vec::new());
        for (tokens, (count, ended)) in all.0.iter_mut().zip(&self.sinks) {
            tokens.retain(|token| !token.is_cancelled());
            if *count > 0 {
                tokens.push(ended.clone());
            }
        }
        all
    }

    /// Waits until all of them have ended. What they delivered is delivered again.
    pub(in crate::source) async fn join(mut self) -> Result<(), JoinError> {
        while let Some(done) = self.tasks.join_next().await {
            if let Some((count, ended)) = done?.sink().and_then(|sink| self.sinks.get_mut(sink)) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ended.cancel();
                }
            }
        }
        Ok(())
    }
}

/// By sink: cancelled when the writes of earlier ranges have ended.
#[derive(Clone, Debug, Default)]
pub(in crate::source) struct EarlierWrites(Vec<Vec<CancellationToken>>);

impl EarlierWrites {
    /// The tokens that a sink waits for.
    pub(super) fn of(&self, sink: usize) -> Vec<CancellationToken> {
        self.0.get(sink).cloned().unwrap_or_default()
    }
}
