//! What polls cost while nothing happens.

use std::time::Duration;

use cosmos_bridge_brokers::Kafka;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::processes::Account;
use super::{CONTAINER, publish};
use crate::Failure;

/// After the last change or the start, before the measurement.
const BEFORE: Duration = Duration::from_secs(12);
const MEASURED: Duration = Duration::from_secs(30);
/// Feed ranges of the container.
const RANGES: [u32; 2] = [4, 128];

/// Request units per second of an idle bridge.
pub(super) async fn measure(kafka: &Kafka) -> Result<Value, Failure> {
    let topic = "idle";
    kafka.create_topic(topic, 4, &[]).await?;
    let mut figures = serde_json::Map::new();
    for ranges in RANGES {
        let account = Account::start(CONTAINER, ranges, 0).await?;
        let _bridge = publish(&account, &kafka.bootstrap(), topic, false)?;
        sleep(BEFORE).await;
        let before = request_units(&account).await?;
        sleep(MEASURED).await;
        let rate = (request_units(&account).await? - before) / MEASURED.as_secs_f64();
        println!("\nidle with {ranges} feed ranges: {rate:.1} RU/s");
        figures.insert(ranges.to_string(), json!(rate));
    }
    Ok(Value::Object(figures))
}

/// What requests for the change feed have cost so far.
async fn request_units(account: &Account) -> Result<f64, Failure> {
    let answer = reqwest::get(format!("{}/stats", account.management)).await?;
    let stats: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let feed = &stats["accounts"]["local"]["containers"][CONTAINER]["kinds"]["feed"];
    Ok(feed["request_units"].as_f64().ok_or("no request for the change feed")?)
}
