//! Redis: one server, or a cluster of servers, on loopback.

use std::path::Path;

use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::certificates::Certificates;
use crate::error::BrokerError;
use crate::port::Port;
use crate::process::Process;
use crate::python::{OrderSummary, line_of, lines_of};

/// A running server, which answers everybody until a user or a password is set.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    folder: TempDir,
    port: Port,
    /// Of a node of a cluster, for the other nodes.
    bus: Option<Port>,
    options: Vec<String>,
    certificates: Option<Certificates>,
}

/// The settings of a [`Redis`] to start.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    options: Vec<String>,
    tls: bool,
    is_node: bool,
}

/// A value that a key holds.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct Stored {
    pub key: String,
    /// A text, or for a hash its fields.
    pub value: Value,
    /// In milliseconds; -1 without an end.
    pub ttl: i64,
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct Entry {
    pub id: String,
    pub fields: Map<String, Value>,
}

impl RedisBuilder {
    /// An option of `redis.conf`.
    #[must_use]
    pub fn option(mut self, name: &str, values: &[&str]) -> Self {
        self.options.push(format!("--{name}"));
        self.options.extend(values.iter().map(ToString::to_string));
        self
    }

    /// TLS only; see [`Redis::certificates`]. The server asks for a client's certificate.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// A node of a cluster, which has no slots yet.
    #[must_use]
    pub fn node(mut self) -> Self {
        self.is_node = true;
        self
    }

