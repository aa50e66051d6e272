//! What goes wrong at brokers, with what the real binary said and did: the table in
//! `rows.rs` is the expectation, real brokers and the stand-in for Event Hubs meet the
//! fault. `docs/sinks-faults.md` is the same table for people.
#![cfg(all(feature = "amqp", feature = "eventhubs", feature = "http", feature = "kafka"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod amqp;
mod http;
mod hubs;
mod kafka;
mod page;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod trial;

use std::sync::Arc;

use amqp::Amqp;
use http::Http;
use hubs::Hubs;
use kafka::Topic;
use rows::{Case, Row, table};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trial::try_out;

/// Rows tried at once. Each has a broker of its own, and mostly waits.
const AT_ONCE: usize = 4;

async fn goes_as_told(row: Row) {
    match row.case {
        Case::Amqp(fault) => try_out(row, Amqp::start(fault).await).await,
        Case::Kafka(fault) => try_out(row, Topic::start(fault).await).await,
        Case::Hub(fault) => try_out(row, Hubs::start(fault).await).await,
        Case::Http(fault) => try_out(row, Http::start(fault).await).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_broker_is_treated_as_the_table_says() {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut trials = JoinSet::new();
    for row in table() {
        let turns = Arc::clone(&turns);
        trials.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            goes_as_told(row).await;
        });
    }
    let mut failed = 0;
    while let Some(ended) = trials.join_next().await {
        failed += usize::from(ended.is_err());
    }
    assert_eq!(failed, 0, "rows of the table are not as told, see above");
}
