//! Points and batches: exactness, limits, conditions.

use azure_data_cosmos::TransactionalBatch;
use serde_json::{Value, json};

use crate::support::{Shop, header, keyed, shop};

const KEY: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"k\"]");

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_back_as_it_was_written() {
    let shop = shop(keyed(1)).await;
    let text = r#"{"z":1,"id":"a","pk":"k","big":9007199254740993,"long":18446744073709551615,"d":0.1234567890123456789,"e":1.0,"x":1e3,"u":"\u00e9é","n":null,"o":{},"l":[],"deep":[[[{"a":[1,{"b":null}]}]]]"#;
    let created = shop.raw("POST", &Shop::docs(), &[KEY], &format!("{text}}}")).await;
    assert_eq!(created.status, 201);
    let read = shop.raw("GET", "/dbs/shop/colls/orders/docs/a", &[KEY], "").await;
    let body = String::from_utf8(read.body.to_vec()).unwrap();
    assert!(body.starts_with(text), "{body}");
    let value: Value = serde_json::from_str(&body).unwrap();
    for name in ["_rid", "_self", "_etag", "_attachments", "_ts"] {
        assert!(value.get(name).is_some(), "{name}");
    }
    assert_eq!(header(&read, "etag").as_deref(), value["_etag"].as_str());
    // Written back with its system properties, it is the same document.
    let upsert = [KEY, ("x-ms-documentdb-is-upsert", "true")];
    assert_eq!(shop.raw("POST", &Shop::docs(), &upsert, &body).await.status, 200);
    assert_eq!(shop.accounts.documents("source", "shop", "orders").unwrap(), [format!("{text}}}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_not_json_is_held_byte_for_byte() {
    let shop = shop(keyed(1)).await;
    let hold = |id: &str, text: &[u8]| {
        shop.accounts.hold("source", ["shop", "orders"], "[\"k\"]", id, text).unwrap();
    };
    let texts: [(&str, &[u8]); 4] = [
        ("control", b"{\"id\":\"control\",\"pk\":\"k\",\"t\":\"a\x01b\"}"),
        ("bytes", b"{\"id\":\"bytes\",\"pk\":\"k\",\"t\":\"a\xFFb\"}"),
        ("half", br#"{"id":"half","pk":"k","t":"\ud800"}"#),
        ("huge", br#"{"id":"huge","pk":"k","t":1e400}"#),
    ];
    let checksum = || shop.accounts.checksum("source", "shop", "orders").unwrap();
    let mut before = checksum();
    for (id, text) in texts {
        hold(id, text);
        let read = shop.raw("GET", &format!("{}/{id}", Shop::docs()), &[KEY], "").await;
        assert_eq!(read.status, 200);
        assert!(read.body.starts_with(text.strip_suffix(b"}").unwrap()), "{id}");
        assert_ne!(before, checksum());
        before = checksum();
    }
    let page = shop.raw("GET", &Shop::docs(), &[("a-im", "Incremental Feed")], "").await;
    assert_eq!(page.documents, 4);
    hold("huge", br#"{"id":"huge","pk":"k","t":1e401}"#);
    assert_ne!(before, checksum(), "texts that cannot be read differ");
    // A client can send the last two as well.
    for (id, text) in &texts[2..] {
        let headers = [KEY, ("x-ms-documentdb-is-upsert", "true")];
        let body = String::from_utf8_lossy(text);
        let answer = shop.raw("POST", &Shop::docs(), &headers, &body).await;
        assert_eq!(answer.status, 200, "{id}");
    }
    shop.upsert("good", "k", 1).await;
    let query = [KEY, ("x-ms-documentdb-isquery", "true")];
    let body = r#"{"query":"SELECT c.id FROM c WHERE c.n = 1"}"#;
    assert_eq!(shop.raw("POST", &Shop::docs(), &query, body).await.documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_refuses_is_refused() {
    let shop = shop(keyed(1)).await;
    let large = format!(r#"{{"id":"a","pk":"k","t":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    let long = format!(r#"{{"id":"{}","pk":"k"}}"#, "x".repeat(1024));
    for (body, expected) in [
        (r#"{"id":"","pk":"k"}"#, 400),
        (r#"{"id":1,"pk":"k"}"#, 400),
        (r#"{"pk":"k"}"#, 400),
        (r#"{"id":"a","pk":"other"}"#, 400),
        (r#"{"id":"a","pk":{"x":1}}"#, 400),
        (r#"{"id":"a","pk":"k","ttl":0}"#, 400),
        (r#"{"id":"a","pk":"k""#, 400),
        (r#"["a"]"#, 400),
        (&long, 400),
        (&large, 413),
        (r#"{"id":"a","pk":"k"}"#, 201),
        // The service keeps these, although its documentation does not allow them.
        (r#"{"id":"a/b","pk":"k"}"#, 201),
        (r#"{"id":"a\\b","pk":"k"}"#, 201),
        (r#"{"id":"a#b","pk":"k"}"#, 201),
        (r#"{"id":"a?b","pk":"k"}"#, 201),
    ] {
        let answer = shop.raw("POST", &Shop::docs(), &[KEY], body).await;
        assert_eq!(answer.status, expected, "{}", body.get(..60).unwrap_or(body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold() {
    let shop = shop(keyed(1)).await;
    let docs = Shop::docs();
    let one = "/dbs/shop/colls/orders/docs/a";
    let body = r#"{"id":"a","pk":"k"}"#;
    let created = shop.raw("POST", &docs, &[KEY], body).await;
    let etag = header(&created, "etag").unwrap();
    let upsert = ("x-ms-documentdb-is-upsert", "true");
    let stale = ("if-match", "\"stale\"");
    let any = ("if-match", "*");
    let none = ("if-none-match", "*");
    for (method, path, headers, expected) in [
        ("PUT", one, vec![KEY, stale], 412),
        ("POST", docs.as_str(), vec![KEY, upsert, stale], 412),
        ("DELETE", one, vec![KEY, stale], 412),
        ("POST", docs.as_str(), vec![KEY, upsert, none], 412),
        ("POST", docs.as_str(), vec![KEY, none], 409),
        ("GET", one, vec![KEY, ("if-none-match", etag.as_str())], 304),
        ("PUT", one, vec![KEY, any], 200),
        ("PUT", one, vec![KEY, ("if-match", etag.as_str())], 412),
        ("DELETE", one, vec![KEY, any], 204),
        ("DELETE", one, vec![KEY, any], 404),
    ] {
        let answer = shop.raw(method, path, &headers, body).await;
        assert_eq!(answer.status, expected, "{method} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_nothing() {
    let shop = shop(keyed(1)).await;
    shop.upsert("there", "k", 1).await;
    let batch = TransactionalBatch::new("k")
        .create_item(json!({"id": "a", "pk": "k"}))
        .unwrap()
        .create_item(json!({"id": "there", "pk": "k"}))
        .unwrap()
        .delete_item("there", None);
    let answer = shop.container.execute_transactional_batch(batch, None).await.unwrap();
    let results = answer.into_model().unwrap();
    let statuses: Vec<u16> = results
        .results()
        .iter()
        .map(azure_data_cosmos::models::TransactionalBatchOperationResult::status_code)
        .collect();
    assert_eq!(statuses, [424, 409, 424]);
    assert_eq!(shop.state().documents, 1);
    let batch = TransactionalBatch::new("k")
        .create_item(json!({"id": "a", "pk": "k"}))
        .unwrap()
        .upsert_item(json!({"id": "a", "pk": "k", "n": 2}), None)
        .unwrap()
        .read_item("a", None)
        .delete_item("there", None);
    let answer = shop.container.execute_transactional_batch(batch, None).await.unwrap();
    let results = answer.into_model().unwrap();
    let statuses: Vec<u16> = results
        .results()
        .iter()
        .map(azure_data_cosmos::models::TransactionalBatchOperationResult::status_code)
        .collect();
    assert_eq!(statuses, [201, 200, 200, 204]);
    assert_eq!(shop.accounts.documents("source", "shop", "orders").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_see_every_write_with_its_own_system_properties() {
    use azure_data_cosmos::feed::{FeedScope, Query};
    use futures::TryStreamExt as _;
    let shop = shop(keyed(2)).await;
    for n in 0..20 {
        shop.upsert(&format!("é{n}"), &format!("k{n}"), n).await;
    }
    let query = async |text: &str| {
        let items = shop
            .container
            .query_items::<Value>(Query::from(text), FeedScope::full_container(), None)
            .await
            .unwrap();
        items.try_collect::<Vec<Value>>().await.unwrap()
    };
    assert_eq!(query("SELECT * FROM c").await.len(), 20);
    let some = query("SELECT * FROM c WHERE c.n >= 18 ORDER BY c.n DESC").await;
    assert_eq!(
        some.iter().map(|item| item["n"].as_i64()).collect::<Vec<_>>(),
        [Some(19), Some(18)]
    );
    let read = shop.container.read_item("k19", "é19", None).await.unwrap();
    assert_eq!(some[0], read.into_model::<Value>().unwrap());
    shop.container.delete_item("k19", "é19", None).await.unwrap();
    assert_eq!(query("SELECT c.id, c._ts FROM c WHERE c.pk = \"k19\"").await.len(), 0);
    let one = query("SELECT c.id, c._etag FROM c WHERE c.pk = \"k18\"").await;
    assert_eq!(one, [json!({"id": "é18", "_etag": some[1]["_etag"]})]);
}
