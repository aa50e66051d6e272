//! `RabbitMQ`: one node with its own `epmd`, on loopback.

mod builder;

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

pub use builder::RabbitBuilder;

/// Schedulers that spin while they wait take the CPU from what is tested.
const ERLANG: &str = "-kernel inet_dist_use_interface {127,0,0,1} \
    +sbwt none +sbwtdcpu none +sbwtdio none";

/// The password of the user `guest`, which a log can be searched for.
pub const GUEST_PASSWORD: &str = "planted-guest-5Vn8Jd";

/// A running `RabbitMQ` with the user `guest`, who may do everything in the virtual host `/`.
#[derive(Debug)]
pub struct Rabbit {
    // The node before its epmd: fields are dropped in this order.
    process: Option<Process>,
    epmd: Process,
    folder: TempDir,
    port: Port,
    tls: Option<Port>,
    distribution: Port,
    epmd_port: Port,
    certificates: Option<Certificates>,
}

impl Rabbit {
    /// # Errors
    ///
    /// When it is not installed, or not ready within 60 s.
    pub async fn start() -> Result<Self, BrokerError> {
        Self::builder().start().await
    }

    pub fn builder() -> RabbitBuilder {
        RabbitBuilder::new()
    }

    /// The address for `guest`, in the virtual host `/`.
    pub fn url(&self) -> String {
        format!("amqp://guest:{GUEST_PASSWORD}@127.0.0.1:{}/%2f", self.port())
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The port for TLS, where there is TLS.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls.as_ref().map(Port::number)
    }

    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The process ids of the node, while it runs, and of its `epmd`.
    pub fn ids(&self) -> Vec<u32> {
        self.process.iter().chain([&self.epmd]).filter_map(Process::id).collect()
    }

    /// SIGKILL for the node.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// SIGTERM for the node, which lets it write everything down.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    /// Starts the node on the same ports and data.
    ///
    /// # Errors
    ///
    /// When it is not ready within 60 s.
    pub async fn restart(&mut self) -> Result<(), BrokerError> {
        self.kill().await;
        let command = self.command("rabbitmq-server")?;
        let mut process = Process::start("RabbitMQ", command, &self.folder.path().join("log"))?;
        let port = self.port();
        process.until(|| answers(port)).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Blocks every publisher, as a full disk does; [`Rabbit::unblock`] lets them go on.
    ///
    /// # Errors
    ///
    /// When `rabbitmqctl` fails.
    pub async fn block(&self) -> Result<(), BrokerError> {
        self.ctl(&["set_disk_free_limit", "900GB"]).await.map(drop)
    }

    /// # Errors
    ///
    /// When `rabbitmqctl` fails.
    pub async fn unblock(&self) -> Result<(), BrokerError> {
        self.ctl(&["set_disk_free_limit", "50MB"]).await.map(drop)
    }

    /// Closes every connection, as an operator would.
    ///
    /// # Errors
    ///
    /// When `rabbitmqctl` fails.
    pub async fn close_all_connections(&self) -> Result<(), BrokerError> {
        self.ctl(&["close_all_connections", "by the test"]).await.map(drop)
    }

    /// Runs `rabbitmqctl`; it takes 0.5 s, and ten times that on a busy machine.
    ///
    /// # Errors
    ///
    /// When it fails, with what it says.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String, BrokerError> {
        let program = "rabbitmqctl".to_owned();
        let output = self.command("rabbitmqctl")?.args(arguments).kill_on_drop(true).output().await;
        let output =
            output.map_err(|source| BrokerError::Run { program: program.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(BrokerError::Failed { program, said: String::from_utf8_lossy(&said).into_owned() })
    }

    /// Makes a durable exchange.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn create_exchange(&self, name: &str, kind: &str) -> Result<(), BrokerError> {
        self.admin(&["exchange", name, kind]).await.map(drop)
    }

    /// Makes a durable queue, bound to an exchange by a key where one is given.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn create_queue(
        &self,
        name: &str,
        binding: Option<(&str, &str)>,
    ) -> Result<(), BrokerError> {
        let mut arguments = vec!["queue", name];
        arguments.extend(binding.into_iter().flat_map(|(exchange, key)| [exchange, key]));
        self.admin(&arguments).await.map(drop)
    }

    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn delete_queue(&self, name: &str) -> Result<(), BrokerError> {
        self.admin(&["delete-queue", name]).await.map(drop)
    }

    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn delete_exchange(&self, name: &str) -> Result<(), BrokerError> {
        self.admin(&["delete-exchange", name]).await.map(drop)
    }

