//! The gateway against the bare vendor emulator: the same requests must have the same statuses.

use bytes::Bytes;
use cosmos_bridge_emulator::backend::Backend;
use serde_json::json;

use crate::support::{Shop, keyed, shop};

/// A small generator, so that a failing seed can be run again.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One request, with the place of a tag instead of the tag, which differs on both sides.
#[derive(Debug)]
struct Step {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
    document: (String, String),
}

fn step(random: &mut Seeded) -> Step {
    let (id, pk) = (format!("d{}", random.below(6)), format!("k{}", random.below(3)));
    let one = format!("{}/{id}", Shop::docs());
    let body = json!({"id": id, "pk": pk, "n": random.below(100)}).to_string();
    let mut headers = vec![("x-ms-documentdb-partitionkey", json!([pk]).to_string())];
    let (method, path, body) = match random.below(7) {
        0 => ("POST", Shop::docs(), body),
        1 => {
            headers.push(("x-ms-documentdb-is-upsert", "true".to_owned()));
            ("POST", Shop::docs(), body)
        }
        2 => ("PUT", one, body),
        3 => ("DELETE", one, String::new()),
        4 => ("GET", one, String::new()),
        5 => {
            headers.push(("x-ms-cosmos-is-batch-request", "true".to_owned()));
            ("POST", Shop::docs(), batch(random, &pk))
        }
        _ => {
            // The body belongs to another partition, or names another document.
            let other = json!({"id": id, "pk": "elsewhere"}).to_string();
            if random.below(2) == 0 { ("POST", Shop::docs(), other) } else { ("PUT", one, other) }
        }
    };
    Step { method, path, headers, body, document: (id, pk) }
}

fn batch(random: &mut Seeded, pk: &str) -> String {
    let operations: Vec<_> = (0..=random.below(4))
        .map(|_| {
            let id = format!("d{}", random.below(6));
            let body = json!({"id": id, "pk": pk});
            match random.below(5) {
                0 => json!({"operationType": "Create", "resourceBody": body}),
                1 => json!({"operationType": "Upsert", "resourceBody": body}),
                2 => json!({"operationType": "Replace", "id": id, "resourceBody": body}),
                3 => json!({"operationType": "Delete", "id": id}),
                _ => json!({"operationType": "Read", "id": id}),
            }
        })
        .collect();
    json!(operations).to_string()
}

/// Statuses, of a batch with those of its operations.
fn statuses(status: u16, body: &[u8]) -> Vec<u64> {
    let results: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = results.as_array().into_iter().flatten();
    let inner = inner.filter_map(|result| result["statusCode"].as_u64());
    std::iter::once(u64::from(status)).chain(inner).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn seeded_requests_have_the_statuses_of_the_vendor() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..=8_u64 {
        let shop = shop(keyed(2)).await;
        let vendor = Backend::start("vendor", "http://127.0.0.1:1/").unwrap();
        vendor.send("POST", "/dbs", &[], Bytes::from(r#"{"id":"shop"}"#)).await.unwrap();
        vendor.create_container("shop", "orders", &["/pk".to_owned()], 2, 2).unwrap();
        let mut random = Seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut tags = std::collections::HashMap::<(String, String), (String, String)>::new();
        for at in 0..400 {
            let mut step = step(&mut random);
            let known = tags.get(&step.document).cloned();
            let condition = match (random.below(6), &known) {
                (0, Some(tags)) => Some(("if-match", tags.clone())),
                (1, _) => Some(("if-match", ("\"stale\"".to_owned(), "\"stale\"".to_owned()))),
                (2, Some(tags)) if step.method == "GET" => Some(("if-none-match", tags.clone())),
                // Known vendor defects: If-Match `*` on replace, If-None-Match `*` on upsert.
                _ => None,
            };
            let mut theirs: Vec<(String, String)> = step
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            if let Some((name, (our_tag, their_tag))) = condition {
                step.headers.push((name, our_tag));
                theirs.push((name.to_owned(), their_tag));
            }
            let headers: Vec<(&str, &str)> =
                step.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let ours = shop.raw(step.method, &step.path, &headers, &step.body).await;
            let body = Bytes::from(step.body.clone());
            let other = vendor.send(step.method, &step.path, &theirs, body).await.unwrap();
            assert_eq!(
                statuses(ours.status, &ours.body),
                statuses(other.status, &other.body),
                "seed {seed}, request {at}: {step:?}"
            );
            seen.extend(statuses(ours.status, &ours.body));
            let tag = crate::support::header(&ours, "etag");
            if let (Some(ours), Some(theirs)) = (tag, other.header("etag")) {
                tags.insert(step.document, (ours, theirs.to_owned()));
            }
        }
    }
    let expected = [200, 201, 204, 207, 304, 400, 404, 409, 412, 424];
    assert_eq!(seen, expected.into(), "the sequences reach every status");
}
