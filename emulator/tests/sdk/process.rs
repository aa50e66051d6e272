//! The processes of a test: the local accounts and the clients in other languages.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::Result;

/// Far longer than either needs, so that a hanging process fails the test instead of stopping it.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(180);

/// One process with one account, as a person would start it.
pub(crate) struct LocalAccount {
    child: Child,
    ready: Value,
}

impl LocalAccount {
    /// Starts the binary and reads the line that it prints when it is ready.
    pub(crate) async fn start() -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cosmos-bridge-emulator"))
            .args(["--account", "interop"])
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

    /// What a client must know: the endpoint, the key and where the management API is.
    pub(crate) fn given(&self) -> [(&'static str, Value); 3] {
        let account = &self.ready["accounts"][0];
        [
            ("endpoint", account["endpoint"].clone()),
            ("key", account["key"].clone()),
            ("management", self.ready["management"].clone()),
        ]
    }

    /// The path of a container in the management API.
    pub(crate) fn container(&self, database: &str, id: &str) -> String {
        format!("/accounts/interop/databases/{database}/containers/{id}")
    }

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
}

impl Clients {
    /// Asks `tests/clients.sh`, which says what to install when something is missing.
    pub(crate) async fn find() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients.sh");
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
        })
    }

    pub(crate) async fn python(&self, script: &str, given: &Value) -> Result<Value> {
        report(Command::new(&self.python).arg("-B").arg(here(script)), given).await
    }

    pub(crate) async fn node(&self, script: &str, given: &Value) -> Result<Value> {
        report(Command::new(&self.node).arg(here(script)).arg(&self.node_modules), given).await
    }
}

fn here(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script)
}

/// Runs a client: JSON in, a JSON report out.
async fn report(command: &mut Command, given: &Value) -> Result<Value> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    stdin.write_all(given.to_string().as_bytes()).await?;
    drop(stdin);
    let done = timeout(CLIENT_TIMEOUT, child.wait_with_output()).await??;
    if !done.status.success() {
        let complaint = String::from_utf8_lossy(&done.stderr);
        return Err(format!("a client failed with {}:\n{complaint}", done.status).into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}
