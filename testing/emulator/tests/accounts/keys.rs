//! Partition keys of containers that were made long ago: hashed in version 1, or none at all.

use azure_data_cosmos::feed::{FeedScope, Query};
use azure_data_cosmos::models::PartitionKey;
use cosmos_bridge_emulator::ContainerSettings;
use cosmos_bridge_emulator::key::{EffectiveKey, KeyValue};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::support::{CONTAINER, DATABASE, Shop, numbered, read_latest, shop, sorted};

fn old(partitions: u32) -> ContainerSettings {
    ContainerSettings { partition_key_version: 1, ..ContainerSettings::new(&["/pk"], partitions) }
}

async fn metadata(shop: &Shop) -> Value {
    let path = format!("/dbs/{DATABASE}/colls/{CONTAINER}");
    serde_json::from_slice(&shop.raw("GET", &path, &[], "").await.body).unwrap()
}

/// From the tests of the vendor's SDKs.
#[tokio::test(flavor = "multi_thread")]
async fn version_1_hashes_a_key_and_appends_its_first_hundred_characters() {
    let shop = shop(old(1)).await;
    let container = shop.accounts.world.container("source", DATABASE, CONTAINER).unwrap();
    let hundred = format!("05C1EB5921F70608{}00", "62".repeat(100));
    for (value, expected) in [
        (KeyValue::Text(String::new()), "05C1CF33970FF80800"),
        (KeyValue::Text("partitionKey".to_owned()), "05C1E1B3D9CD2608716273756A756A706F4C667A00"),
        (KeyValue::Text("a".repeat(100)), hundred.as_str()),
        (KeyValue::Text("a".repeat(1024)), hundred.as_str()),
        (KeyValue::Null, "05C1ED45D7475601"),
        (KeyValue::Bool(true), "05C1D7C5A903D803"),
        (KeyValue::Bool(false), "05C1DB857D857C02"),
        (KeyValue::Number(-128.0), "05C1D73349F54C053FA0"),
        (KeyValue::Number(127.0), "05C1DD539DDFCC05C05FE0"),
    ] {
        let key = container.effective_key(std::slice::from_ref(&value)).unwrap();
        assert_eq!(key, EffectiveKey::from_hex(expected).unwrap(), "{value:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_version_1_spreads_over_its_ranges_and_can_be_split() {
    let shop = shop(old(4)).await;
    assert_eq!(metadata(&shop).await["partitionKey"]["version"], 1);
    let long = "long ".repeat(30);
    let key = |n: usize| match n % 3 {
        0 => format!("k{n}"),
        1 => format!("{n} {long}"),
        _ => format!("ключ {n} 日本"),
    };
    for n in 0..80 {
        shop.upsert(&format!("d{n}"), &key(n), 1).await;
    }
    let ranges = shop.state().ranges;
    assert!(ranges.iter().all(|range| range.documents > 0), "{ranges:?}");
    assert!(ranges.iter().skip(1).all(|range| range.min.starts_with("05C1")), "{ranges:?}");
    assert_eq!(sorted(read_latest(&shop, None).await.ids), numbered("d", 80));

    assert_eq!(shop.split().await.len(), 2);
    assert_eq!(sorted(read_latest(&shop, None).await.ids), numbered("d", 80));
    let found: Vec<Value> = shop
        .container
        .query_items(
            "SELECT c.id FROM c WHERE c.n = 1".to_owned(),
            FeedScope::partition(key(4)),
            None,
        )
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(found, [json!({"id": "d4"})]);
    for n in 0..80 {
        let id = format!("d{n}");
        assert!(shop.container.read_item(key(n), &id, None).await.is_ok(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_version_1_that_begin_alike_are_one_partition() {
    let shop = shop(old(2)).await;
    let keys = ["x", "y"].map(|end| format!("{}{end}", "a".repeat(100)));
    shop.upsert("one", &keys[0], 1).await;
    let item = json!({"id": "one", "pk": keys[1]});
    let refused = shop.container.create_item(keys[1].clone(), "one", item, None).await;
    assert_eq!(u16::from(refused.unwrap_err().status().status_code()), 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_a_container_without_a_partition_key_have_an_undefined_key() {
    const KEY: &str = "x-ms-documentdb-partitionkey";
    let shop = shop(ContainerSettings::without_key()).await;
    let shown = metadata(&shop).await["partitionKey"].clone();
    let expected =
        json!({"paths": ["/_partitionKey"], "kind": "Hash", "version": 1, "systemKey": true});
    assert_eq!(shown, expected);

    let undefined = PartitionKey::from(azure_data_cosmos::models::PartitionKeyValue::UNDEFINED);
    let item = json!({"id": "of rust", "n": 1});
    shop.container.upsert_item(undefined.clone(), "of rust", item, None).await.unwrap();
    let create = shop.raw("POST", &Shop::docs(), &[(KEY, "[]")], r#"{"id":"plain","n":2}"#).await;
    assert_eq!(create.status, 201);
    let keyed = r#"{"id":"keyed","_partitionKey":"k","n":3}"#;
    assert_eq!(shop.raw("POST", &Shop::docs(), &[(KEY, "[\"k\"]")], keyed).await.status, 201);

    for (id, key, expected) in [
        ("plain", "[]", 200),
        ("plain", "[{}]", 200),
        ("of%20rust", "[]", 200),
        ("keyed", "[]", 404),
        ("keyed", "[\"k\"]", 200),
    ] {
        let path = format!("{}/{id}", Shop::docs());
        assert_eq!(shop.raw("GET", &path, &[(KEY, key)], "").await.status, expected, "{id} {key}");
    }
    assert!(shop.container.read_item(undefined.clone(), "plain", None).await.is_ok());
    let query = Query::from("SELECT c.n FROM c WHERE c.n > 1");
    let rows = shop.container.query_items(query, FeedScope::partition(undefined), None).await;
    let rows: Vec<Value> = rows.unwrap().try_collect().await.unwrap();
    assert_eq!(rows, [json!({"n": 2})]);
    let (_, _, feed) = shop.raw_feed(&[("a-im", "Incremental Feed"), (KEY, "[]")]).await;
    let ids: Vec<_> = feed["Documents"].as_array().unwrap().iter().map(|d| &d["id"]).collect();
    assert_eq!(ids, ["of rust", "plain"]);
    assert_eq!(read_latest(&shop, None).await.ids.len(), 3);
    let path = format!("{}/plain", Shop::docs());
    assert_eq!(shop.raw("DELETE", &path, &[(KEY, "[]")], "").await.status, 204);
}
