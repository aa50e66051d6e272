//! The admin address of the real binary: metrics, read with the Prometheus project's own parser, refused
//! requests, and health under induced faults.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bottlenecks;
mod health;
mod history;
mod metrics;
mod refusals;
mod samples;
mod status;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use cosmos_bridge_brokers::Port;
use support::admin::AdminAddress;
use support::{Bridge, Pair};

fn documents(ids: std::ops::Range<u32>) -> String {
    ids.map(|n| format!("{{\"id\":\"d{n}\",\"region\":\"r{n}\"}}\n")).collect::<Vec<_>>().concat()
}

/// Adds an admin address with these options to a configuration. The second value reserves the port until it is
/// dropped.
fn with_admin(config: &Path, options: &str) -> (AdminAddress, Port) {
    let port = Port::free().unwrap();
    let text = std::fs::read_to_string(config).unwrap();
    let table = format!("[admin]\naddress = \"127.0.0.1:{}\"\n{options}\n", port.number());
    std::fs::write(config, table + &text).unwrap();
    (AdminAddress(port.number()), port)
}

/// A pair with a bridge that has caught up.
async fn running(options: &str) -> (Pair, Bridge, AdminAddress, Port) {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..5));
    let config = pair.configure("", "", "", "");
    let (admin, port) = with_admin(&config, options);
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "\"ready\":true").await;
    (pair, bridge, admin, port)
}
