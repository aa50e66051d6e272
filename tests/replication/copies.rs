//! A container is copied, with the same and with another partition key.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::{Bridge, Pair};

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
    // As a person reads them.
    let last = ended.log.lines().find(|line| line.contains(" stopped ")).unwrap_or_default();
    let units = last.split_whitespace().filter_map(|field| field.split_once("_ru="));
    let units: Vec<_> = units.map(|(_, units)| units).collect();
    let is_short = |units: &&str| units.rsplit_once('.').is_none_or(|(_, part)| part.len() == 1);
    assert!(units.len() == 2 && units.iter().all(is_short), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_own_means_reach_it_with_every_request_about_documents() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    pair.accounts.seed("source", "shop", "orders", &order(1)).unwrap();
    let config = pair.configure("", "", "", "");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("[accounts.source]\n", "[accounts.source]\npriority = \"low\"\n")
        .replace("[accounts.target]\n", "[accounts.target]\nthroughput_bucket = 3\n");
    std::fs::write(&config, text).unwrap();
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    for (account, container, low, bucket) in
        [("source", "orders", true, false), ("target", "copies", false, true)]
    {
        let container = pair.accounts.world.container(account, "shop", container).unwrap();
        let stats = container.stats.lock().unwrap();
        let bridge = &stats.clients["cosmos-bridge"];
        let seen = |is: bool| if is { bridge.requests } else { 0 };
        let counted = |seen: &std::collections::BTreeMap<String, u64>, value: &str| {
            seen.get(value).copied().unwrap_or_default()
        };
        assert!(bridge.requests > 0, "{account}");
        assert_eq!(counted(&bridge.seen.priority_levels, "Low"), seen(low), "{account}");
        assert_eq!(counted(&bridge.seen.throughput_buckets, "3"), seen(bucket), "{account}");
    }
}
