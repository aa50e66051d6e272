//! Keys of old kinds of containers through a client that hashes them itself.

use serde_json::{Value, json};

use crate::management;
use crate::process::{self, Clients, LocalProcess};

/// Documents with keys of all kinds, in each range some.
fn documents() -> Vec<Value> {
    let key = |n: usize| match n % 6 {
        0 => json!(format!("customer {n}")),
        1 => json!(n),
        2 => json!(f64::from(u32::try_from(n).unwrap()) / -7.0),
        3 => json!(format!("{n}{}", "x".repeat(150))),
        4 => json!(format!("Ωмега {n} 日本")),
        _ => [json!(true), json!(false), json!(null), json!("")][n / 6 % 4].clone(),
    };
    (0..120).map(|n| json!({"id": format!("d{n}"), "pk": key(n)})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_client_hashes_keys_of_version_1_alike_and_knows_containers_without_a_key() {
    let accounts = LocalProcess::start(&[
        "--account=old",
        "--container=old/shop/old=/pk;partitions=5;version=1",
        "--container=old/shop/keyless=none",
    ]);
    let (accounts, clients) = (accounts.await.unwrap(), Clients::find().await.unwrap());
    let given = json!({
        "endpoint": accounts.account(0, "endpoint"),
        "key": accounts.account(0, "key"),
        "database": "shop",
        "documents": documents(),
    });
    let mut client = clients.node("tests/sdk_keys.mjs");
    let (report, code) = process::run(&mut client, &given.to_string()).await.unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(report["old"], json!({"created": {"201": 120}, "read": {"200": 120}}));
    let keyless = json!({"systemKey": true, "statuses": [201, 201, 200, 204], "found": [2],
        "changes": ["one", "two"]});
    assert_eq!(report["keyless"], keyless);
    let container = "/accounts/old/databases/shop/containers/keyless/documents";
    let left = management::lines(&accounts.url(container)).await.unwrap();
    assert_eq!(left, [json!({"id": "one", "n": 1})]);
    accounts.stop().await.unwrap();
}
