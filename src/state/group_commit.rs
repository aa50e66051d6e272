//! One writer for many: jobs that arrive during a commit share the next one.

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Collects jobs while a commit is under way, and hands all of them to the next commit.
///
/// A state disk takes as long to commit one position as to commit hundreds: with many feed ranges and
/// sinks on a slow disk, each waits for two commits at most.
#[derive(Debug)]
pub struct GroupCommit<J> {
    pending: Mutex<Vec<J>>,
    /// Held by the task that commits for all.
    turn: tokio::sync::Mutex<()>,
}

impl<J> Default for GroupCommit<J> {
    fn default() -> Self {
        Self { pending: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<J> GroupCommit<J> {
    /// Adds `job` and waits for its answer, which `commit` sends for each job that it is given. Runs
    /// `commit` for all pending jobs if no other task does. `None` if a commit dropped the job.
    pub async fn submit<T, F>(
        &self,
        job: J,
        mut answer: oneshot::Receiver<T>,
        commit: impl FnOnce(Vec<J>) -> F,
    ) -> Option<T>
    where
        F: Future<Output = ()>,
    {
        self.pending().push(job);
        let turn = tokio::select! {
            biased;
            answer = &mut answer => return answer.ok(),
            turn = self.turn.lock() => turn,
        };
        let jobs = std::mem::take(&mut *self.pending());
        // Without jobs, another task's commit has this one; its answer is there or about to come.
        if !jobs.is_empty() {
            commit(jobs).await;
        }
        drop(turn);
        answer.await.ok()
    }

    /// Jobs that wait for the next commit.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.pending().len()
    }

    /// A commit is under way, and nothing waits for the next one.
    #[cfg(test)]
    pub(super) fn is_committing(&self) -> bool {
        self.turn.try_lock().is_err() && self.waiting() == 0
    }

    fn pending(&self) -> parking_lot::MutexGuard<'_, Vec<J>> {
        self.pending.lock()
    }
}
