//! The options of a broker: listeners, users, certificates.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Kafka, java};
use crate::certificates::Certificates;
use crate::error::BrokerError;
use crate::port::Port;

/// The options of every broker. A session of 2 s instead of 9 s, because a broker that was
/// killed is not let in again before its old session has ended.
const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
";

/// The options of a [`Kafka`].
#[derive(Debug, Default)]
pub struct KafkaBuilder {
    users: Vec<(String, String)>,
    tls: bool,
    issuer: Option<Issuer>,
    properties: Vec<(String, String)>,
    disks: bool,
    sasl_proxy: Option<u16>,
}

/// The issuer whose signed tokens the broker accepts.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// As in the tokens.
    pub issuer: String,
    pub audience: String,
    /// Its public keys, as a JSON Web Key Set.
    pub jwks: String,
}

/// Where the broker reads the keys of an [`Issuer`].
pub(super) fn keys_url(folder: &Path) -> String {
    format!("file://{}", folder.join("jwks.json").display())
}

impl KafkaBuilder {
    /// A user who may connect through SASL, and nothing else until allowed.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Listeners with TLS; see [`Kafka::certificates`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// OAUTHBEARER accepts signed tokens of this issuer, and a connection ends when its token expires. Takes effect
    /// with a user.
    #[must_use]
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// One line of the broker's configuration, such as `message.max.bytes`.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Clients of the listener with SASL are sent to this port, where a proxy listens.
    #[must_use]
    pub fn sasl_behind(mut self, port: u16) -> Self {
        self.sasl_proxy = Some(port);
        self
    }

    /// Two folders for partitions, as of two disks: one that fails takes its partitions with it, and
    /// the broker goes on with the other.
    #[must_use]
    pub fn two_disks(mut self) -> Self {
        self.disks = true;
        self
    }

