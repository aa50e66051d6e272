//! Finds the brokers that `tests/scripts/brokers.sh` installed.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::error::BrokerError;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scripts/brokers.sh");

/// The paths of everything that a test starts.
#[derive(Clone, Debug)]
pub struct Installed {
    /// A folder whose `libs` hold Apache Kafka's jars.
    pub kafka: PathBuf,
    /// A folder whose `sbin` holds `rabbitmq-server`.
    pub rabbitmq: PathBuf,
    /// A Python that can import the independent clients.
    pub python: PathBuf,
}

/// Runs `tests/scripts/brokers.sh --check` once per process.
///
/// # Errors
///
/// When something is missing; the message says how to install it.
pub fn installed() -> Result<&'static Installed, BrokerError> {
    static FOUND: OnceLock<Result<Installed, String>> = OnceLock::new();
    FOUND
        .get_or_init(find)
        .as_ref()
        .map_err(|said| BrokerError::NotInstalled { said: said.clone() })
}

fn find() -> Result<Installed, String> {
    let output = Command::new(SCRIPT)
        .arg("--check")
        .output()
        .map_err(|error| format!("{SCRIPT}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(PathBuf::from).ok_or(format!("{SCRIPT} did not print {name}=, but {printed}"))
    };
    Ok(Installed { kafka: path("kafka")?, rabbitmq: path("rabbitmq")?, python: path("python")? })
}
