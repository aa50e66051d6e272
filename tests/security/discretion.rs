//! What is planted is told nowhere, whatever happens and however much is logged: not by the log, an
//! error, a status or a metric. Every test that runs a bridge is searched for it (`support/planted.rs`);
//! here is what none of them meets, and the proof that the search finds.

#![cfg(all(
    feature = "amqp",
    feature = "eventhubs",
    feature = "file",
    feature = "http",
    feature = "kafka"
))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod run;
mod search;
mod starts;