    /// # Errors
    ///
    /// Redis is not installed, or not ready within 60 s.
    pub async fn start(self) -> Result<Redis, BrokerError> {
        let folder = TempDir::new().map_err(|source| BrokerError::File {
            doing: "make a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let certificates = self.tls.then(|| Certificates::write(folder.path())).transpose()?;
        let port = Port::free()?;
        let bus = self.is_node.then(Port::free).transpose()?;
        let mut redis =
            Redis { process: None, folder, port, bus, options: self.options, certificates };
        redis.restart().await?;
        Ok(redis)
    }
}

impl Redis {
    /// A server that keeps what it has acknowledged.
    ///
    /// # Errors
    ///
    /// Redis is not installed, or not ready within 60 s.
    pub async fn start() -> Result<Self, BrokerError> {
        Self::builder().start().await
    }

    /// A server that writes each command to disk before it answers.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default().option("appendonly", &["yes"]).option("appendfsync", &["always"])
    }

    /// A cluster of `nodes` primaries, each with its share of the slots.
    ///
    /// # Errors
    ///
    /// Redis is not installed, or the cluster not ready within 60 s.
    pub async fn cluster(nodes: usize) -> Result<Vec<Self>, BrokerError> {
        let mut cluster = Vec::with_capacity(nodes);
        for _ in 0..nodes {
            cluster.push(Self::builder().node().start().await?);
        }
        let addresses: Vec<String> =
            cluster.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", "0", "--cluster-yes"]);
        if let Some(first) = cluster.first() {
            first.cli(&arguments).await?;
        }
        for node in &mut cluster {
            let port = node.port();
            if let Some(process) = node.process.as_mut() {
                process.until(|| cluster_is_ready(port)).await?;
            }
        }
        Ok(cluster)
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// The folder with the server's data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// SIGTERM, after which the server writes its data to disk.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    /// Starts the server on the same port and data, and waits until it has loaded them.
    ///
    /// # Errors
    ///
    /// It is not ready within 60 s.
    pub async fn restart(&mut self) -> Result<(), BrokerError> {
        self.restart_without_waiting().await?;
        let ping = self.arguments();
        if let Some(process) = self.process.as_mut() {
            process.until(|| answers(ping.clone())).await?;
        }
        Ok(())
    }

    /// Starts the server on the same port and data.
    ///
    /// # Errors
    ///
    /// Redis is not installed.
    pub async fn restart_without_waiting(&mut self) -> Result<(), BrokerError> {
        self.kill().await;
        let port = self.port().to_string();
        let folder = self.folder.path();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
        match &self.certificates {
            None => command.args(["--port", &port]),
            Some(files) => command
                .args(["--port", "0", "--tls-port", &port, "--tls-ca-cert-file"])
                .arg(&files.authority)
                .arg("--tls-cert-file")
                .arg(&files.server)
                .arg("--tls-key-file")
                .arg(&files.server_key),
        };
        if let Some(bus) = &self.bus {
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
            command.args(["--cluster-port", &bus.number().to_string()]);
        }
        command.args(&self.options);
        self.process = Some(Process::start("Redis", command, &folder.join("log"))?);
        Ok(())
    }

    /// Runs `redis-cli` and returns what it prints.
    ///
    /// # Errors
    ///
    /// It fails, or the server answers with an error.
    pub async fn cli(&self, arguments: &[&str]) -> Result<String, BrokerError> {
        self.run(arguments, "").await
    }

    /// As [`Redis::cli`], with one command in each line of `input`.
    ///
    /// # Errors
    ///
    /// It fails, or the server answers a command with an error.
    pub async fn cli_lines(&self, input: &str) -> Result<String, BrokerError> {
        self.run(&[], input).await
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<String, BrokerError> {
        let run = |source| BrokerError::Run { program: "redis-cli".to_owned(), source };
        let mut command = Command::new("redis-cli");
        command.args(self.arguments()).arg("-e").args(arguments).kill_on_drop(true);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().map_err(run)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await.map_err(run)?;
        }
        let output = child.wait_with_output().await.map_err(run)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        let said = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
        Err(BrokerError::Failed { program: "redis-cli".to_owned(), said })
    }

    /// Address and certificates for `redis-cli`.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-p".to_owned(), self.port().to_string()];
        if let Some(files) = &self.certificates {
            arguments.push("--tls".to_owned());
            let files = [
                ("--cacert", &files.authority),
                ("--cert", &files.client),
                ("--key", &files.client_key),
            ];
            for (option, file) in files {
                arguments.extend([option.to_owned(), file.display().to_string()]);
            }
        }
        arguments
    }

    /// The values of all keys that match a pattern, read by an independent client.
    ///
    /// # Errors
    ///
    /// A key cannot be read.
    pub async fn values(&self, pattern: &str) -> Result<Vec<Stored>, BrokerError> {
        lines_of("read_redis.py", &[&self.port().to_string(), "values", pattern], "").await
    }

    /// As [`Redis::values`], and removes the keys.
    ///
    /// # Errors
    ///
    /// A key cannot be read.
    pub async fn take(&self, pattern: &str) -> Result<Vec<Stored>, BrokerError> {
        lines_of("read_redis.py", &[&self.port().to_string(), "take", pattern], "").await
    }

    /// The entries of a stream after an id, read by an independent client.
    ///
    /// # Errors
    ///
    /// The key holds no stream.
    pub async fn entries(&self, stream: &str, after: &str) -> Result<Vec<Entry>, BrokerError> {
        let port = self.port().to_string();
        lines_of("read_redis.py", &[&port, "entries", stream, after], "").await
    }

    /// Checks the order of the entries of a stream by the fields `subject` and `sequence`.
    ///
    /// # Errors
    ///
    /// The key holds no stream.
    pub async fn order(&self, stream: &str) -> Result<OrderSummary, BrokerError> {
        line_of("read_redis.py", &[&self.port().to_string(), "order", stream]).await
    }
}

async fn answers(mut arguments: Vec<String>) -> bool {
    arguments.push("PING".to_owned());
    let output = Command::new("redis-cli").args(arguments).output().await;
    // A server with a password answers that it wants one.
    output.is_ok_and(|output| {
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.starts_with("PONG") || printed.starts_with("NOAUTH")
    })
}

async fn cluster_is_ready(port: u16) -> bool {
    let port = port.to_string();
    let output = Command::new("redis-cli").args(["-p", &port, "CLUSTER", "INFO"]).output().await;
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("cluster_state:ok"))
}
