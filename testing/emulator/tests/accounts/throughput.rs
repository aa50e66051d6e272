//! Request units: charges, limits, counters.

use cosmos_bridge_emulator::ContainerSettings;
use serde_json::json;

use crate::support::{Shop, header, keyed, shop};

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_of_requests_are_refused_when_a_range_is_in_debt() {
    let shop = shop(ContainerSettings { throughput: Some(20), ..keyed(1) }).await;
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let docs = Shop::docs();
    let large = json!({"id": "a", "pk": "k", "text": "x".repeat(60_000)}).to_string();
    assert_eq!(shop.raw("POST", &docs, &[key], &large).await.status, 201);
    let batch = json!([{"operationType": "Read", "id": "a"}]).to_string();
    let query = r#"{"query":"SELECT * FROM c"}"#;
    let upsert = [key, ("x-ms-documentdb-is-upsert", "true")];
    let is_batch = [key, ("x-ms-cosmos-is-batch-request", "true")];
    let is_query = [key, ("x-ms-documentdb-isquery", "true")];
    let feed = [key, ("a-im", "Incremental Feed")];
    let one = format!("{docs}/a");
    for (method, path, headers, body) in [
        ("POST", &docs, upsert.as_slice(), large.as_str()),
        ("POST", &docs, is_batch.as_slice(), batch.as_str()),
        ("POST", &docs, is_query.as_slice(), query),
        ("GET", &docs, feed.as_slice(), ""),
        ("GET", &docs, &feed[..1], ""),
        ("GET", &one, &[key], ""),
        ("PUT", &one, &[key], large.as_str()),
        ("DELETE", &one, &[key], ""),
    ] {
        let answer = shop.raw(method, path, headers, body).await;
        assert_eq!((answer.status, answer.substatus), (429, Some(3200)), "{method} {path}");
        let wait: u64 = header(&answer, "x-ms-retry-after-ms").unwrap().parse().unwrap();
        assert!((1..=1000).contains(&wait));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_grow_with_size_and_the_counters_agree_with_the_answers() {
    let shop = shop(keyed(1)).await;
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let mut total = 0.0;
    let mut last = 0.0;
    for size in [10, 10_000, 100_000] {
        let id = format!("d{size}");
        let body = json!({"id": id, "pk": "k", "text": "x".repeat(size)}).to_string();
        let answer = shop.raw("POST", &Shop::docs(), &[key], &body).await;
        assert!(answer.charge > last, "{size} bytes cost {}", answer.charge);
        last = answer.charge;
        total += answer.charge;
    }
    let again = shop.raw("POST", &Shop::docs(), &[key], r#"{"id":"d10","pk":"k"}"#).await;
    assert_eq!(again.status, 409);
    assert!(again.charge > 0.0);
    total += again.charge;
    let container = shop.accounts.world.container("source", "shop", "orders").unwrap();
    let stats = container.stats.lock().unwrap().clone();
    let creates = &stats.kinds["create"];
    assert_eq!((creates.requests, creates.errors, creates.documents), (4, 1, 3));
    assert!((creates.request_units - total).abs() < 1e-6);
    let seconds: f64 = stats.seconds.iter().flat_map(|second| second.ranges.values()).sum();
    assert!((seconds - total).abs() < 1e-6);
}
