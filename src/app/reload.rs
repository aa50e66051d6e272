//! Reads the file again while the bridge runs.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join_all;
use tokio::task::JoinError;
use tracing::{error, info, warn};

use super::reloading_sink::ReloadingSink;
use crate::config::{self, Config, Problem, Problems};
use crate::throughput::BudgetTask;

/// Takes budgets over from a file that was changed, and reads the secrets of sinks again; nothing
/// else of it is used before a restart.
pub struct Reloader {
    path: PathBuf,
    /// What runs: the file at the start, with the budgets of the last reload.
    running: Config,
    keeper: Arc<BudgetTask>,
    rotating: Vec<Arc<ReloadingSink>>,
}

impl Reloader {
    pub fn new(
        path: PathBuf,
        running: Config,
        keeper: Arc<BudgetTask>,
        rotating: Vec<Arc<ReloadingSink>>,
    ) -> Self {
        Self { path, running, keeper, rotating }
    }

    /// Reads the file now. A file with any mistake changes nothing, and every mistake is logged.
    ///
    /// # Errors
    ///
    /// A defect of the bridge.
    pub async fn reload(&mut self) -> Result<(), JoinError> {
        let path = self.path.clone();
        // Files may be on a disk that does not answer.
        let wished = match tokio::task::spawn_blocking(move || config::load(&path)).await? {
            Ok(wished) => wished,
            Err(problems) => {
                tell(&problems);
                return Ok(());
            }
        };
        self.running = self.running.with_budgets_of(&wished);
        let changed = self.keeper.reload(&self.running);
        info!(file = %self.path.display(), budgets_changed = changed, "the configuration was read again");
        // Each waits for its own writes.
        join_all(self.rotating.iter().map(|sink| sink.look())).await;
        let others = self.running.differences(&wished);
        if !others.is_empty() {
            warn!("needs a restart: {}", others.join(", "));
        }
        Ok(())
    }
}

fn tell(problems: &Problems) {
    for Problem { line, key, value, message, hint } in &problems.problems {
        error!(line, key, value, hint, "{message}");
    }
    let count = problems.problems.len();
    error!(
        file = problems.name,
        problems = count,
        "the configuration is wrong; all stays as it is"
    );
}
