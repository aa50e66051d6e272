//! The local account and the bridge, each as a separate release binary.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::Failure;

/// Builds a package by itself: features are unified within one build, and the bridge must be the
/// one that is released.
pub(super) async fn build(package: &str) -> Result<(), Failure> {
    // Not the cargo that built this program: that bypasses rustup, and a dependency may pin its own toolchain.
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--release", "--locked", "--package", package]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    if command.status().await?.success() {
        return Ok(());
    }
    Err(format!("{package} could not be built").into())
}

/// In the folder of this binary.
fn binary(name: &str) -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Backtraces are expensive in the SDK, and nothing leaves loopback here.
fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_remove("RUST_BACKTRACE")
        .env("RUST_LIB_BACKTRACE", "0")
        .env("COSMOS_DISABLE_IMDS", "1")
        .kill_on_drop(true);
    command
}

/// A local account with one container, keyed by `/customerId`, which keeps every version of its documents. It is
/// stopped when this value is dropped.
pub(super) struct Account {
    pub(super) endpoint: String,
    pub(super) key: String,
    /// The address that tells what requests cost.
    pub(super) management: String,
    _child: Child,
}

#[derive(Deserialize)]
struct Ready {
    management: String,
    accounts: Vec<ReadyAccount>,
}

#[derive(Deserialize)]
struct ReadyAccount {
    endpoint: String,
    key: String,
}

impl Account {
    /// The container is named as in `shop/orders`, has this number of feed ranges, and begins with this number of
    /// documents.
    pub(super) async fn start(
        container: &str,
        ranges: u32,
        documents: u64,
    ) -> Result<Self, Failure> {
        let mut command = command(&binary("cosmos-bridge-emulator")?);
        command
            .args(["--account", "local", "--until-stdin-closes", "--container"])
            .arg(format!(
                "local/{container}=/customerId;partitions={ranges};retention=86400;images=all"
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if documents > 0 {
            let orders = format!("local/{container}={documents},bytes=1024,customers=1000");
            command.args(["--seed-orders", &orders]);
        }
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let mut ready: Ready = serde_json::from_str(&line)?;
        let ReadyAccount { endpoint, key } = ready.accounts.pop().ok_or("no account")?;
        Ok(Self { endpoint, key, management: ready.management, _child: child })
    }
}

/// A running bridge, killed when this value is dropped.
pub(super) struct Bridge {
    pub(super) child: Child,
    folder: TempDir,
}

impl Bridge {
    /// The output so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Starts it with a fresh state. `secrets` are files next to the configuration.
pub(super) fn bridge(
    configuration: &str,
    secrets: &[(&str, &str)],
    until_caught_up: bool,
) -> Result<Bridge, Failure> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.toml");
    for (name, secret) in secrets {
        std::fs::write(folder.path().join(name), secret)?;
    }
    std::fs::write(&config, configuration)?;
    let mut command = command(&binary("cosmos-bridge")?);
    command.arg("run").arg("--config").arg(&config);
    if until_caught_up {
        command.arg("--until-caught-up");
    }
    let log = std::fs::File::create(folder.path().join("log"))?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(Bridge { child, folder })
}
