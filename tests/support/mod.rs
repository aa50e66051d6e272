//! A bridge as a process between two local accounts.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod admin;
pub(crate) mod evidence;
pub(crate) mod history;
pub(crate) mod ledger;
pub(crate) mod machine;
pub(crate) mod planted;
pub(crate) mod spending;
pub(crate) mod state;
pub(crate) mod system_calls;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{LocalAccounts, Options};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The timeout of every wait: longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Two local accounts, `source` and `target`, and a folder for the bridge's files.
pub(crate) struct Pair {
    pub(crate) accounts: LocalAccounts,
    pub(crate) folder: tempfile::TempDir,
}

impl Pair {
    /// `source/shop/orders` and `target/shop/copies` with these key paths and physical ranges.
    pub(crate) async fn start(source: &ContainerSettings, target: &ContainerSettings) -> Self {
        Self::start_with(Options::default(), source, target).await
    }

    /// The same with options for the accounts, except for their names.
    pub(crate) async fn start_with(
        options: Options,
        source: &ContainerSettings,
        target: &ContainerSettings,
    ) -> Self {
        let names = ["source", "target"].map(str::to_owned).into();
        let options = Options { accounts: names, ..options };
        let accounts = LocalAccounts::start_with(options).await.unwrap();
        accounts.create_container("source", "shop", "orders", source).await.unwrap();
        accounts.create_container("target", "shop", "copies", target).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        for account in ["source", "target"] {
            let key = folder.path().join(format!("{account}.key"));
            std::fs::write(key, accounts.key(account)).unwrap();
        }
        Self { accounts, folder }
    }

    /// Account tables for a configuration file.
    pub(crate) fn account_tables(&self) -> String {
        ["source", "target"]
            .map(|account| {
                format!(
                    "[accounts.{account}]\nendpoint = \"{}\"\nkey = {{ file = \"{account}.key\" }}\n",
                    self.accounts.endpoint(account).trim_end_matches('/')
                )
            })
            .concat()
    }

    /// Writes `config.toml`: the accounts, one sink `archive`, one pipeline `orders`.
    ///
    /// `sink`, `pipeline`, `source` and `route` are lines added to their tables; `source` replaces
    /// mode and start when it names them.
    pub(crate) fn configure(
        &self,
        sink: &str,
        pipeline: &str,
        source: &str,
        route: &str,
    ) -> PathBuf {
        let default = |key: &str, line: &str| {
            if source.lines().any(|l| l.trim_start().starts_with(key)) {
                String::new()
            } else {
                format!("{line}\n")
            }
        };
        let mode = default("mode", "mode = \"latest-version\"");
        let start = default("start", "start = \"beginning\"");
        let sinks = format!(
            "[sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\n\
             container = \"copies\"\n{sink}\n"
        );
        let source = format!("{mode}{start}{source}");
        self.configure_sinks(&sinks, pipeline, &source, &format!("to = \"archive\"\n{route}\n"))
    }

    /// Writes `config.toml`: the accounts, these sinks, one pipeline `orders`. `routes` is the first
    /// route's lines, with the headers of those that follow.
    pub(crate) fn configure_sinks(
        &self,
        sinks: &str,
        pipeline: &str,
        source: &str,
        routes: &str,
    ) -> PathBuf {
        let text = format!(
            "{accounts}
{sinks}
[pipelines.orders]
{pipeline}
[pipelines.orders.source]
account = \"source\"
database = \"shop\"
container = \"orders\"
{source}
[[pipelines.orders.routes]]
{routes}
",
            accounts = self.account_tables()
        );
        let path = self.folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// True if source and target hold the same documents.
    pub(crate) fn is_equal(&self) -> bool {
        let source = self.accounts.checksum("source", "shop", "orders").unwrap();
        let target = self.accounts.checksum("target", "shop", "copies").unwrap();
        source == target
    }
}

/// The level at which the bridge and its libraries log everything.
pub(crate) const MOST_VERBOSE: &str = "trace,azure_core=trace,azure_data_cosmos=trace,\
    azure_data_cosmos_driver=trace,hyper=trace,h2=trace,reqwest=trace,rustls=trace";

/// A running bridge. When it is dropped it is killed, its output is searched for planted texts, and its ledgers have
/// to balance.
pub(crate) struct Bridge {
    child: Child,
    config: PathBuf,
    environment: Vec<(String, String)>,
    log: PathBuf,
    /// The ledgers do not have to balance: a test made that so.
    is_unbalanced: bool,
}

/// How a bridge ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl Bridge {
    /// Starts the real binary; its output goes to `bridge.log` next to the configuration. It logs at the most
    /// verbose level unless the configuration sets one.
    pub(crate) fn start(config: &Path, arguments: &[&str]) -> Self {
        Self::start_in(config, arguments, &[])
    }

    /// The same, with additional environment variables.
    pub(crate) fn start_in(
        config: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cosmos-bridge"));
        command.args(arguments).arg("--config").arg(config);
        log_everything(config);
        Self::spawn(command, config, environment)
    }

    /// The same, with the standard output in this file. It contains data and is not searched.
    pub(crate) fn start_piped(config: &Path, arguments: &[&str], data: std::fs::File) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cosmos-bridge"));
        command.args(arguments).arg("--config").arg(config).stdout(data);
        log_everything(config);
        Self::launch(command, config, &[])
    }

    /// Starts a bridge with a given command.
    pub(crate) fn spawn(
        mut command: Command,
        config: &Path,
        environment: &[(String, String)],
    ) -> Self {
        command.stdout(log_of(config));
        Self::launch(command, config, environment)
    }

    fn launch(mut command: Command, config: &Path, environment: &[(String, String)]) -> Self {
        planted::plant_secrets(config, environment);
        let child = command
            .env("RUST_LIB_BACKTRACE", "0")
            .env("COSMOS_DISABLE_IMDS", "1")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(log_of(config))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = config.with_file_name("bridge.log");
        let (config, environment) = (config.to_owned(), environment.to_vec());
        Self { child, config, environment, log, is_unbalanced: false }
    }

    /// Its ledgers do not have to balance.
    pub(crate) fn unbalanced(mut self) -> Self {
        self.is_unbalanced = true;
        self
    }

    /// `run` with `--until-caught-up`, to its end.
    pub(crate) async fn catch_up(config: &Path) -> Ended {
        Self::start(config, &["run", "--until-caught-up"]).ended().await
    }

    pub(crate) async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let log = self.log();
        let status = status.unwrap_or_else(|_| panic!("still running:\n{log}")).unwrap();
        Ended { status, log }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends SIGKILL and waits for the end of the process.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends SIGTERM; `ended` returns the result.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Secrets may have been rotated since the start.
            planted::plant_secrets(&self.config, &self.environment);
            let log = self.log();
            planted::search("the log", &log);
            if !self.is_unbalanced {
                ledger::must_balance(&self.config, &log);
            }
        }
    }
}

fn log_of(config: &Path) -> std::fs::File {
    let log = config.with_file_name("bridge.log");
    std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap()
}

/// Appends the most verbose level to a configuration without a log table, so that line numbers stay the same.
fn log_everything(config: &Path) {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    if text.parse::<toml::Table>().is_ok_and(|table| !table.contains_key("log")) {
        let more = format!("\n[log]\nlevel = \"{MOST_VERBOSE}\"\n");
        std::fs::write(config, text + &more).unwrap();
    }
}

/// Waits until a condition holds; fails after [`PATIENCE`].
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
