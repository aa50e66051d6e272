//! The processes of a test: the local accounts and the clients in other languages.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Far longer than either needs, so that a hanging process fails the test instead of stopping it.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const CLIENT_TIMEOUT: Duration = Duration::from_mins(3);

/// The binary, as a person would start it.
pub(crate) struct LocalProcess {
    child: Child,
    ready: Value,
}

impl LocalProcess {
    /// Starts the binary and reads the line that it prints when it is ready.
    pub(crate) async fn start(arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cosmos-bridge-emulator"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        timeout(START_TIMEOUT, BufReader::new(stdout).read_line(&mut line)).await??;
        let ready = serde_json::from_str(&line)?;
        Ok(Self { child, ready })
    }

    /// A property of an account: its `endpoint` or its `key`.
    pub(crate) fn account(&self, index: usize, property: &str) -> String {
        self.ready["accounts"][index][property].as_str().unwrap_or_default().to_owned()
    }

    /// The address of something in the management API; of the API itself for an empty path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.ready["management"].as_str().unwrap_or_default())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// Where the official SDKs of other languages are installed.
pub(crate) struct Clients {
    python: PathBuf,
    node: PathBuf,
    node_modules: PathBuf,
    java: PathBuf,
    java_classpath: PathBuf,
    go_scenario: PathBuf,
}

impl Clients {
    /// Asks `tests/scripts/clients.sh`, which says what to install when something is missing.
    pub(crate) async fn find() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts/clients.sh");
        let found = Command::new(script).arg("--check").output().await?;
        if !found.status.success() {
            return Err(String::from_utf8_lossy(&found.stderr).into());
        }
        let text = String::from_utf8(found.stdout)?;
        let path = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(found, _)| *found == name);
            found.map(|(_, path)| PathBuf::from(path)).ok_or(format!("no {name} in its answer"))
        };
        Ok(Self {
            python: path("python")?,
            node: path("node")?,
            node_modules: path("node_modules")?,
            java: path("java")?,
            java_classpath: path("java_classpath")?,
            go_scenario: path("go_scenario")?,
        })
    }

    /// A Python script of this repository, by its path from the crate.
    pub(crate) fn python(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
        command
    }

    /// A JavaScript file; its argument is the folder of the SDK.
    pub(crate) fn node(&self, script: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).arg(&self.node_modules);
        command
    }

    /// A Java class of `tests/java`. The SDK talks to an endpoint without TLS only with an option for it.
    pub(crate) fn java(&self, class: &str) -> Command {
        let mut command = Command::new(&self.java);
        command
            .arg("-DCOSMOS.HTTP_CONNECTION_WITHOUT_TLS_ALLOWED=true")
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
            .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(&self.java_classpath)
            .arg(class);
        command
    }

    pub(crate) fn go(&self) -> Command {
        Command::new(&self.go_scenario)
    }
}

/// Runs a client: text in, and what it printed, as JSON, with its exit code.
pub(crate) async fn run(command: &mut Command, input: &str) -> Result<(Value, Option<i32>)> {
    run_within(CLIENT_TIMEOUT, command, input).await
}

pub(crate) async fn run_within(
    limit: Duration,
    command: &mut Command,
    input: &str,
) -> Result<(Value, Option<i32>)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let done = timeout(limit, child.wait_with_output()).await??;
    let printed = serde_json::from_slice(&done.stdout).map_err(|_| {
        let complaint = String::from_utf8_lossy(&done.stderr);
        format!("a client ended with {} and printed no JSON:\n{complaint}", done.status)
    })?;
    Ok((printed, done.status.code()))
}
