//! The bridge as a process.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::{Failure, PATIENCE};

/// A bridge that runs; it is killed when dropped.
pub(crate) struct Bridge(Child);

impl Bridge {
    /// Its output goes where the demo's goes: on a terminal it draws its progress there.
    pub(crate) fn start(program: &Path, config: &Path, more: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(config).args(more);
        let started = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        let started =
            started.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        Ok(Self(started))
    }

    /// Its exit status, if it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.0.try_wait()?)
    }

    /// Asks it, by its process id, to stop.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        let id = self.0.id().ok_or("the bridge ended by itself")?;
        // The shell's own `kill`: not every small system has the program.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {id}")).status().await?;
        if !sent.success() {
            return Err("cannot stop the bridge".into());
        }
        self.ended().await
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(mut self) -> Result<(), Failure> {
        let status = tokio::time::timeout(PATIENCE, self.0.wait()).await;
        let status = status.map_err(|_| not_within("ended", PATIENCE))??;
        if status.success() { Ok(()) } else { Err(format!("the bridge failed: {status}").into()) }
    }
}

/// What has taken too long.
pub(crate) fn not_within(done: &str, limit: Duration) -> Failure {
    format!("not {done} within {} s", limit.as_secs()).into()
}
