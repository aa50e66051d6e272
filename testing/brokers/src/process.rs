//! One process of a broker: its log, its end by id, and a guard for when the test itself is killed.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::error::BrokerError;

/// A loaded machine with two cores took 12 s for the slowest start.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// An orderly stop writes snapshots; after this the process is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(25);
const LOG_LINES: usize = 40;

/// Kills the process whose id it was given as soon as its standard input closes, which happens when
/// the test's process ends, also by SIGKILL. Signals to the whole process group, as `timeout` sends
/// them, must not end it first.
const GUARD: &str = r#"trap '' HUP INT TERM; read -r _; kill -KILL "$1" 2>/dev/null"#;

/// A running process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    broker: &'static str,
    child: Child,
    guard: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    pub(crate) fn start(
        broker: &'static str,
        mut command: Command,
        log: &Path,
    ) -> Result<Self, BrokerError> {
        let append = |path: &Path| -> Result<File, BrokerError> {
            OpenOptions::new().create(true).append(true).open(path).map_err(|source| {
                BrokerError::File { doing: "open the log", path: path.to_owned(), source }
            })
        };
        command.stdin(Stdio::null()).stdout(append(log)?).stderr(append(log)?).kill_on_drop(true);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|source| BrokerError::Run { program, source })?;
        let id = child.id().unwrap_or_default();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &id.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| BrokerError::Run { program: "sh".to_owned(), source })?;
        Ok(Self { broker, child, guard, log: log.to_owned() })
    }

    /// The process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Polls until the broker is ready.
    pub(crate) async fn until<F>(&mut self, mut ready: impl FnMut() -> F) -> Result<(), BrokerError>
    where
        F: Future<Output = bool>,
    {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(BrokerError::Ended { broker: self.broker, log: self.log_tail() });
            }
            if timeout(READY_WITHIN, ready()).await == Ok(true) {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        let seconds = READY_WITHIN.as_secs();
        Err(BrokerError::NotReady { broker: self.broker, seconds, log: self.log_tail() })
    }

    /// Sends SIGKILL; for the process this is like a power failure.
    pub(crate) async fn kill(mut self) {
        // The guard first: while it lives, the id must be that of our child.
        end(&mut self.guard).await;
        end(&mut self.child).await;
    }

    /// SIGTERM, and SIGKILL if it does not end.
    pub(crate) async fn stop(mut self) {
        if let Some(id) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
            && kill_process(id, Signal::TERM).is_ok()
        {
            drop(timeout(STOP_WITHIN, self.child.wait()).await);
        }
        self.kill().await;
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

async fn end(child: &mut Child) {
    // It fails only if the process has ended already, which is the goal.
    drop(child.kill().await);
}

/// True if a process runs. A zombie that has not been reaped yet does not count.
pub fn alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until a process has ended; true if it ended within 10 s. What is killed when it is
/// dropped is not waited for, and takes its time on a busy machine.
pub async fn ended(id: u32) -> bool {
    let gone = async {
        while alive(id) {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.is_ok()
}
