//! A container is copied as it is, and re-keyed.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

mod support;

use cosmos_bridge_emulator::world::ContainerSettings;
use support::{Bridge, Pair};

fn order(n: u64) -> String {
    let customer = n % 40;
    format!(
        "{{\"id\":\"o-{n}\",\"orderId\":\"o-{n}\",\"customerId\":\"c-{customer}\",\
         \"customer\":{{\"region\":\"r{}\"}},\"total\":{n}.25}}\n",
        customer % 3
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_arrives_under_its_new_key() {
    let source = ContainerSettings::new(&["/orderId"], 4);
    let target = ContainerSettings::new(&["/customer/region", "/customerId"], 3);
    let pair = Pair::start(&source, &target).await;
    let lines: String = (0..2000).map(order).collect();
    pair.accounts.seed("source", "shop", "orders", &lines).unwrap();
    let config =
        pair.configure("", "", "", "partition_key = [\"/customer/region\", \"/customerId\"]");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal(), "{}", ended.log);
    assert!(ended.log.contains("delivered=2000"), "{}", ended.log);
}
