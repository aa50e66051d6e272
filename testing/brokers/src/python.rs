//! The independent clients: Python scripts that print JSON lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::BrokerError;
use crate::installed::installed;

/// What `--summary` prints: what a consumer may rely on when messages can come again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct OrderSummary {
    pub messages: u64,
    /// Different pairs of key and sequence.
    pub distinct: u64,
    pub duplicates: u64,
    pub keys: u64,
    /// Messages that came for the first time after a later one of their key.
    pub out_of_order: u64,
    /// Keys whose last message is not their latest.
    pub ends_stale: u64,
    /// Messages without a sequence.
    pub unnumbered: u64,
    /// Some of those out of order: key, latest sequence before, sequence.
    pub examples: Vec<Value>,
}

/// How attributes stand in the messages given to [`cloud_events`].
#[derive(Clone, Copy, Debug)]
pub enum Binding {
    Kafka,
    Http,
    /// Headers `ce-...`, of `RabbitMQ`'s own convention.
    RabbitMq,
    /// Headers `cloudEvents_...`, of AMQP 1.0.
    Amqp,
}

/// A `CloudEvent` as the `cloudevents` package understands it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct CloudEvent {
    pub attributes: BTreeMap<String, Value>,
    pub data: Value,
}

/// Parses messages with the `cloudevents` package: those that a reader printed, or for HTTP objects
/// with `headers` and `body`.
///
/// # Errors
///
/// When the package does not take one of them.
pub async fn cloud_events(
    binding: Binding,
    messages: &[Value],
) -> Result<Vec<CloudEvent>, BrokerError> {
    let binding = match binding {
        Binding::Kafka => "kafka",
        Binding::Http => "http",
        Binding::RabbitMq => "rabbitmq",
        Binding::Amqp => "amqp",
    };
    let lines: String =
        messages.iter().flat_map(|message| [message.to_string(), "\n".to_owned()]).collect();
    lines_of("cloudevents_check.py", &[binding], &lines).await
}

/// Runs a Python script by its path, gives it `input`, and returns what it prints. It can import the
/// clients, and `messages.py` if it is in the same folder.
///
/// # Errors
///
/// When the script fails, with what it says.
pub async fn script(path: &Path, arguments: &[&str], input: &str) -> Result<String, BrokerError> {
    let program = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let run = |source| BrokerError::Run { program: program.clone(), source };
    let mut child = Command::new(&installed()?.python)
        // Compiled modules would be written into the checkout.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(run)?;
    let stdin = child.stdin.take();
    let (written, output) = tokio::join!(
        async {
            match stdin {
                Some(mut stdin) => stdin.write_all(input.as_bytes()).await,
                None => Ok(()),
            }
        },
        child.wait_with_output()
    );
    let output = output.map_err(run)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(BrokerError::Failed { program, said });
    }
    written.map_err(run)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a script of the `python` folder and parses each line that it prints.
pub(crate) async fn lines_of<T: DeserializeOwned>(
    name: &str,
    arguments: &[&str],
    input: &str,
) -> Result<Vec<T>, BrokerError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    let printed = script(&path, arguments, input).await?;
    let parsed: Result<Vec<T>, _> = printed.lines().map(serde_json::from_str).collect();
    parsed
        .map_err(|error| BrokerError::Failed { program: name.to_owned(), said: error.to_string() })
}

/// The only line of a script that prints one.
pub(crate) async fn line_of<T: DeserializeOwned>(
    name: &str,
    arguments: &[&str],
) -> Result<T, BrokerError> {
    lines_of(name, arguments, "").await?.pop().ok_or_else(|| BrokerError::Failed {
        program: name.to_owned(),
        said: "it printed nothing".to_owned(),
    })
}
