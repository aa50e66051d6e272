//! What a test needs to judge how a client holds a budget: charges that vary, and who used what.

use std::time::Duration;

use azure_data_cosmos::options::{
    ItemWriteOptions, OperationOptionsBuilder, PriorityLevel, ThroughputControlOptionsBuilder,
    UserAgentSuffix,
};
use cosmos_bridge_emulator::ContainerSettings;
use cosmos_bridge_emulator::answer::Answer;
use cosmos_bridge_emulator::stats::ContainerStats;
use serde_json::{Value, json};

use crate::support::{CONTAINER, DATABASE, Shop, cosmos, keyed, shop};

const KEY: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"k\"]");

fn stats(shop: &Shop) -> ContainerStats {
    let container = shop.accounts.world.container("source", DATABASE, CONTAINER).unwrap();
    container.stats.lock().unwrap().clone()
}

fn varying(share: f64) -> ContainerSettings {
    ContainerSettings { charge_variation: Some(share), ..keyed(1) }
}

/// Writes, reads, pages and refusals of the same size again and again.
async fn charges(shop: &Shop) -> Vec<(String, f64)> {
    let mut charges = Vec::new();
    let one = format!("{}/a", Shop::docs());
    let upsert = [KEY, ("x-ms-documentdb-is-upsert", "true")];
    let query = [KEY, ("x-ms-documentdb-isquery", "true")];
    let body = json!({"id": "a", "pk": "k"}).to_string();
    for _ in 0..20 {
        for (method, path, headers, body) in [
            ("POST", &Shop::docs(), upsert.as_slice(), body.as_str()),
            ("GET", &one, &[KEY], ""),
            ("GET", &Shop::docs(), &[KEY, ("a-im", "Incremental Feed")], ""),
            ("POST", &Shop::docs(), &query, r#"{"query":"SELECT * FROM c"}"#),
            ("POST", &Shop::docs(), &[KEY], &body),
        ] {
            let answer = shop.raw(method, path, headers, body).await;
            charges.push((format!("{method} {path} {}", answer.status), answer.charge));
        }
    }
    // The first upsert created the document.
    charges.split_off(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_vary_as_the_settings_say_and_always_in_the_same_way() {
    let plain = charges(&shop(keyed(1)).await).await;
    let varied = charges(&shop(varying(0.5)).await).await;
    assert_eq!(varied, charges(&shop(varying(0.5)).await).await);
    let factors: Vec<f64> = plain.iter().zip(&varied).map(|(a, b)| b.1 / a.1).collect();
    // Half a hundredth is lost to the decimals of an answer.
    assert!(factors.iter().all(|factor| (0.49..=1.51).contains(factor)), "{factors:?}");
    assert!(factors.iter().any(|factor| *factor < 0.6), "{factors:?}");
    assert!(factors.iter().any(|factor| *factor > 1.4), "{factors:?}");
}

/// The charges of a batch's results, added up.
fn sum(answer: &Answer) -> f64 {
    let results: Value = serde_json::from_slice(&answer.body).unwrap();
    let results = results.as_array().unwrap();
    results.iter().map(|result| result["requestCharge"].as_f64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_batch_are_the_whole_and_the_whole_varies() {
    let operations: Vec<_> = (0..7)
        .map(|n| {
            let text = "x".repeat(n * 777);
            let body = json!({"id": n.to_string(), "pk": "k", "text": text});
            json!({"operationType": "Upsert", "resourceBody": body, "partitionKey": "[\"k\"]"})
        })
        .collect();
    let good = json!(operations).to_string();
    let mut operations = operations;
    operations.push(json!({"operationType": "Delete", "id": "none", "partitionKey": "[\"k\"]"}));
    let bad = json!(operations).to_string();
    for settings in [keyed(1), varying(0.5)] {
        let varies = settings.charge_variation.is_some();
        let shop = shop(settings).await;
        let mut wholes = Vec::new();
        for (atomic, body) in [("true", &good), ("false", &good), ("false", &bad), ("true", &bad)] {
            for _ in 0..4 {
                let headers = [
                    KEY,
                    ("x-ms-cosmos-is-batch-request", "true"),
                    ("x-ms-cosmos-batch-atomic", atomic),
                    ("x-ms-cosmos-batch-continue-on-error", "true"),
                ];
                let answer = shop.raw("POST", &Shop::docs(), &headers, body).await;
                assert!((sum(&answer) - answer.charge).abs() < 1e-9, "{atomic}: {answer:?}");
                wholes.push(answer.charge);
            }
        }
        // The first batch creates the documents; the later ones of its kind cost the same.
        assert_eq!((wholes[1] - wholes[2]).abs() > 0.01, varies, "{wholes:?}");
        let counted = stats(&shop).kinds["batch"].request_units;
        assert!((counted - wholes.iter().sum::<f64>()).abs() < 1e-6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_of_one_container_are_told_apart() {
    let shop = shop(keyed(1)).await;
    let suffix = UserAgentSuffix::try_from("cosmos-bridge").unwrap();
    let bridge = cosmos(&shop.accounts, "source", Some(suffix)).await;
    let bridge = bridge.database_client(DATABASE).container_client(CONTAINER, None).await.unwrap();
    let control = ThroughputControlOptionsBuilder::new()
        .with_priority_level(PriorityLevel::Low)
        .with_throughput_bucket(3)
        .build();
    let operation = OperationOptionsBuilder::new().with_throughput_control(control).build();
    let mut answered = 0.0;
    for n in 0..5 {
        let id = format!("b{n}");
        let options = ItemWriteOptions::default().with_operation_options(operation.clone());
        let item = json!({"id": id, "pk": "k"});
        let answer = bridge.upsert_item("k", &id, item, Some(options)).await.unwrap();
        answered += answer.headers().request_charge().unwrap().value();
    }
    for n in 0..3 {
        shop.upsert(&format!("o{n}"), "k", n).await;
    }
    let stats = stats(&shop);
    let names: Vec<_> = stats.clients.keys().map(String::as_str).collect();
    assert_eq!(names, ["azsdk-rust-cosmos", "cosmos-bridge"]);
    let (bridge, other) = (&stats.clients["cosmos-bridge"], &stats.clients["azsdk-rust-cosmos"]);
    assert_eq!((bridge.requests, other.requests), (5, 3));
    assert!(
        (bridge.request_units - answered).abs() < 1e-6,
        "{answered} answered, {bridge:?} counted"
    );
    assert_eq!(bridge.seen.priority_levels, [("Low".to_owned(), 5)].into());
    assert_eq!(bridge.seen.throughput_buckets, [("3".to_owned(), 5)].into());
    assert!(other.seen.priority_levels.is_empty());
    assert_eq!(stats.seen, bridge.seen, "nothing else sent the headers");

    let made = shop.accounts.world.container("source", DATABASE, CONTAINER).unwrap().made;
    let until = made.elapsed() + Duration::from_millis(200);
    for (client, usage) in &stats.clients {
        let units: f64 = usage.slots.iter().map(|slot| slot.request_units).sum();
        assert!((units - usage.request_units).abs() < 1e-6);
        assert!(usage.slots.iter().all(|slot| slot.range == "0"));
        // The whole time, as one window.
        let windows = stats.windows(client, until, Duration::ZERO, until);
        assert!((windows[0] - usage.request_units).abs() < 1e-6, "{client}: {windows:?}");
    }
    assert!(
        stats.windows("unknown client", Duration::from_secs(1), Duration::ZERO, until).is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_is_refused_counts_as_its_use() {
    let shop = shop(ContainerSettings { throughput: Some(20), ..keyed(1) }).await;
    let large = json!({"id": "a", "pk": "k", "text": "x".repeat(60_000)}).to_string();
    let headers = [KEY, ("user-agent", "shop/1.0 (linux) web")];
    let first = shop.raw("POST", &Shop::docs(), &headers, &large).await;
    let second = shop.raw("POST", &Shop::docs(), &headers, &large).await;
    assert_eq!((first.status, second.status), (201, 429));
    let usage = stats(&shop).clients.remove("web").unwrap();
    assert_eq!((usage.requests, usage.throttled), (2, 1));
    assert!((usage.request_units - first.charge - second.charge).abs() < 1e-6);
    assert_eq!(usage.slots.iter().map(|slot| slot.throttled).sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_management_interface_shows_who_used_what() {
    let shop = shop(keyed(1)).await;
    let url = shop.accounts.management_url();
    let container = format!("{url}/accounts/source/databases/{DATABASE}/containers/{CONTAINER}");
    let http = reqwest::Client::new();
    for (body, status, expected) in [
        (r#"{"ru_per_second":400}"#, 200, Some(400)),
        (r#"{"autoscale":4000}"#, 200, Some(4000)),
        (r#"{"autoscale":4000,"ru_per_second":400}"#, 400, Some(4000)),
        (r#"{"ru":400}"#, 400, Some(4000)),
        ("{}", 200, None),
    ] {
        let answer = http.put(format!("{container}/throughput")).body(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{body}");
        let container = shop.accounts.world.container("source", DATABASE, CONTAINER).unwrap();
        assert_eq!(container.throttle.throughput(), expected, "{body}");
    }

    let headers = [
        KEY,
        ("user-agent", "x/1.0 cosmos-bridge"),
        ("x-ms-cosmos-priority-level", "Low"),
        ("x-ms-cosmos-throughput-bucket", "2"),
    ];
    let answer = shop.raw("POST", &Shop::docs(), &headers, r#"{"id":"a","pk":"k"}"#).await;
    let text = http.get(format!("{url}/stats")).send().await.unwrap().text().await.unwrap();
    let stats: Value = serde_json::from_str(&text).unwrap();
    let stats = &stats["accounts"]["source"]["containers"][format!("{DATABASE}/{CONTAINER}")];
    assert_eq!(
        (&stats["priority_levels"]["Low"], &stats["throughput_buckets"]["2"]),
        (&json!(1), &json!(1))
    );
    let at = &stats["clients"]["cosmos-bridge"]["slots"][0]["at_ms"];
    let slot = json!({
        "at_ms": at, "range": "0", "request_units": answer.charge, "requests": 1, "throttled": 0,
    });
    let expected = json!({
        "requests": 1,
        "throttled": 0,
        "request_units": answer.charge,
        "priority_levels": {"Low": 1},
        "throughput_buckets": {"2": 1},
        "slots": [slot],
    });
    assert_eq!(stats["clients"]["cosmos-bridge"], expected);
    assert!(stats["elapsed_ms"].as_u64().unwrap() >= at.as_u64().unwrap());

    let deleted = http.delete(format!("{url}/stats")).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    assert!(self::stats(&shop).clients.is_empty());
}
