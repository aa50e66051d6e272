//! The stand-in as a separate process, to be killed and started again.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A start takes a second at most on a loaded machine, also with 100,000 events to read.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// The line that the binary prints when it is ready.
#[derive(Debug, Clone, Deserialize)]
struct Ready {
    address: SocketAddr,
    connection_string: String,
    control: SocketAddr,
}

/// A running binary. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    binary: PathBuf,
    data: PathBuf,
    hubs: Vec<String>,
    ready: Ready,
    child: Option<Child>,
}

/// The binary of this crate, built if it is not: for the tests of other crates, which Cargo does not
/// build it for. Built as for the tests of the whole workspace, after which nothing is left to build.
pub async fn built() -> io::Result<PathBuf> {
    // Tests are in `deps` next to the binaries, in a folder named after the profile.
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent);
    let folder = folder.ok_or_else(|| io::Error::other("the test lies in no folder"))?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--locked", "--quiet", "--no-run"]);
    // A test of this crate, for which its binary is built.
    command.args(["--test", "python", "--target-dir"]).arg(folder.join(".."));
    command.args((folder.ends_with("release")).then_some("--release"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    if !command.status().await?.success() {
        return Err(io::Error::other("the stand-in could not be built"));
    }
    Ok(folder.join(env!("CARGO_PKG_NAME")))
}

impl Process {
    /// Starts a binary on a folder, with hubs as `name=partitions`, and waits until it serves.
    pub async fn start(binary: &Path, data: &Path, hubs: &[&str]) -> io::Result<Self> {
        let hubs: Vec<String> = hubs.iter().map(|&hub| hub.to_owned()).collect();
        let (child, ready) = spawn(binary, data, &hubs, [0, 0]).await?;
        let (binary, data) = (binary.to_owned(), data.to_owned());
        Ok(Self { binary, data, hubs, ready, child: Some(child) })
    }

    /// The connection string for all hubs.
    pub fn connection_string(&self) -> &str {
        &self.ready.connection_string
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub async fn kill(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// Starts it again on the same folder and ports.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.kill().await?;
        let ports = [self.ready.address.port(), self.ready.control.port()];
        let (child, ready) = spawn(&self.binary, &self.data, &self.hubs, ports).await?;
        (self.child, self.ready) = (Some(child), ready);
        Ok(())
    }

    /// The process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Sends one line to the control port and returns the answer.
    pub async fn control(&self, command: &Value) -> io::Result<Value> {
        let mut stream = TcpStream::connect(self.ready.control).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    }
}

async fn spawn(
    binary: &Path,
    data: &Path,
    hubs: &[String],
    [port, control]: [u16; 2],
) -> io::Result<(Child, Ready)> {
    let mut command = Command::new(binary);
    command.arg("--data").arg(data);
    command.args(["--port", &port.to_string(), "--control-port", &control.to_string()]);
    for hub in hubs {
        command.args(["--hub", hub]);
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    timeout(READY_WITHIN, stdout.read_line(&mut line)).await.map_err(io::Error::other)??;
    Ok((child, serde_json::from_str(&line)?))
}
