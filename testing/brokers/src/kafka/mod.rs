//! Apache Kafka: one process that is broker and controller (`KRaft`), on loopback.

mod builder;

use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::certificates::Certificates;
use crate::error::BrokerError;
use crate::installed::installed;
use crate::port::Port;
use crate::process::Process;
use crate::python::{OrderSummary, line_of, lines_of};

pub use builder::{Issuer, KafkaBuilder};

/// Small and quick to start; the second compiler would use up the tests' CPU for a broker that lives
/// for seconds.
const JAVA: [&str; 4] = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// A running Apache Kafka.
///
/// On its plain listener every client is a super user. With users there is a second one for SASL
/// (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, and OAUTHBEARER with unsigned tokens, or with those of an
/// [`Issuer`]), where only what was
/// allowed by [`Kafka::allow`] is allowed. With TLS there is one more of each, and the one without
/// SASL wants a client's certificate.
#[derive(Debug)]
pub struct Kafka {
    process: Option<Process>,
    folder: TempDir,
    plain: Port,
    sasl: Option<Port>,
    tls: Option<Port>,
    sasl_tls: Option<Port>,
    certificates: Option<Certificates>,
    controller: Port,
}

impl Kafka {
    /// A broker with the plain listener alone.
    ///
    /// # Errors
    ///
    /// When it is not installed, or not ready within 60 s.
    pub async fn start() -> Result<Self, BrokerError> {
        Self::builder().start().await
    }

    pub fn builder() -> KafkaBuilder {
        KafkaBuilder::default()
    }

    /// `host:port` of the plain listener.
    pub fn bootstrap(&self) -> String {
        address(&self.plain)
    }

    /// `host:port` for SASL without TLS, where there are users.
    pub fn sasl_bootstrap(&self) -> Option<String> {
        self.sasl.as_ref().map(address)
    }

    /// `host:port` for TLS with a client's certificate, where there is TLS.
    pub fn tls_bootstrap(&self) -> Option<String> {
        self.tls.as_ref().map(address)
    }

    /// `host:port` for SASL within TLS, where there are users and TLS.
    pub fn sasl_tls_bootstrap(&self) -> Option<String> {
        self.sasl_tls.as_ref().map(address)
    }

    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Sends SIGTERM, after which the broker stores its state.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    /// Starts the broker on the same ports and data.
    ///
    /// # Errors
    ///
    /// When it is not ready within 60 s.
    pub async fn restart(&mut self) -> Result<(), BrokerError> {
        self.kill().await;
        let log = self.folder.path().join("log");
        // The log of an earlier broker must not count as an answer of this one.
        drop(std::fs::remove_file(&log));
        let mut command = java()?;
        // The broker reads keys only from addresses that are listed here.
        let keys = builder::keys_url(self.folder.path());
        command.arg(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}"));
        command.arg("kafka.Kafka").arg(self.settings_file());
        let mut process = Process::start("Apache Kafka", command, &log)?;
        let port = self.plain.number();
        process
            .until(|| async {
                // The broker says so when the controller has let it in; then topics have leaders.
                let started = std::fs::read(&log).is_ok_and(|text| {
                    text.windows(STARTED.len()).any(|window| window == STARTED.as_bytes())
                });
                started && answers(port).await
            })
            .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Creates a topic with options such as `("max.message.bytes", "1000")`.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn create_topic(
        &self,
        topic: &str,
        partitions: u32,
        options: &[(&str, &str)],
    ) -> Result<(), BrokerError> {
        let options: Vec<String> =
            options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let partitions = partitions.to_string();
        let mut arguments = vec!["create", topic, partitions.as_str()];
        arguments.extend(options.iter().map(String::as_str));
        self.admin(&arguments).await
    }

    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), BrokerError> {
        self.admin(&["delete", topic]).await
    }

