//! What a node is started with: users, rights, definitions, certificates.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{GUEST_PASSWORD, Rabbit};
use crate::certificates::Certificates;
use crate::error::BrokerError;
use crate::port::Port;
use crate::process::Process;

/// What a [`Rabbit`] is to be started with.
#[derive(Debug)]
pub struct RabbitBuilder {
    users: Vec<Value>,
    vhosts: Vec<Value>,
    permissions: Vec<Value>,
    definitions: Value,
    settings: String,
    tls: bool,
}

impl RabbitBuilder {
    pub(super) fn new() -> Self {
        let builder = RabbitBuilder {
            users: vec![json!({
                "name": "guest", "password": GUEST_PASSWORD, "tags": "administrator",
            })],
            vhosts: Vec::new(),
            permissions: Vec::new(),
            definitions: json!({}),
            settings: String::new(),
            tls: false,
        };
        builder.vhost("/").permission("guest", "/", ".*", ".*", ".*")
    }

    /// A user without rights.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push(json!({"name": name, "password": password, "tags": ""}));
        self
    }

    #[must_use]
    pub fn vhost(mut self, name: &str) -> Self {
        self.vhosts.push(json!({"name": name}));
        self
    }

    /// Rights as patterns of names; an empty one allows nothing.
    #[must_use]
    pub fn permission(
        mut self,
        user: &str,
        vhost: &str,
        configure: &str,
        write: &str,
        read: &str,
    ) -> Self {
        self.permissions.push(json!({
            "user": user, "vhost": vhost, "configure": configure, "write": write, "read": read,
        }));
        self
    }

    /// More of a definitions file: `exchanges`, `queues`, `bindings`, `policies`.
    #[must_use]
    pub fn definitions(mut self, definitions: Value) -> Self {
        self.definitions = definitions;
        self
    }

    /// One line of `rabbitmq.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        let _infallible = writeln!(self.settings, "{name} = {value}");
        self
    }

    /// A listener with TLS; see [`Rabbit::certificates`]. A client's certificate is not asked for.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the node and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it is not installed, or not ready within 60 s.
    pub async fn start(self) -> Result<Rabbit, BrokerError> {
        let folder = TempDir::new().map_err(|source| BrokerError::File {
            doing: "make a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let certificates = self.tls.then(|| Certificates::write(folder.path())).transpose()?;
        let (port, epmd_port) = (Port::free()?, Port::free()?);
        let tls = self.tls.then(Port::free).transpose()?;
        let mut text = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             loopback_users = none\n\
             log.console = true\n\
             log.file = false\n\
             disk_free_limit.absolute = 50MB\n\
             load_definitions = {}\n",
            port.number(),
            folder.path().join("definitions.json").display(),
        );
        if let (Some(tls), Some(certificates)) = (&tls, &certificates) {
            let _infallible = write!(
                text,
                "listeners.ssl.1 = 127.0.0.1:{}\n\
                 ssl_options.cacertfile = {}\n\
                 ssl_options.certfile = {}\n\
                 ssl_options.keyfile = {}\n",
                tls.number(),
                certificates.authority.display(),
                certificates.server.display(),
                certificates.server_key.display(),
            );
        }
        text.push_str(&self.settings);
        write(folder.path(), "rabbitmq.conf", &text)?;
        write(folder.path(), "definitions.json", &self.all_definitions().to_string())?;
        write(folder.path(), "plugins", "[].\n")?;

        let mut command = Command::new("epmd");
        command.args(["-port", &epmd_port.number().to_string(), "-address", "127.0.0.1"]);
        let mut epmd = Process::start("epmd", command, &folder.path().join("epmd.log"))?;
        let number = epmd_port.number();
        epmd.until(|| async move { TcpStream::connect(("127.0.0.1", number)).await.is_ok() })
            .await?;
        let mut rabbit = Rabbit {
            process: None,
            epmd,
            folder,
            port,
            tls,
            distribution: Port::free()?,
            epmd_port,
            certificates,
        };
        rabbit.restart().await?;
        Ok(rabbit)
    }

    fn all_definitions(self) -> Value {
        let mut all = self.definitions;
        all["users"] = Value::Array(self.users);
        all["vhosts"] = Value::Array(self.vhosts);
        all["permissions"] = Value::Array(self.permissions);
        all
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), BrokerError> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|source| BrokerError::File { doing: "write", path, source })
}
