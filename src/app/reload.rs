//! Reloads the configuration file while the bridge runs.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join_all;
use tokio::task::JoinError;
use tracing::{error, info, warn};

use super::reloading_sink::ReloadingSink;
use crate::config::{self, Config, Options as _, Problem, Problems};
use crate::throughput::BudgetTask;

/// Applies changed budgets of the configuration file, and reads the secrets of sinks again. All other
/// changes need a restart.
pub struct Reloader {
    path: PathBuf,
    /// The configuration in use: the file at the start, with the budgets of the last reload.
    running: Config,
    budgets: Arc<BudgetTask>,
    sinks: Vec<Arc<ReloadingSink>>,
}

impl Reloader {
    pub fn new(
        path: PathBuf,
        running: Config,
        budgets: Arc<BudgetTask>,
        sinks: Vec<Arc<ReloadingSink>>,
    ) -> Self {
        Self { path, running, budgets, sinks }
    }

    /// Reads the file. If it has mistakes, each is logged and nothing changes.
    ///
    /// # Errors
    ///
    /// A task panicked, which is a bug.
    pub async fn reload(&mut self) -> Result<(), JoinError> {
        let path = self.path.clone();
        // Files may be on a disk that hangs.
        let new = match tokio::task::spawn_blocking(move || config::load(&path)).await? {
            Ok(new) => new,
            Err(problems) => {
                log_problems(&problems);
                return Ok(());
            }
        };
        self.running = self.running.with_budgets_of(&new);
        let changed = self.budgets.reload(&self.running);
        info!(file = %self.path.display(), budgets_changed = changed, "the configuration was read again");
        // Concurrently: each sink waits for its own writes.
        join_all(self.sinks.iter().map(|sink| sink.reload())).await;
        let others = self.running.differences(&new);
        if !others.is_empty() {
            warn!("needs a restart: {}", others.join(", "));
        }
        Ok(())
    }
}

fn log_problems(problems: &Problems) {
    for Problem { line, key, value, message, hint } in &problems.problems {
        error!(line, key, value, hint, "{message}");
    }
    let count = problems.problems.len();
    error!(
        file = problems.name,
        problems = count,
        "the configuration is invalid; nothing was changed"
    );
}
