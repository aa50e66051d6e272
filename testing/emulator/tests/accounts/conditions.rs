//! Conditional writes, alone and in batches, and the queries that find the etags for them, through the SDK.

use azure_core::http::Etag;
use azure_data_cosmos::TransactionalBatch;
use azure_data_cosmos::feed::{FeedScope, Query};
use azure_data_cosmos::models::{ItemResponse, TransactionalBatchOperationResult};
use azure_data_cosmos::options::{
    BatchDeleteOptions, BatchReplaceOptions, ItemWriteOptions, Precondition,
};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::support::{Shop, keyed, shop, sorted};

fn document(id: &str, n: i64) -> Value {
    json!({"id": id, "pk": "k", "n": n})
}

fn status(result: azure_data_cosmos::Result<ItemResponse>) -> u16 {
    match result {
        Ok(response) => u16::from(response.status().status_code()),
        Err(error) => u16::from(error.status().status_code()),
    }
}

/// Creates a document and gives its etag.
async fn create(shop: &Shop, id: &str) -> Etag {
    let created = shop.container.create_item("k", id, document(id, 1), None).await.unwrap();
    created.headers().etag().unwrap().clone()
}

fn options(etag: &Etag) -> ItemWriteOptions {
    ItemWriteOptions::default().with_precondition(Precondition::if_match(etag.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_write_with_a_condition_needs_the_version_that_it_names() {
    let shop = shop(keyed(1)).await;
    let (container, first) = (&shop.container, create(&shop, "a").await);
    assert_eq!(status(container.create_item("k", "a", document("a", 2), None).await), 409);
    let replaced = container.replace_item("k", "a", document("a", 2), Some(options(&first))).await;
    let replaced = replaced.unwrap();
    let second = replaced.headers().etag().unwrap().clone();
    assert_ne!(first, second);
    let again = container.replace_item("k", "a", document("a", 3), Some(options(&first))).await;
    assert_eq!(status(again), 412);
    assert_eq!(status(container.delete_item("k", "a", Some(options(&first))).await), 412);
    let upsert = container.upsert_item("k", "a", document("a", 4), Some(options(&first))).await;
    assert_eq!(status(upsert), 412);
    let documents = shop.accounts.documents("source", "shop", "orders").unwrap();
    let stored: Value = serde_json::from_str(&documents[0]).unwrap();
    assert_eq!(stored, document("a", 2));
    assert_eq!(status(container.delete_item("k", "a", Some(options(&second))).await), 204);
    let gone = container.replace_item("k", "a", document("a", 5), Some(options(&second))).await;
    assert_eq!(status(gone), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_of_a_batch_has_its_own_condition_and_tells_its_etag() {
    let shop = shop(keyed(1)).await;
    let (a, b) = (create(&shop, "a").await, create(&shop, "b").await);
    let replace = |etag: &Etag| {
        let condition = Precondition::if_match(etag.clone());
        Some(BatchReplaceOptions::default().with_precondition(condition))
    };
    let delete = |etag: &Etag| {
        let condition = Precondition::if_match(etag.clone());
        Some(BatchDeleteOptions::default().with_precondition(condition))
    };
    let run = async |batch| {
        let response = shop.container.execute_transactional_batch(batch, None).await.unwrap();
        let results = response.into_model().unwrap();
        let told = |result: &TransactionalBatchOperationResult| {
            (result.status_code(), result.etag().map(str::to_owned))
        };
        results.results().iter().map(told).collect::<Vec<_>>()
    };
    let batch = TransactionalBatch::new("k")
        .replace_item("a", document("a", 2), replace(&a))
        .and_then(|batch| batch.create_item(document("c", 1)))
        .unwrap()
        .delete_item("b", delete(&b));
    let results = run(batch).await;
    assert_eq!(results.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 201, 204]);
    let read = async |id: &str| {
        let read = shop.container.read_item("k", id, None).await.unwrap();
        Some(read.headers().etag().unwrap().to_string())
    };
    assert_eq!((&results[0].1, &results[1].1), (&read("a").await, &read("c").await));
    assert_eq!(results[2].1, None);

    // One operation with an old condition undoes the others.
    for (stale, expected) in [
        (
            TransactionalBatch::new("k")
                .create_item(document("d", 1))
                .and_then(|batch| batch.replace_item("a", document("a", 3), replace(&a)))
                .unwrap(),
            [424, 412],
        ),
        (
            TransactionalBatch::new("k")
                .create_item(document("d", 1))
                .unwrap()
                .delete_item("a", delete(&a)),
            [424, 412],
        ),
        (
            TransactionalBatch::new("k")
                .create_item(document("c", 9))
                .and_then(|batch| batch.upsert_item(document("d", 1), None))
                .unwrap(),
            [409, 424],
        ),
    ] {
        let results = run(stale).await;
        assert_eq!(results.iter().map(|(status, _)| *status).collect::<Vec<_>>(), expected);
        assert!(results.iter().all(|(_, etag)| etag.is_none()));
    }
    assert_eq!(shop.state().documents, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_one_partition_finds_documents_and_etags_by_ids() {
    let shop = shop(keyed(2)).await;
    for id in ["a", "b", "c", "it's \"q\" é 日本"] {
        let item = json!({"id": id, "pk": "k", "_x": {"from": id}});
        shop.container.upsert_item("k", id, item, None).await.unwrap();
    }
    shop.upsert("a", "other", 1).await;
    let rows = async |query: Query| {
        let scope = FeedScope::partition("k");
        let rows = shop.container.query_items::<Value>(query, scope, None).await.unwrap();
        rows.try_collect::<Vec<_>>().await.unwrap()
    };
    let ids = |rows: &[Value]| {
        sorted(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect())
    };
    let wanted = json!(["b", "missing", "it's \"q\" é 日本"]);
    let text = "SELECT c.id, c._etag, c[\"_x\"] FROM c WHERE ARRAY_CONTAINS(@ids, c.id)";
    let found = rows(Query::from(text).with_parameter("@ids", wanted).unwrap()).await;
    assert_eq!(ids(&found), ["b", "it's \"q\" é 日本"]);
    for row in &found {
        let id = row["id"].as_str().unwrap();
        let read = shop.container.read_item("k", id, None).await.unwrap();
        assert_eq!(row["_etag"].as_str().unwrap(), read.headers().etag().unwrap().to_string());
        assert_eq!(row["_x"]["from"], *id);
        assert_eq!(row.as_object().unwrap().len(), 3);
    }
    let text = "SELECT c.id, c._etag, c[\"_x\"] FROM c WHERE c.id IN (\"a\",\"c\",\"missing\")";
    assert_eq!(ids(&rows(Query::from(text)).await), ["a", "c"]);
    let text = "SELECT VALUE c FROM c WHERE c.id = @id AND c._x.from = \"a\"";
    let found = rows(Query::from(text).with_parameter("@id", "a").unwrap()).await;
    assert_eq!((found.len(), &found[0]["_x"]), (1, &json!({"from": "a"})));
}
