//! Faults of Redis.

use cosmos_bridge_brokers::{Entry, Redis};
use serde_json::Value;

use crate::support::Pair;
use crate::trial::{Arrived, Scene};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedisFault {
    OutOfMemory,
    ReadOnly,
    TooFewReplicas,
    WrongPassword,
    NoPermission,
    TooLarge,
}

/// A server with a stream `changes` and a user `writer`.
pub(crate) struct RedisServer {
    fault: RedisFault,
    redis: Redis,
}

impl RedisServer {
    pub(crate) async fn start(fault: RedisFault) -> Self {
        let redis = Redis::start().await.unwrap();
        let scene = Self { fault, redis };
        scene.cli(&["ACL", "SETUSER", "writer", "on", ">planted-secret", "~*", "+@all"]).await;
        scene
    }

    async fn cli(&self, arguments: &[&str]) {
        self.redis.cli(arguments).await.unwrap();
    }
}

impl Scene for RedisServer {
    fn sink(&self, pair: &Pair) -> String {
        std::fs::write(pair.folder.path().join("password"), "planted-secret").unwrap();
        format!(
            "[sinks.redis.events]\nmode = \"stream\"\nservers = [\"{}\"]\nkey = \"changes\"\n\
             username = \"writer\"\npassword = {{ file = \"password\" }}\n\
             max_message = \"100 KB\"\n",
            self.address()
        )
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.redis.port())
    }

    async fn strike(&mut self) {
        match self.fault {
            RedisFault::OutOfMemory => self.cli(&["CONFIG", "SET", "maxmemory", "1"]).await,
            // Nothing listens there.
            RedisFault::ReadOnly => self.cli(&["REPLICAOF", "127.0.0.1", "1"]).await,
            RedisFault::TooFewReplicas => {
                self.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
            }
            RedisFault::WrongPassword => {
                self.cli(&["ACL", "SETUSER", "writer", "resetpass", ">another"]).await;
                self.cli(&["CLIENT", "KILL", "USER", "writer"]).await;
            }
            RedisFault::NoPermission => self.cli(&["ACL", "SETUSER", "writer", "-xadd"]).await,
            RedisFault::TooLarge => {}
        }
    }

    async fn mend(&mut self) {
        match self.fault {
            RedisFault::OutOfMemory => self.cli(&["CONFIG", "SET", "maxmemory", "0"]).await,
            RedisFault::ReadOnly => self.cli(&["REPLICAOF", "NO", "ONE"]).await,
            RedisFault::TooFewReplicas => {
                self.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
            }
            RedisFault::WrongPassword => {
                self.cli(&["ACL", "SETUSER", "writer", "resetpass", ">planted-secret"]).await;
            }
            RedisFault::NoPermission => self.cli(&["ACL", "SETUSER", "writer", "+xadd"]).await,
            RedisFault::TooLarge => {}
        }
    }

    fn bad(&self) -> String {
        format!(",\"note\":\"{}\"", "n".repeat(200_000))
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        let entries = self.redis.entries("changes", "-").await.unwrap();
        let arrived = |entry: &Entry| Arrived::of(&entry.fields["data"], &Value::Null);
        entries.iter().map(arrived).collect()
    }
}
