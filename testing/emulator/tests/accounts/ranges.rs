//! Splits, merges and their windows, and recreated containers.

use azure_data_cosmos::options::{ChangeFeedMode, ChangeFeedStartFrom};

use crate::support::{CONTAINER, DATABASE, keyed, numbered, read, read_latest, shop, sorted};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_parent_resumes_on_both_children_without_loss_or_repetition() {
    let shop = shop(keyed(1)).await;
    for n in 0..60 {
        shop.upsert(&format!("d{n}"), &format!("k{n}"), n).await;
    }
    let first = read_latest(&shop, None).await;
    assert_eq!(shop.split().await.len(), 2);
    assert_eq!(shop.split().await.len(), 2);
    assert_eq!(shop.state().ranges.len(), 3);
    for n in 0..60 {
        shop.upsert(&format!("e{n}"), &format!("k{n}"), n).await;
    }
    let second = read_latest(&shop, Some(first.token)).await;
    assert_eq!(sorted(second.ids), numbered("e", 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_after_a_merge_are_not_lost() {
    let shop = shop(keyed(2)).await;
    for n in 0..40 {
        shop.upsert(&format!("d{n}"), &format!("k{n}"), n).await;
    }
    let first = read_latest(&shop, None).await;
    let merged = shop.accounts.merge("source", DATABASE, CONTAINER, ["0", "1"]).await.unwrap();
    assert_eq!(merged.len(), 1);
    for n in 0..3 {
        shop.upsert(&format!("e{n}"), &format!("k{n}"), n).await;
    }
    let second = read_latest(&shop, Some(first.token)).await;
    assert_eq!(sorted(second.ids), numbered("e", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_split_refuses_its_range_until_it_is_completed() {
    let shop = shop(keyed(1)).await;
    shop.upsert("a", "k", 1).await;
    let first = read_latest(&shop, None).await;
    let world = &shop.accounts.world;
    world.split("source", DATABASE, CONTAINER, Some("0"), true).await.unwrap();
    let range = ("x-ms-documentdb-partitionkeyrangeid", "0");
    let feed = shop
        .raw("GET", &crate::support::Shop::docs(), &[("a-im", "Incremental Feed"), range], "")
        .await;
    assert_eq!((feed.status, feed.substatus), (410, Some(1007)));
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let path = format!("{}/a", crate::support::Shop::docs());
    let point = shop.raw("GET", &path, &[key], "").await;
    assert_eq!((point.status, point.substatus), (410, Some(1007)));
    let start = ChangeFeedStartFrom::Beginning;
    let mode = ChangeFeedMode::LatestVersion;
    let failed = read(&shop.container, start.clone(), Some(first.token.clone()), mode, 10).await;
    assert!(failed.is_err(), "the SDK does not wait the window out");
    let again = world.split("source", DATABASE, CONTAINER, Some("0"), true).await;
    assert!(again.is_err(), "one window at a time");
    assert_eq!(world.complete("source", DATABASE, CONTAINER).await.unwrap().len(), 2);
    let gone = shop
        .raw("GET", &crate::support::Shop::docs(), &[("a-im", "Incremental Feed"), range], "")
        .await;
    assert_eq!((gone.status, gone.substatus), (410, Some(1002)));
    shop.upsert("b", "k", 1).await;
    let second = read(&shop.container, start, Some(first.token), mode, 10).await.unwrap();
    assert_eq!(second.ids, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_outwaits_a_short_split() {
    let shop = shop(keyed(1)).await;
    let world = &shop.accounts.world;
    world.split("source", DATABASE, CONTAINER, None, true).await.unwrap();
    let close = async {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        assert_eq!(shop.state().documents, 0);
        world.complete("source", DATABASE, CONTAINER).await.unwrap();
    };
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let docs = crate::support::Shop::docs();
    let headers = [key];
    let write = shop.raw("POST", &docs, &headers, r#"{"id":"a","pk":"k"}"#);
    let (written, ()) = futures::future::join(write, close).await;
    assert_eq!(written.status, 201);
    assert_eq!(shop.state().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_merge_refuses_both_ranges() {
    let shop = shop(keyed(2)).await;
    let world = &shop.accounts.world;
    world.merge("source", DATABASE, CONTAINER, ["0", "1"], true).await.unwrap();
    for range in ["0", "1"] {
        let range = ("x-ms-documentdb-partitionkeyrangeid", range);
        let headers = [("a-im", "Incremental Feed"), range];
        let feed = shop.raw("GET", &crate::support::Shop::docs(), &headers, "").await;
        assert_eq!((feed.status, feed.substatus), (410, Some(1007)));
    }
    assert_eq!(world.complete("source", DATABASE, CONTAINER).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_container_that_was_recreated_is_refused() {
    let shop = shop(keyed(1)).await;
    shop.upsert("a", "k", 1).await;
    let first = read_latest(&shop, None).await;
    let old = shop.state().rid;
    shop.accounts.world.delete_container("source", DATABASE, CONTAINER).await.unwrap();
    let start = ChangeFeedStartFrom::Beginning;
    let mode = ChangeFeedMode::LatestVersion;
    let deleted = read(&shop.container, start.clone(), Some(first.token.clone()), mode, 10).await;
    assert_eq!(deleted.err().map(|error| u16::from(error.status().status_code())), Some(404));
    shop.accounts.create_container("source", DATABASE, CONTAINER, &keyed(1)).await.unwrap();
    let refused = read(&shop.container, start, Some(first.token), mode, 10).await;
    assert_eq!(refused.err().map(|error| u16::from(error.status().status_code())), Some(400));
    let headers =
        [("a-im", "Incremental Feed"), ("x-ms-cosmos-intended-collection-rid", old.as_str())];
    let raw = shop.raw("GET", &crate::support::Shop::docs(), &headers, "").await;
    assert_eq!((raw.status, raw.substatus), (400, Some(1024)));
    let by_rid = format!("/dbs/{DATABASE}/colls/{old}/docs");
    let raw = shop.raw("GET", &by_rid, &[("a-im", "Incremental Feed")], "").await;
    assert_eq!((raw.status, raw.substatus), (404, Some(1003)));
}
