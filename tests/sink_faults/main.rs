//! Every fault of a broker. The table in `rows.rs` is the expected behaviour of the real binary at real brokers and
//! the local stand-in for Event Hubs. `docs/sinks-faults.md` is the same table for users.
#![cfg(all(
    feature = "amqp",
    feature = "eventhubs",
    feature = "http",
    feature = "kafka",
    feature = "redis"
))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod amqp;
mod http;
mod hubs;
mod kafka;
mod page;
mod redis;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod trial;

use std::sync::Arc;

use amqp::Amqp;
use http::Http;
use hubs::Hubs;
use kafka::Topic;
use redis::RedisServer;
use rows::{Case, Row, table};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trial::try_out;

/// Rows that run concurrently. Each has its own broker, and mostly waits.
const CONCURRENCY: usize = 4;

async fn run_row(row: Row) {
    match row.case {
        Case::Amqp(fault) => try_out(row, Amqp::start(fault).await).await,
        Case::Kafka(fault) => try_out(row, Topic::start(fault).await).await,
        Case::Hub(fault) => try_out(row, Hubs::start(fault).await).await,
        Case::Http(fault) => try_out(row, Http::start(fault).await).await,
        Case::Redis(fault) => try_out(row, RedisServer::start(fault).await).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_broker_is_treated_as_the_table_says() {
    let turns = Arc::new(Semaphore::new(CONCURRENCY));
    let mut trials = JoinSet::new();
    for row in table() {
        let turns = Arc::clone(&turns);
        trials.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            run_row(row).await;
        });
    }
    let mut failed = 0;
    while let Some(ended) = trials.join_next().await {
        failed += usize::from(ended.is_err());
    }
    assert_eq!(failed, 0, "rows failed, see above");
}