    /// Starts the broker and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it is not installed, or not ready within 60 s.
    pub async fn start(self) -> Result<Kafka, BrokerError> {
        let folder = TempDir::new().map_err(|source| BrokerError::File {
            doing: "make a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let when = |wanted: bool| wanted.then(Port::free).transpose();
        let certificates = self.tls.then(|| Certificates::write(folder.path())).transpose()?;
        let controller = Port::free()?;
        let mut kafka = Kafka {
            process: None,
            plain: Port::free()?,
            sasl: when(!self.users.is_empty())?,
            tls: when(self.tls)?,
            sasl_tls: when(self.tls && !self.users.is_empty())?,
            certificates,
            folder,
            controller,
        };
        let settings = self.settings(&kafka)?;
        let path = kafka.settings_file();
        std::fs::write(&path, settings).map_err(|source| BrokerError::File {
            doing: "write",
            path,
            source,
        })?;
        self.format(&kafka).await?;
        kafka.restart().await?;
        Ok(kafka)
    }

    fn settings(&self, kafka: &Kafka) -> Result<String, BrokerError> {
        let controller = kafka.controller.number();
        let mut listeners = vec![("PLAIN", kafka.plain.number(), "PLAINTEXT")];
        let others = [
            ("SASL", &kafka.sasl, "SASL_PLAINTEXT"),
            ("TLS", &kafka.tls, "SSL"),
            ("SASLTLS", &kafka.sasl_tls, "SASL_SSL"),
        ];
        for (name, port, protocol) in others {
            listeners.extend(port.as_ref().map(|port| (name, port.number(), protocol)));
        }
        let list = |with: &dyn Fn(&(&str, u16, &str)) -> String| {
            listeners.iter().map(with).collect::<Vec<_>>().join(",")
        };
        let open = list(&|(name, port, _)| format!("{name}://127.0.0.1:{port}"));
        let advertised = list(&|(name, port, _)| {
            let port = self.sasl_proxy.filter(|_| *name == "SASL").unwrap_or(*port);
            format!("{name}://127.0.0.1:{port}")
        });
        let protocols = list(&|(name, _, protocol)| format!("{name}:{protocol}"));
        let mut text = format!(
            "{SETTINGS}\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             listeners={open},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={advertised}\n\
             listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n",
            kafka.folder.path().join("data").display(),
        );
        if self.disks {
            let folder = kafka.folder.path().display();
            let _infallible = write!(
                text,
                "log.dirs={folder}/data,{folder}/more\nmetadata.log.dir={folder}/metadata\n"
            );
        }
        if !self.users.is_empty() {
            text.push_str(&self.sasl());
        }
        if let Some(certificates) = &kafka.certificates {
            text.push_str(&tls(certificates, kafka)?);
        }
        if let Some(issuer) = &self.issuer {
            text.push_str(&trusting(issuer, kafka.folder.path())?);
        }
        for (name, value) in &self.properties {
            let _infallible = writeln!(text, "{name}={value}");
        }
        Ok(text)
    }

    fn sasl(&self) -> String {
        let security = "org.apache.kafka.common.security";
        let users = self.users.iter().map(|(name, password)| format!("user_{name}=\"{password}\""));
        let users = users.collect::<Vec<_>>().join(" ");
        let mut text = "\
            authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
            super.users=User:ANONYMOUS;User:CN=writer\n\
            sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n"
            .to_owned();
        for listener in ["sasl", "sasltls"] {
            let _infallible = write!(
                text,
                "listener.name.{listener}.plain.sasl.jaas.config={security}.plain.PlainLoginModule required {users};\n\
                 listener.name.{listener}.scram-sha-256.sasl.jaas.config={security}.scram.ScramLoginModule required;\n\
                 listener.name.{listener}.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;\n\
                 listener.name.{listener}.oauthbearer.sasl.jaas.config={security}.oauthbearer.OAuthBearerLoginModule required;\n"
            );
        }
        text
    }

    /// Writes the cluster's first metadata, users included.
    async fn format(&self, kafka: &Kafka) -> Result<(), BrokerError> {
        let mut command = java()?;
        command
            .args(["kafka.tools.StorageTool", "format", "--standalone"])
            // Any 16 bytes as base64; nothing else is in this folder.
            .args(["--cluster-id", "Y29zbW9zLWJyaWRnZS10ZQ", "--config"])
            .arg(kafka.settings_file());
        for (name, password) in &self.users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                let user = format!("{mechanism}=[name={name},password={password}]");
                command.args(["--add-scram", &user]);
            }
        }
        let program = "kafka.tools.StorageTool".to_owned();
        let output = command.output().await;
        let output =
            output.map_err(|source| BrokerError::Run { program: "java".to_owned(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(BrokerError::Failed { program, said: String::from_utf8_lossy(&said).into_owned() })
    }
}

/// <https://kafka.apache.org/documentation/#security_sasl_oauthbearer_prod>
fn trusting(issuer: &Issuer, folder: &Path) -> Result<String, BrokerError> {
    let path = folder.join("jwks.json");
    std::fs::write(&path, &issuer.jwks).map_err(|source| BrokerError::File {
        doing: "write",
        path,
        source,
    })?;
    let handler =
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler";
    Ok(format!(
        "listener.name.sasl.oauthbearer.sasl.server.callback.handler.class={handler}\n\
         connections.max.reauth.ms=3600000\n\
         sasl.oauthbearer.jwks.endpoint.url={}\n\
         sasl.oauthbearer.expected.audience={}\n\
         sasl.oauthbearer.expected.issuer={}\n\
         sasl.oauthbearer.clock.skew.seconds=0\n",
        keys_url(folder),
        issuer.audience,
        issuer.issuer,
    ))
}

/// Kafka reads a key and its certificates from one PEM file.
fn tls(certificates: &Certificates, kafka: &Kafka) -> Result<String, BrokerError> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|source| BrokerError::File {
            doing: "read",
            path: path.clone(),
            source,
        })
    };
    let both = read(&certificates.server_key)? + &read(&certificates.server)?;
    let keystore = kafka.folder.path().join("keystore.pem");
    std::fs::write(&keystore, both).map_err(|source| BrokerError::File {
        doing: "write",
        path: keystore.clone(),
        source,
    })?;
    Ok(format!(
        "ssl.keystore.type=PEM\n\
         ssl.keystore.location={}\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={}\n\
         listener.name.tls.ssl.client.auth=required\n",
        keystore.display(),
        certificates.authority.display(),
    ))
}
