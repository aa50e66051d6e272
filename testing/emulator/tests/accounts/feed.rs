//! The change feed: modes, starts, pages, envelopes.

use azure_data_cosmos::options::{ChangeFeedMode, ChangeFeedStartFrom};
use cosmos_bridge_emulator::{ContainerSettings, DeleteCurrent, PreviousImages};
use serde_json::{Value, json};

use crate::support::{Shop, keyed, numbered, read, read_latest, shop, sorted};

fn with_history(partitions: u32) -> ContainerSettings {
    ContainerSettings { retention_seconds: Some(3600), ..keyed(partitions) }
}

fn with_images(previous_images: PreviousImages, partitions: u32) -> ContainerSettings {
    ContainerSettings { previous_images, ..with_history(partitions) }
}

/// Creates, replaces and deletes a document, and gives the items of the all-versions feed.
async fn lifetime(settings: ContainerSettings) -> Vec<Value> {
    let shop = shop(settings).await;
    let full = ("a-im", "Full-Fidelity Feed");
    let (_, etag, _) = shop.raw_feed(&[full, ("if-none-match", "*")]).await;
    for n in [1, 2] {
        let item = json!({"id": "a", "pk": "k", "n": n, "to": {"city": "Bern", "zip": 3000}});
        shop.container.upsert_item("k", "a", item, None).await.unwrap();
    }
    shop.container.delete_item("k", "a", None).await.unwrap();
    let (_, _, page) = shop.raw_feed(&[full, ("if-none-match", &etag)]).await;
    page["Documents"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_version_of_each_document_is_read_once_and_reading_resumes_in_a_new_client() {
    let shop = shop(keyed(3)).await;
    for n in 0..50 {
        shop.upsert(&format!("d{n}"), &format!("k{}", n % 7), n).await;
        shop.upsert(&format!("d{n}"), &format!("k{}", n % 7), n + 1).await;
    }
    let first = read_latest(&shop, None).await;
    assert_eq!(sorted(first.ids), numbered("d", 50));
    assert!(first.pages > 5, "pages hold ten items");
    shop.upsert("late", "k1", 1).await;
    let again = crate::support::client(&shop.accounts, "source").await;
    let start = ChangeFeedStartFrom::Beginning;
    let second =
        read(&again, start, Some(first.token), ChangeFeedMode::LatestVersion, 10).await.unwrap();
    assert_eq!(second.ids, ["late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_outside_ascii_and_odd_ids_do_not_replay_the_feed() {
    let shop = shop(keyed(1)).await;
    let ids = ["é", "日本", "a b+c", "q'\"", "%41", "x,y", "🙂"];
    for id in ids {
        shop.upsert(id, "k", 1).await;
        let read = shop.container.read_item("k", id, None).await;
        assert!(read.is_ok(), "{id}: {:?}", read.err());
    }
    let read = read_latest(&shop, None).await;
    assert_eq!(sorted(read.ids), sorted(ids.iter().map(|id| (*id).to_owned()).collect()));
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_now_or_at_a_time_leaves_out_what_was_before() {
    let shop = shop(keyed(1)).await;
    shop.upsert("old", "k", 1).await;
    shop.accounts.advance_clock(100);
    let (status, etag, _) =
        shop.raw_feed(&[("a-im", "Incremental Feed"), ("if-none-match", "*")]).await;
    assert_eq!((status, etag.as_str()), (304, "\"1\""));
    shop.upsert("new", "k", 1).await;
    let (status, _, page) =
        shop.raw_feed(&[("a-im", "Incremental Feed"), ("if-none-match", &etag)]).await;
    assert_eq!((status, page["Documents"][0]["id"].as_str()), (200, Some("new")));
    let now = shop.accounts.world.clock.now();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(now) - 50);
    let date = httpdate::fmt_http_date(time);
    let (_, _, page) =
        shop.raw_feed(&[("a-im", "Incremental Feed"), ("if-modified-since", &date)]).await;
    assert_eq!(page["_count"], 1);
    assert_eq!(page["Documents"][0]["id"], "new");
    let future = httpdate::fmt_http_date(time + std::time::Duration::from_hours(1));
    let (status, ..) =
        shop.raw_feed(&[("a-im", "Incremental Feed"), ("if-modified-since", &future)]).await;
    assert_eq!(status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn flat_items_carry_their_lsn_and_enveloped_ones_their_metadata() {
    let shop = shop(keyed(1)).await;
    shop.upsert("a", "k", 1).await;
    let (_, _, flat) = shop.raw_feed(&[("a-im", "Incremental Feed")]).await;
    assert_eq!(flat["Documents"][0]["_lsn"], 1);
    let version = ("x-ms-cosmos-changefeed-wire-format-version", "2021-09-15");
    let (_, _, page) = shop.raw_feed(&[("a-im", "Incremental Feed"), version]).await;
    let item = &page["Documents"][0];
    assert_eq!(item["metadata"]["lsn"], 1);
    assert!(item["metadata"]["crts"].is_u64());
    assert_eq!(item["current"]["id"], "a");
    assert_eq!(item.get("previous"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_never_split_over_pages() {
    let shop = shop(keyed(1)).await;
    shop.upsert("before", "k", 0).await;
    let operations: Vec<Value> = (0..30)
        .map(|n| serde_json::json!({"operationType": "Create", "resourceBody": {"id": format!("t{n}"), "pk": "k"}}))
        .collect();
    let headers = [
        ("x-ms-cosmos-is-batch-request", "true"),
        ("x-ms-cosmos-batch-atomic", "true"),
        ("x-ms-documentdb-partitionkey", "[\"k\"]"),
    ];
    let answer =
        shop.raw("POST", &Shop::docs(), &headers, &Value::from(operations).to_string()).await;
    assert_eq!(answer.status, 200);
    shop.upsert("after", "k", 0).await;
    let mut etag: Option<String> = None;
    let mut counts = Vec::new();
    loop {
        let mut headers = vec![("a-im", "Incremental Feed"), ("x-ms-max-item-count", "5")];
        if let Some(etag) = &etag {
            headers.push(("if-none-match", etag));
        }
        let (status, next, page) = shop.raw_feed(&headers).await;
        if status == 304 {
            break;
        }
        counts.push(page["_count"].as_u64().unwrap());
        etag = Some(next);
    }
    assert_eq!(counts, [31, 1], "the transaction exceeds the page and stays whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_and_deletes_come_with_previous_images() {
    let shop = shop(with_images(PreviousImages::All, 2)).await;
    shop.upsert("before", "k", 0).await;
    let mode = ChangeFeedMode::AllVersionsAndDeletes;
    let now = read(&shop.container, ChangeFeedStartFrom::Now, None, mode, 10).await.unwrap();
    assert!(now.items.is_empty());
    shop.upsert("a", "k", 1).await;
    shop.upsert("a", "k", 2).await;
    shop.container.delete_item("k", "a", None).await.unwrap();
    let start = ChangeFeedStartFrom::Beginning;
    let read = read(&shop.container, start, Some(now.token), mode, 10).await.unwrap();
    let seen: Vec<(String, Option<i64>, Option<i64>)> = read
        .items
        .iter()
        .map(|item| {
            let n = |document: Option<&Value>| document.and_then(|value| value["n"].as_i64());
            (format!("{:?}", item.operation_type().unwrap()), n(item.current()), n(item.previous()))
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("Create".to_owned(), Some(1), None),
            ("Replace".to_owned(), Some(2), Some(1)),
            ("Delete".to_owned(), None, Some(2)),
        ]
    );
    let last = read.items[2].metadata().unwrap();
    assert_eq!(last.id(), Some("a"));
    assert_eq!(last.partition_key(), Some(&serde_json::json!(["k"])));
    assert_eq!(last.time_to_live_expired(), Some(false));
    assert_eq!(last.previous_image_lsn().map(|lsn| lsn.value()), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_policy_says_which_changes_carry_an_image() {
    for (images, expected) in [
        (PreviousImages::None, [None, None, None]),
        (PreviousImages::Replace, [None, Some(1), None]),
        (PreviousImages::Delete, [None, None, Some(2)]),
        (PreviousImages::All, [None, Some(1), Some(2)]),
    ] {
        let items = lifetime(with_images(images, 1)).await;
        let of = |item: &Value| item.get("previous").map(|image| image["n"].as_i64().unwrap());
        assert_eq!(items.iter().map(of).collect::<Vec<_>>(), expected, "{images:?}");
        for (item, expected) in items.iter().zip(expected) {
            let lsn = item["metadata"].get("previousImageLSN");
            assert_eq!(lsn.is_some(), expected.is_some(), "{images:?}");
        }
        // Whom a delete is about does not depend on its image.
        let deleted = &items[2]["metadata"];
        assert_eq!((&deleted["id"], &deleted["partitionKey"]), (&json!("a"), &json!(["k"])));
    }
    assert_eq!(keyed(1).previous_images, PreviousImages::None, "as in the service");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_has_only_the_paths_that_the_policy_names() {
    let included_paths = ["/to/city", "/missing", "/pk"].map(str::to_owned).to_vec();
    let settings = ContainerSettings { included_paths, ..with_images(PreviousImages::All, 1) };
    let items = lifetime(settings).await;
    assert_eq!(items[2]["previous"], json!({"pk": "k", "to": {"city": "Bern"}}));
    assert_eq!(items[1]["current"]["to"]["zip"], 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_has_an_empty_current_none_or_the_id_alone() {
    for (delete_current, expected) in [
        (DeleteCurrent::Empty, Some(json!({}))),
        (DeleteCurrent::Absent, None),
        (DeleteCurrent::IdOnly, Some(json!({"id": "a"}))),
    ] {
        let items = lifetime(ContainerSettings { delete_current, ..with_history(1) }).await;
        assert_eq!(items[2].get("current"), expected.as_ref(), "{delete_current:?}");
        assert_eq!(items[2]["metadata"]["operationType"], "delete");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_time_is_over_disappears_and_is_reported_as_expired() {
    let shop = shop(ContainerSettings { default_ttl: Some(60), ..with_history(1) }).await;
    let mode = ChangeFeedMode::AllVersionsAndDeletes;
    let now = read(&shop.container, ChangeFeedStartFrom::Now, None, mode, 10).await.unwrap();
    shop.upsert("short", "k", 1).await;
    let item = serde_json::json!({"id": "long", "pk": "k", "ttl": 1000});
    shop.container.upsert_item("k", "long", item, None).await.unwrap();
    let item = serde_json::json!({"id": "ever", "pk": "k", "ttl": -1});
    shop.container.upsert_item("k", "ever", item, None).await.unwrap();
    shop.accounts.advance_clock(61);
    assert!(shop.container.read_item("k", "short", None).await.is_err());
    let start = ChangeFeedStartFrom::Beginning;
    let read = read(&shop.container, start, Some(now.token), mode, 10).await.unwrap();
    let last = read.items.last().unwrap().metadata().unwrap();
    assert_eq!((last.id(), last.time_to_live_expired()), (Some("short"), Some(true)));
    shop.accounts.advance_clock(2000);
    assert_eq!(shop.accounts.documents("source", "shop", "orders").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_refused_where_it_is_not_kept_or_no_longer_known() {
    let full = ("a-im", "Full-Fidelity Feed");
    let without = shop(keyed(1)).await;
    assert_eq!(without.raw_feed(&[full, ("if-none-match", "*")]).await.0, 400);
    let shop = shop(with_history(1)).await;
    assert_eq!(shop.raw_feed(&[full]).await.0, 400, "from the beginning");
    let date = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(shop.raw_feed(&[full, date]).await.0, 400, "from a time");
    let (status, etag, _) = shop.raw_feed(&[full, ("if-none-match", "*")]).await;
    assert_eq!(status, 304);
    shop.upsert("a", "k", 1).await;
    assert_eq!(shop.raw_feed(&[full, ("if-none-match", &etag)]).await.0, 200);
    shop.accounts.advance_clock(3601);
    assert_eq!(shop.raw_feed(&[full, ("if-none-match", &etag)]).await.0, 400, "too old");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_can_keep_history_for_containers_that_clients_make() {
    let shop = shop(ContainerSettings { retention_seconds: Some(0), ..keyed(1) }).await;
    shop.accounts.keep_history("source", Some(60));
    let body =
        json!({"id": "made", "partitionKey": {"paths": ["/pk"], "kind": "Hash"}}).to_string();
    assert_eq!(shop.raw("POST", "/dbs/shop/colls", &[], &body).await.status, 201);
    let full = ("a-im", "Full-Fidelity Feed");
    let made = "/dbs/shop/colls/made/docs";
    let now = async || shop.raw("GET", made, &[full, ("if-none-match", "*")], "").await.status;
    assert_eq!(now().await, 304);
    let own = shop.raw_feed(&[full, ("if-none-match", "*")]).await.0;
    assert_eq!(own, 400, "the container has said that it keeps none");
    shop.accounts.keep_history("source", None);
    assert_eq!(now().await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_effective_keys_and_a_logical_partition_can_be_read_alone() {
    let shop = shop(keyed(1)).await;
    for n in 0..40 {
        shop.upsert(&format!("d{n}"), &format!("k{n}"), n).await;
    }
    let kind = ("x-ms-read-key-type", "EffectivePartitionKeyRange");
    let feed = ("a-im", "Incremental Feed");
    let (range, end) = (("x-ms-documentdb-partitionkeyrangeid", "0"), ("x-ms-end-epk", "20"));
    let (_, _, low) = shop.raw_feed(&[feed, kind, range, ("x-ms-start-epk", ""), end]).await;
    let (_, _, high) = shop.raw_feed(&[feed, kind, range, ("x-ms-start-epk", "20")]).await;
    let count = |page: &Value| page["_count"].as_u64().unwrap_or_default();
    assert_eq!(count(&low) + count(&high), 40);
    assert!(count(&low) > 5 && count(&high) > 5);
    assert_eq!(shop.raw_feed(&[feed, ("x-ms-start-epk", "20")]).await.0, 400, "no key type");
    let (_, _, one) = shop.raw_feed(&[feed, ("x-ms-documentdb-partitionkey", "[\"k3\"]")]).await;
    assert_eq!((count(&one), one["Documents"][0]["id"].as_str()), (1, Some("d3")));
}
