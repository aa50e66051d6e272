//! Real brokers for the tests of the sinks: [`Kafka`] is Apache Kafka in `KRaft` mode, [`Rabbit`] is
//! `RabbitMQ`, [`Redis`] is Redis, [`Endpoint`] is Python's HTTP server and [`Collector`] one that takes
//! traces. Never part of the bridge.
//!
//! Each starts on free loopback ports with its data in a temporary folder, is ready when it answers
//! its own protocol, and can be killed and started again on the same ports and data. When the value
//! is dropped, or the test's process ends in any way, its processes are killed by their ids.
//!
//! Messages are read back by independent clients: [`Kafka::read`], [`Rabbit::read`] and [`Redis::values`] run
//! the Python scripts in `python/`, and [`cloud_events`] parses what they print with the
//! `cloudevents` package. `tests/scripts/brokers.sh` installs all of it; a missing broker is a failed
//! test with a message, never a skipped test.

mod certificates;
mod collector;
mod endpoint;
mod error;
mod installed;
mod kafka;
mod port;
mod process;
mod python;
mod rabbit;
mod redis;

pub use certificates::Certificates;
pub use collector::{Collector, Span};
pub use endpoint::{Endpoint, Request};
pub use error::BrokerError;
pub use installed::{Installed, installed};
pub use kafka::{Issuer, Kafka, KafkaBuilder};
pub use port::Port;
pub use process::{alive, ended};
pub use python::{Binding, CloudEvent, OrderSummary, cloud_events, script};
pub use rabbit::{GUEST_PASSWORD, Rabbit, RabbitBuilder};
pub use redis::{Entry, Redis, RedisBuilder, Stored};
