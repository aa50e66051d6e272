//! Redis: the sink, and its client with pipelines of plain commands. Documents are strings (`SET`), events
//! entries of a stream (`XADD`).

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_brokers::Redis;
use cosmos_bridge_event::ContentMode;
use cosmos_bridge_options::from_toml;
use cosmos_bridge_redis::{RedisOptions, RedisSink};
use cosmos_bridge_sink::{Change, Operation, Sink};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value, cmd};

use crate::Failure;
use crate::contest::{Contest, Made, Shared, Took, event, measure};

const STREAM: &str = "shop:orders";
/// Commands in one pipeline, and pipelines in flight on the connection.
const BATCH: usize = 500;
const PIPELINES: usize = 4;

pub(crate) struct RedisContest {
    server: Redis,
    is_stream: bool,
}

impl RedisContest {
    pub(crate) async fn start(is_stream: bool) -> Result<Self, Failure> {
        // On disk within a second, as most servers are configured.
        let builder = Redis::builder().option("appendfsync", &["everysec"]);
        Ok(Self { server: builder.start().await?, is_stream })
    }
}

#[async_trait]
impl Contest for RedisContest {
    fn name(&self) -> &'static str {
        if self.is_stream { "redis-stream" } else { "redis" }
    }

    fn changes(&self) -> u64 {
        60_000
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        self.server.cli(&["FLUSHALL"]).await?;
        Ok(())
    }

    fn sink(&self) -> Result<Arc<dyn Sink>, Failure> {
        let mode = if self.is_stream { "stream" } else { "set" };
        let port = self.server.port();
        let options = format!("mode = \"{mode}\"\nservers = [\"127.0.0.1:{port}\"]");
        let options: RedisOptions = from_toml(&options)?;
        Ok(Arc::new(RedisSink::new("bench", options.settings("bench"))))
    }

    async fn bare(&self, changes: &Arc<[Change]>, made: Made) -> Result<Took, Failure> {
        let client = Client::open(format!("redis://127.0.0.1:{}", self.server.port()))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let is_stream = self.is_stream;
        let pipelines = made.of(changes, BATCH, move |changes| {
            let mut pipeline = Pipeline::with_capacity(changes.len());
            for change in changes {
                pipeline.add_command(if is_stream { entry(change) } else { document(change) });
            }
            pipeline
        });
        let pipelines = Shared::new(pipelines);
        measure((0..PIPELINES).map(|_| send(connection.clone(), pipelines.clone()))).await
    }

    async fn arrived(&self, _count: usize) -> Result<Vec<String>, Failure> {
        if self.is_stream {
            let entries = self.server.entries(STREAM, "-").await?;
            return Ok(entries.iter().map(|entry| format!("{:?}", entry.fields)).collect());
        }
        let values = self.server.values("shop:*").await?;
        Ok(values.iter().map(|stored| format!("{} {}", stored.key, stored.value)).collect())
    }
}

async fn send(
    mut connection: MultiplexedConnection,
    pipelines: Shared<Pipeline>,
) -> Result<(), Failure> {
    while let Some(pipeline) = pipelines.next() {
        let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await?;
        if let Some(Value::ServerError(error)) =
            answers.into_iter().find(|answer| matches!(answer, Value::ServerError(_)))
        {
            return Err(format!("a command failed: {error}").into());
        }
    }
    Ok(())
}

fn document(change: &Change) -> Cmd {
    let container = &change.origin.container;
    let key = change.partition_key.text();
    let key = format!("{}:{}:{key}:{}", container.database, container.container, change.id);
    let text = match &change.operation {
        Operation::Upsert { document } => serde_json::to_vec(&**document).unwrap_or_default(),
        Operation::Delete { .. } => Vec::new(),
    };
    cmd("SET").arg(key).arg(text).to_owned()
}

fn entry(change: &Change) -> Cmd {
    let event = event(ContentMode::Binary, change);
    let mut entry = cmd("XADD");
    entry.arg(STREAM).arg("*");
    for (name, value) in event.attributes {
        entry.arg(name).arg(value);
    }
    entry.arg("datacontenttype").arg(event.content_type);
    entry.arg("data").arg(event.body.unwrap_or_default());
    entry
}
