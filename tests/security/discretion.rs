//! Planted secrets and document texts appear in no output at any log level: log, error, status or metric. Every
//! test that runs a bridge searches its output (`support/planted.rs`). The tests here run what no other test
//! does, and prove that the search works.

#![cfg(all(
    feature = "amqp",
    feature = "eventhubs",
    feature = "file",
    feature = "http",
    feature = "kafka",
    feature = "redis"
))]

mod run;
mod search;
mod starts;