    /// Gives a user of SCRAM another password. Connections that are open stay open.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn set_password(&self, user: &str, password: &str) -> Result<(), BrokerError> {
        self.admin(&["password", user, password]).await.map(drop)
    }

    /// Grants a user an operation on a topic, such as `write`.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn allow(&self, user: &str, topic: &str, operation: &str) -> Result<(), BrokerError> {
        self.admin(&["allow", user, topic, operation]).await
    }

    /// Revokes that.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn deny(&self, user: &str, topic: &str, operation: &str) -> Result<(), BrokerError> {
        self.admin(&["deny", user, topic, operation]).await
    }

    /// Limits the size of the broker's files, in bytes, until it is started again: the system
    /// refuses the write, as it does on a full disk, without a separate file system, which only a
    /// privileged user could mount.
    ///
    /// # Errors
    ///
    /// When the broker does not run.
    pub fn fill_disk(&self, bytes: u64) -> Result<(), BrokerError> {
        let process = self.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let limit = Rlimit { current: Some(bytes), maximum: None };
        let failed = |said: String| BrokerError::Failed { program: "prlimit".to_owned(), said };
        let process = process.ok_or_else(|| failed("the broker does not run".to_owned()))?;
        prlimit(Some(process), Resource::Fsize, limit)
            .map(drop)
            .map_err(|error| failed(error.to_string()))
    }

    /// What the broker has written to its log since it was started.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends messages, given as key and value, with the independent client.
    ///
    /// # Errors
    ///
    /// When one was not delivered.
    pub async fn send(&self, topic: &str, messages: &[(&str, &str)]) -> Result<(), BrokerError> {
        let mut arguments = vec!["send", topic];
        arguments.extend(messages.iter().flat_map(|(key, value)| [*key, *value]));
        self.admin(&arguments).await
    }

    /// Reads topics from their beginning: with a count until this number of messages has arrived, without it
    /// until their end. Each is an object with `topic`, `partition`, `offset`, `timestamp` (ms),
    /// `key`, `headers` and `value`.
    ///
    /// # Errors
    ///
    /// When they do not come within 60 s.
    pub async fn read(
        &self,
        topics: &str,
        count: Option<usize>,
    ) -> Result<Vec<Value>, BrokerError> {
        let bootstrap = self.bootstrap();
        let count = count.map(|count| format!("--count={count}"));
        let mut arguments = vec!["--bootstrap", &bootstrap, "--topics", topics];
        arguments.extend(count.as_deref());
        lines_of("read_kafka.py", &arguments, "").await
    }

    /// Reads topics to their end and checks the order of each key's messages by `sequence`: the name
    /// of an attribute without prefix, or a JSON pointer into the body.
    ///
    /// # Errors
    ///
    /// When a message cannot be read.
    pub async fn order(&self, topics: &str, sequence: &str) -> Result<OrderSummary, BrokerError> {
        let bootstrap = self.bootstrap();
        let arguments =
            ["--bootstrap", &bootstrap, "--topics", topics, "--summary", "--sequence", sequence];
        line_of("read_kafka.py", &arguments).await
    }

    async fn admin(&self, arguments: &[&str]) -> Result<(), BrokerError> {
        let bootstrap = self.bootstrap();
        let arguments = [&["--bootstrap", &bootstrap], arguments].concat();
        lines_of::<Value>("kafka_admin.py", &arguments, "").await.map(drop)
    }

    fn settings_file(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }
}

const STARTED: &str = "Kafka Server started";

fn address(port: &Port) -> String {
    format!("127.0.0.1:{}", port.number())
}

fn java() -> Result<Command, BrokerError> {
    let mut command = Command::new("java");
    let jars = installed()?.kafka.join("libs").join("*");
    command.args(JAVA).arg("-cp").arg(jars).kill_on_drop(true);
    Ok(command)
}

/// Sends the request that any client begins with (`ApiVersions`, version 0) and waits for its answer.
///
/// <https://kafka.apache.org/protocol>
async fn answers(port: u16) -> bool {
    // Length, key 18, version 0, correlation id 7, and a client id of -1: none.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(&REQUEST).await?;
        // Length, correlation id, error code.
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    ask.await.is_ok_and(|answer| answer[4..8] == REQUEST[8..12] && answer[8..] == [0, 0])
}
