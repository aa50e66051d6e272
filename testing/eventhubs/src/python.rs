//! The official Python client, as an independent producer and consumer.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// The checkout, two folders above this crate.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The interpreter with the pinned clients, as `tests/scripts/brokers.sh` installed it. Without it there is
/// an error that says what to run, never a skip.
pub async fn interpreter() -> io::Result<PathBuf> {
    let script = checkout().join("tests/scripts/brokers.sh");
    let mut command = Command::new(&script);
    let output = command.arg("--check").stdin(Stdio::null()).output().await?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let python = printed.lines().find_map(|line| line.strip_prefix("python="));
    python.map(PathBuf::from).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!(
            "no Python with azure-eventhub, run tests/scripts/brokers.sh: {said}"
        ))
    })
}

/// The path of a script in this crate's `python` folder.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// Runs a script, by its name in the `python` folder or by an absolute path, and returns its output.
pub async fn run(name: &str, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(interpreter().await?);
    // Compiled modules would be written into the checkout.
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script(name))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(io::Error::other);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {said}", output.status)))
}

/// The events that `read_hub.py` reads, one JSON object each, or its summary as the only one.
pub async fn read(connection: &str, hub: &str, options: &[&str]) -> io::Result<Vec<Value>> {
    let arguments = [&[connection, hub], options].concat();
    let printed = run("read_hub.py", &arguments).await?;
    let lines = printed.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other));
    lines.collect()
}