    /// Ends a binding that [`Rabbit::create_queue`] made.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) -> Result<(), BrokerError> {
        self.admin(&["unbind", queue, exchange, key]).await.map(drop)
    }

    /// How many messages wait in a queue.
    ///
    /// # Errors
    ///
    /// When there is no such queue.
    pub async fn count(&self, queue: &str) -> Result<u64, BrokerError> {
        line_of("rabbit_admin.py", &["--url", &self.url(), "count", queue]).await
    }

    /// Sends persistent messages, given as routing key and body, with the independent client, and
    /// waits for the confirmations.
    ///
    /// # Errors
    ///
    /// When one was not taken or not routed.
    pub async fn send(&self, exchange: &str, messages: &[(&str, &str)]) -> Result<(), BrokerError> {
        let mut arguments = vec!["send", exchange];
        arguments.extend(messages.iter().flat_map(|(key, body)| [*key, *body]));
        self.admin(&arguments).await.map(drop)
    }

    /// Takes messages out of queues: with a count until this number has arrived, without it those that are
    /// there now. Each is an object with `queue`, `exchange`, `routing_key`, `redelivered`,
    /// `properties`, `headers` and `body`.
    ///
    /// # Errors
    ///
    /// When they do not come within 60 s.
    pub async fn read(
        &self,
        queues: &str,
        count: Option<usize>,
    ) -> Result<Vec<Value>, BrokerError> {
        let url = self.url();
        let count = count.map(|count| format!("--count={count}"));
        let mut arguments = vec!["--url", url.as_str(), "--queues", queues];
        arguments.extend(count.as_deref());
        lines_of("read_rabbit.py", &arguments, "").await
    }

    /// Takes everything out of queues and checks the order of each routing key's messages, or with
    /// `key` of each value at that JSON pointer into the body, by `sequence`: the name of a header
    /// without prefix, or a JSON pointer into the body.
    ///
    /// # Errors
    ///
    /// When a message cannot be read.
    pub async fn order(
        &self,
        queues: &str,
        sequence: &str,
        key: Option<&str>,
    ) -> Result<OrderSummary, BrokerError> {
        let url = self.url();
        let mut arguments =
            vec!["--url", url.as_str(), "--queues", queues, "--summary", "--sequence", sequence];
        arguments.extend(key.into_iter().flat_map(|key| ["--key", key]));
        line_of("read_rabbit.py", &arguments).await
    }

    async fn admin(&self, arguments: &[&str]) -> Result<Vec<Value>, BrokerError> {
        let url = self.url();
        lines_of("rabbit_admin.py", &[&["--url", &url], arguments].concat(), "").await
    }

    /// The scripts in `sbin`, not those in `/usr/sbin`, which change the user and swallow output.
    fn command(&self, script: &str) -> Result<Command, BrokerError> {
        let folder = self.folder.path();
        let mut command = Command::new(installed()?.rabbitmq.join("sbin").join(script));
        command
            .current_dir(folder)
            // The node's cookie is kept here.
            .env("HOME", folder)
            // The script becomes the node, so that the process id is the node's.
            .env("RUNNING_UNDER_SYSTEMD", "1")
            .env("RABBITMQ_NODENAME", "test@localhost")
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"))
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("logs"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
            .env("RABBITMQ_DIST_PORT", self.distribution.number().to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG);
        Ok(command)
    }
}

/// Sends AMQP 0-9-1's protocol header and waits for the answer, `connection.start`: the port is open
/// long before.
///
/// <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf> section 4.2.2
async fn answers(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        // A frame of type 1 (method) on channel 0, its length, class 10 and method 10.
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    ask.await.is_ok_and(|answer| answer[..3] == [1, 0, 0] && answer[7..] == [0, 10, 0, 10])
}
