//! Faults of Apache Kafka.

use cosmos_bridge_brokers::{Kafka, ended};

use crate::support::Pair;
use crate::trial::{Arrived, Scene};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KafkaFault {
    NoTopic,
    WrongPassword,
    NoRight,
    FullDisk,
    OneFullDisk,
    TooLarge,
    TooLargeClaim,
}

/// A topic `orders` with one partition, and a user `writer` where permissions matter.
pub(crate) struct Topic {
    fault: KafkaFault,
    kafka: Kafka,
    /// The messages of the topic before it was deleted.
    gone: Vec<Arrived>,
}

/// Larger than the broker's own files.
const DISK: u64 = 1 << 20;

impl Topic {
    pub(crate) async fn start(fault: KafkaFault) -> Self {
        let mut builder = Kafka::builder();
        if Self::has_user(fault) {
            builder = builder.user("writer", "a planted secret");
        }
        if fault == KafkaFault::OneFullDisk {
            builder = builder.two_disks();
        }
        let scene = Self { fault, kafka: builder.start().await.unwrap(), gone: Vec::new() };
        scene.create().await;
        if Self::has_user(fault) {
            scene.kafka.allow("writer", "orders", "write").await.unwrap();
        }
        scene
    }

    fn has_user(fault: KafkaFault) -> bool {
        matches!(fault, KafkaFault::WrongPassword | KafkaFault::NoRight)
    }

    async fn create(&self) {
        let most = [("max.message.bytes", "200000")];
        let small = matches!(self.fault, KafkaFault::TooLarge | KafkaFault::TooLargeClaim);
        let options: &[_] = if small { &most } else { &[] };
        self.kafka.create_topic("orders", 1, options).await.unwrap();
    }
}

impl Scene for Topic {
    fn sink(&self, pair: &Pair) -> String {
        let mut more = String::new();
        if Self::has_user(self.fault) {
            std::fs::write(pair.folder.path().join("password"), "a planted secret").unwrap();
            more += "sasl = { mechanism = \"SCRAM-SHA-256\", username = \"writer\", \
                     password = { file = \"password\" } }\n";
        }
        if self.fault == KafkaFault::TooLargeClaim {
            more += "oversize = \"claim-check\"\n";
        }
        // The name of the source container, which is known before any change.
        let topic = if self.fault == KafkaFault::NoTopic { "{container}" } else { "orders" };
        format!(
            "[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"{topic}\"\ncompression = \"none\"\n\
             request_timeout = \"2s\"\n{more}",
            self.address()
        )
    }

    fn address(&self) -> String {
        self.kafka.sasl_bootstrap().unwrap_or(self.kafka.bootstrap())
    }

    async fn strike(&mut self) {
        match self.fault {
            KafkaFault::NoTopic => {
                self.gone = self.arrived().await;
                self.kafka.delete_topic("orders").await.unwrap();
            }
            KafkaFault::WrongPassword => {
                self.kafka.set_password("writer", "another").await.unwrap();
                self.kafka.restart().await.unwrap();
            }
            KafkaFault::NoRight => self.kafka.deny("writer", "orders", "write").await.unwrap(),
            KafkaFault::FullDisk | KafkaFault::OneFullDisk => self.kafka.fill_disk(DISK).unwrap(),
            KafkaFault::TooLarge | KafkaFault::TooLargeClaim => {}
        }
    }

    async fn mend(&mut self) {
        match self.fault {
            KafkaFault::WrongPassword => {
                self.kafka.set_password("writer", "a planted secret").await.unwrap();
            }
            KafkaFault::NoRight => self.kafka.allow("writer", "orders", "write").await.unwrap(),
            KafkaFault::FullDisk => {
                assert!(ended(self.kafka.id().unwrap()).await, "it goes on with a full disk");
                let log = self.kafka.log();
                assert!(log.contains("File too large"), "{log}");
                self.kafka.restart().await.unwrap();
            }
            KafkaFault::OneFullDisk => {
                let log = self.kafka.log();
                assert!(log.contains("File too large"), "{log}");
                self.kafka.restart().await.unwrap();
            }
            KafkaFault::NoTopic | KafkaFault::TooLarge | KafkaFault::TooLargeClaim => {
                self.create().await;
            }
        }
    }

    fn bad(&self) -> String {
        format!(",\"note\":\"{}\"", "n".repeat(300_000))
    }

    fn text(&self) -> usize {
        match self.fault {
            // Twenty of them fill the disk.
            KafkaFault::FullDisk | KafkaFault::OneFullDisk => 100_000,
            _ => 0,
        }
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        // After a restart a partition may have no leader yet, so there is nothing to read.
        let messages = self.kafka.read("orders", None).await.unwrap_or_default();
        let arrived = |message: &serde_json::Value| {
            Arrived::of(&message["value"], &message["headers"]["ce_dataref"])
        };
        self.gone.iter().cloned().chain(messages.iter().map(arrived)).collect()
    }
}
