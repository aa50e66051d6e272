//! The connection to one server or to a cluster.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::Mutex;
use futures::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisResult, TlsCertificates, Value, cmd,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::classify::{Attempt, Failure};
use crate::slot::slot;
use crate::{Certificates, Server, Settings};

/// The client follows redirections and new primaries of a cluster so often within one request.
const CLUSTER_RETRIES: u32 = 3;
/// Milliseconds between these attempts.
const CLUSTER_WAIT: (u64, u64) = (20, 200);

/// An open connection, which all writes of the sink share.
#[derive(Debug)]
pub(crate) struct Link {
    /// Later connections have higher numbers.
    pub(crate) number: u64,
    client: Mutex<Option<Connection>>,
    /// Turns true when the connection is given up: then no request waits for it.
    given_up: watch::Sender<bool>,
    pub(crate) writing: Attempt,
}

#[derive(Clone)]
enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl Link {
    pub(crate) async fn open(settings: &Settings, number: u64) -> Result<Self, Failure> {
        let opened = timeout(settings.server.connect_timeout, async {
            if settings.server.cluster {
                cluster(settings).await.map(Connection::Cluster)
            } else {
                server(settings).await.map(Connection::Server)
            }
        });
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
        let opened = opened.await.unwrap_or_else(|_| late());
        let attempt = Attempt::connecting(settings);
        let connection = opened.map_err(|error| attempt.error(&error))?;
        Ok(Self {
            number,
            client: Mutex::new(Some(connection)),
            given_up: watch::Sender::new(false),
            writing: Attempt::writing(settings),
        })
    }

    pub(crate) fn is_usable(&self) -> bool {
        !*self.given_up.borrow()
    }

    /// Closes the connection: what was not sent by now is not sent any more.
    pub(crate) fn give_up(&self) {
        self.client.lock().take();
        self.given_up.send_replace(true);
    }

    /// Sends commands and returns the answer to each. The server executes them in this order, unless it
    /// is a cluster.
    pub(crate) async fn send(&self, commands: Vec<Cmd>) -> Result<Answers, Failure> {
        let connection = self.client.lock().clone();
        let connection = connection.ok_or_else(|| self.writing.lost())?;
        let mut given_up = self.given_up.subscribe();
        let answers = async {
            match connection {
                Connection::Server(mut connection) => pipeline(&mut connection, commands).await,
                Connection::Cluster(connection) => Ok(each(&connection, commands).await),
            }
        };
        tokio::select! {
            answers = answers => answers.map_err(|error| self.writing.error(&error)),
            _ = given_up.wait_for(|given_up| *given_up) => Err(self.writing.lost()),
        }
    }

    /// Queues commands in a transaction and discards it: the server checks permissions, memory and its
    /// role, and executes nothing. `key` names the node of a cluster.
    pub(crate) async fn rehearse(&self, key: &str, commands: Vec<Cmd>) -> RedisResult<Answers> {
        let all: Vec<Cmd> =
            [cmd("MULTI")].into_iter().chain(commands).chain([cmd("DISCARD")]).collect();
        let connection = self.client.lock().clone();
        match connection {
            None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
            Some(Connection::Server(mut connection)) => pipeline(&mut connection, all).await,
            Some(Connection::Cluster(mut connection)) => {
                let node = Route::new(slot(key), SlotAddr::Master);
                let node = SingleNodeRoutingInfo::SpecificNode(node);
                let count = all.len();
                let answers = connection.route_pipeline(pipeline_of(all), 0, count, node).await;
                answers.map(separate)
            }
        }
    }
}

/// The answer to each command.
pub(crate) type Answers = Vec<RedisResult<Value>>;

fn pipeline_of(commands: Vec<Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

fn separate(values: Vec<Value>) -> Answers {
    values.into_iter().map(Value::extract_error).collect()
}

async fn pipeline(
    connection: &mut MultiplexedConnection,
    commands: Vec<Cmd>,
) -> RedisResult<Answers> {
    let count = commands.len();
    let pipeline = pipeline_of(commands);
    connection.send_packed_commands(&pipeline, 0, count).await.map(separate)
}

/// A cluster takes commands of different slots, each on its own.
async fn each(connection: &ClusterConnection, commands: Vec<Cmd>) -> Answers {
    join_all(commands.into_iter().map(async |command| {
        let answer = connection.clone().req_packed_command(&command).await;
        answer.and_then(Value::extract_error)
    }))
    .await
}

async fn server(settings: &Settings) -> RedisResult<MultiplexedConnection> {
    let server =
        settings.server.servers.first().ok_or((ErrorKind::InvalidClientConfig, "no server"))?;
    // User and database are set below, where an answer of the server is not hidden.
    let info = info(settings, server, RedisConnectionInfo::default().set_skip_set_lib_name())?;
    let client = match &settings.server.tls {
        Some(_) => Client::build_with_tls(info, certificates(settings))?,
        None => Client::open(info)?,
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.server.connect_timeout))
        .set_response_timeout(Some(settings.server.request_timeout));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    if let Some(password) = &settings.password {
        let mut login = cmd("AUTH");
        if let Some(user) = &settings.server.username {
            login.arg(user);
        }
        login.arg(password.expose());
        connection.req_packed_command(&login).await.and_then(Value::extract_error)?;
    }
    if settings.server.database != 0 {
        let select = cmd("SELECT").arg(settings.server.database).to_owned();
        connection.req_packed_command(&select).await.and_then(Value::extract_error)?;
    }
    Ok(connection)
}

async fn cluster(settings: &Settings) -> RedisResult<ClusterConnection> {
    let node = RedisConnectionInfo::default().set_skip_set_lib_name();
    let nodes: RedisResult<Vec<ConnectionInfo>> =
        settings.server.servers.iter().map(|server| info(settings, server, node.clone())).collect();
    let mut builder = ClusterClient::builder(nodes?)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_WAIT.0)
        .max_retry_wait(CLUSTER_WAIT.1)
        .connection_timeout(settings.server.connect_timeout)
        .response_timeout(settings.server.request_timeout)
        .tcp_settings(tcp());
    if settings.server.tls.is_some() {
        builder = builder.certs(certificates(settings));
    }
    if let Some(user) = &settings.server.username {
        builder = builder.username(user);
    }
    if let Some(password) = &settings.password {
        builder = builder.password(password.expose());
    }
    builder.build()?.get_async_connection().await
}

fn info(
    settings: &Settings,
    server: &Server,
    node: RedisConnectionInfo,
) -> RedisResult<ConnectionInfo> {
    let Server { host, port } = server.clone();
    let address = match settings.server.tls {
        Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        None => ConnectionAddr::Tcp(host, port),
    };
    let info = address.into_connection_info()?;
    Ok(info.set_redis_settings(node).set_tcp_settings(tcp()))
}

/// What is not sent when a connection is closed is discarded: it is sent again on another one.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_linger_time(Duration::ZERO)
}

fn certificates(settings: &Settings) -> TlsCertificates {
    let Certificates { authorities, identity } = settings.certificates.clone();
    let identity =
        identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    TlsCertificates { client_tls: identity, root_cert: authorities }
}

/// All writes share the connection.
pub(crate) type SharedLink = cosmos_bridge_sink::SharedConnection<Link, Failure>;

/// For [`SharedLink::get`].
pub(crate) type LinkResult = Result<Arc<Link>, Failure>;
