//! Faults of `RabbitMQ`.

use cosmos_bridge_brokers::Rabbit;

use crate::support::Pair;
use crate::trial::{Arrived, Scene};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AmqpFault {
    NoExchange,
    Unroutable,
    UnroutableWaits,
    WrongPassword,
    NoPermission,
    FullDisk,
    TooLarge,
}

/// A topic exchange `changes`, a queue bound to it with the key `all`, and a user `writer`.
pub(crate) struct Amqp {
    fault: AmqpFault,
    rabbit: Rabbit,
    /// Reading takes messages out of the queue.
    taken: Vec<Arrived>,
}

impl Amqp {
    pub(crate) async fn start(fault: AmqpFault) -> Self {
        let builder = Rabbit::builder().user("writer", "planted-secret");
        let rabbit = builder.permission("writer", "/", "^$", "^changes$", "^$").start().await;
        let scene = Self { fault, rabbit: rabbit.unwrap(), taken: Vec::new() };
        scene.bind().await;
        scene
    }

    async fn bind(&self) {
        self.rabbit.create_exchange("changes", "topic").await.unwrap();
        self.rabbit.create_queue("all", Some(("changes", "all"))).await.unwrap();
    }

    async fn ctl(&self, arguments: &[&str]) {
        self.rabbit.ctl(arguments).await.unwrap();
    }
}

impl Scene for Amqp {
    fn sink(&self, pair: &Pair) -> String {
        let uri = format!("amqp://writer:planted-secret@{}", self.address());
        std::fs::write(pair.folder.path().join("uri"), uri).unwrap();
        let more = match self.fault {
            // A redeclared exchange has no queue for a moment.
            AmqpFault::UnroutableWaits | AmqpFault::NoExchange => "unroutable = \"wait\"",
            AmqpFault::TooLarge => "max_message = \"100 KB\"",
            _ => "",
        };
        format!(
            "[sinks.amqp.events]\nuri = {{ file = \"uri\" }}\nexchange = \"changes\"\n\
             routing_key = \"{{/to}}\"\nconfirm_timeout = \"2s\"\n{more}\n"
        )
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.rabbit.port())
    }

    async fn strike(&mut self) {
        match self.fault {
            AmqpFault::NoExchange => self.rabbit.delete_exchange("changes").await.unwrap(),
            AmqpFault::UnroutableWaits => {
                self.rabbit.unbind("all", "changes", "all").await.unwrap();
            }
            AmqpFault::WrongPassword => {
                self.ctl(&["change_password", "writer", "another"]).await;
                self.rabbit.close_all_connections().await.unwrap();
            }
            AmqpFault::NoPermission => {
                self.ctl(&["set_permissions", "writer", "^$", "^$", "^$"]).await;
                // A channel caches permissions while it is busy.
                self.rabbit.close_all_connections().await.unwrap();
            }
            AmqpFault::FullDisk => self.rabbit.block().await.unwrap(),
            AmqpFault::Unroutable | AmqpFault::TooLarge => {}
        }
    }

    async fn mend(&mut self) {
        match self.fault {
            AmqpFault::WrongPassword => {
                self.ctl(&["change_password", "writer", "planted-secret"]).await;
            }
            AmqpFault::NoPermission => {
                self.ctl(&["set_permissions", "writer", "^$", "^changes$", "^$"]).await;
            }
            AmqpFault::FullDisk => self.rabbit.unblock().await.unwrap(),
            _ => self.bind().await,
        }
    }

    fn bad(&self) -> String {
        match self.fault {
            AmqpFault::Unroutable => ",\"to\":\"unbound\"".to_owned(),
            _ => format!(",\"note\":\"{}\"", "n".repeat(200_000)),
        }
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        let messages = self.rabbit.read("all", None).await.unwrap();
        let arrived = |message: &serde_json::Value| {
            Arrived::of(&message["body"], &message["headers"]["ce-dataref"])
        };
        self.taken.extend(messages.iter().map(arrived));
        self.taken.clone()
    }
}
