//! Offers of containers and databases, as clients read and replace them.

use azure_data_cosmos::models::ThroughputProperties;
use cosmos_bridge_emulator::throttle::Throughput;
use cosmos_bridge_emulator::{ContainerSettings, ControlError};
use serde_json::{Value, json};

use crate::support::{CONTAINER, DATABASE, Shop, cosmos, keyed, shop};

fn shared(units: u32) -> ContainerSettings {
    ContainerSettings { database_throughput: Some(units), ..keyed(1) }
}

fn offered(shop: &Shop) -> Option<Throughput> {
    shop.accounts.world.container("source", DATABASE, CONTAINER).unwrap().throttle.offered()
}

/// `content` of all offers that are listed.
async fn contents(shop: &Shop) -> Vec<Value> {
    let answer = shop.raw("GET", "/offers", &[], "").await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let offers = body["Offers"].as_array().unwrap();
    assert_eq!(body["_count"], offers.len());
    offers.iter().map(|offer| offer["content"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_throughput_has_its_offer() {
    let autoscaled = json!({
        "offerThroughput": 400,
        "offerAutopilotSettings": {"maxThroughput": 4000},
    });
    for (settings, expected) in [
        (keyed(1), vec![]),
        (
            ContainerSettings { throughput: Some(400), ..keyed(1) },
            vec![json!({"offerThroughput": 400})],
        ),
        (ContainerSettings { autoscale: Some(4000), ..keyed(1) }, vec![autoscaled.clone()]),
        (shared(500), vec![json!({"offerThroughput": 500})]),
        (
            ContainerSettings { autoscale: Some(4000), ..shared(500) },
            vec![autoscaled, json!({"offerThroughput": 500})],
        ),
    ] {
        let shop = shop(settings.clone()).await;
        assert_eq!(contents(&shop).await, expected, "{settings:?}");
        let own = shop.container.read_throughput(None).await.unwrap();
        let own = own.map(|offer| (offer.throughput(), offer.autoscale_maximum()));
        let wanted = settings.offered().map(|throughput| match throughput {
            Throughput::Manual(units) => (Some(u64::from(units)), None),
            Throughput::Autoscale(most) => (Some(u64::from(most) / 10), Some(u64::from(most))),
        });
        assert_eq!(own, wanted, "{settings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_offer_changes_the_limit_and_may_change_its_kind() {
    let shop = shop(ContainerSettings { throughput: Some(400), ..keyed(1) }).await;
    for (wanted, expected) in [
        (ThroughputProperties::manual(100_000), Throughput::Manual(100_000)),
        (ThroughputProperties::autoscale(4000, None), Throughput::Autoscale(4000)),
        (ThroughputProperties::autoscale(5000, None), Throughput::Autoscale(5000)),
        (ThroughputProperties::manual(500), Throughput::Manual(500)),
    ] {
        shop.container.begin_replace_throughput(wanted, None).await.unwrap();
        assert_eq!(offered(&shop), Some(expected));
    }
    let container = shop.accounts.world.container("source", DATABASE, CONTAINER).unwrap();
    assert_eq!(container.throttle.throughput(), Some(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscale_throttles_at_its_maximum() {
    let shop = shop(ContainerSettings { autoscale: Some(100), ..keyed(1) }).await;
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let write = async |n: usize| {
        let body = json!({"id": n.to_string(), "pk": "k"}).to_string();
        shop.raw("POST", &Shop::docs(), &[key], &body).await.status
    };
    // The bucket starts with one second of the maximum: at least 18 writes of 5.29 RU.
    for n in 0..18 {
        assert_eq!(write(n).await, 201);
    }
    let mut more = 18..1000;
    assert!(loop {
        match more.next() {
            Some(n) if write(n).await == 429 => break true,
            Some(_) => {}
            None => break false,
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offer_of_a_database_is_not_its_containers() {
    let shop = shop(shared(500)).await;
    let client = cosmos(&shop.accounts, "source", None).await;
    let database = client.database_client(DATABASE);
    let offer = database.read_throughput(None).await.unwrap().unwrap();
    assert_eq!((offer.throughput(), offer.autoscale_maximum()), (Some(500), None));
    let wanted = ThroughputProperties::autoscale(6000, None);
    database.begin_replace_throughput(wanted, None).await.unwrap();
    let offer = database.read_throughput(None).await.unwrap().unwrap();
    assert_eq!(offer.autoscale_maximum(), Some(6000));
    assert!(shop.container.read_throughput(None).await.unwrap().is_none());
    assert_eq!(offered(&shop), None);

    // Asked by self link, as the SDK for JavaScript does: the database's is the beginning of the
    // container's.
    let rid = shop.state().rid;
    let link = shop.accounts.world.container("source", DATABASE, CONTAINER).unwrap();
    let container_link = link.naming.self_link().to_owned();
    let database_link = container_link.split("colls/").next().unwrap().to_owned();
    let query = [("x-ms-documentdb-isquery", "true")];
    for (link, expected) in [(database_link, 1), (container_link, 0), (rid, 0)] {
        let text = format!("SELECT * from root where root.resource = \"{link}\"");
        let body = json!({"query": text}).to_string();
        let answer = shop.raw("POST", "/offers", &query, &body).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["_count"], expected, "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_created_with_throughput_has_it_until_it_is_deleted() {
    let shop = shop(keyed(1)).await;
    let settings = r#"{"maxThroughput":8000}"#;
    let headers = [("x-ms-cosmos-offer-autopilot-settings", settings)];
    assert_eq!(shop.raw("POST", "/dbs", &headers, r#"{"id":"other"}"#).await.status, 201);
    let account = shop.accounts.world.account("source").unwrap();
    assert_eq!(account.database_throughput("other"), Some(Throughput::Autoscale(8000)));
    let plain = shop.raw("POST", "/dbs", &[], r#"{"id":"plain"}"#).await;
    assert_eq!(plain.status, 201);
    assert_eq!(contents(&shop).await.len(), 1);
    assert_eq!(shop.raw("DELETE", "/dbs/other", &[], "").await.status, 204);
    assert!(contents(&shop).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_contradict_each_other_are_refused() {
    let shop = shop(shared(500)).await;
    let create = async |id: &str, settings: ContainerSettings| {
        shop.accounts.create_container("source", DATABASE, id, &settings).await
    };
    create(CONTAINER, shared(500)).await.unwrap();
    create(CONTAINER, keyed(1)).await.unwrap();
    create("second", keyed(1)).await.unwrap();
    for (id, settings) in [
        (CONTAINER, shared(600)),
        ("third", shared(600)),
        (CONTAINER, ContainerSettings { autoscale: Some(1000), ..keyed(1) }),
        (CONTAINER, ContainerSettings { charge_variation: Some(0.5), ..keyed(1) }),
    ] {
        let refused = create(id, settings.clone()).await;
        assert!(matches!(refused, Err(ControlError::Different)), "{settings:?}: {refused:?}");
    }
    let both = ContainerSettings { throughput: Some(400), autoscale: Some(4000), ..keyed(1) };
    let free = ContainerSettings { charge_variation: Some(1.0), ..keyed(1) };
    let unknown = ContainerSettings { charge_variation: Some(f64::NAN), ..keyed(1) };
    for settings in [both, free, unknown] {
        let refused = create("third", settings.clone()).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{settings:?}: {refused:?}");
    }
}
