//! Requests as other official clients send them: resources by their `_rid`, empty headers, versions of
//! keys as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cosmos_bridge_emulator::{ContainerSettings, LocalAccounts};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use crate::support::{Shop, header, keyed, shop};

const KEY: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"k\"]");

/// The rids of the database and of the container.
async fn rids(shop: &Shop) -> [String; 2] {
    let mut rids = ["/dbs/shop", "/dbs/shop/colls/orders"].map(str::to_owned);
    for path in &mut rids {
        let answer = shop.raw("GET", path, &[], "").await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["_rid"].as_str().unwrap().clone_into(path);
    }
    rids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_can_be_addressed_by_its_rid() {
    let shop = shop(keyed(3)).await;
    shop.upsert("a/b", "k", 7).await;
    let [database, container] = rids(&shop).await;
    let by_rid = format!("/dbs/{database}/colls/{container}");
    let read = async |path: &str, headers: &[(&str, &str)]| {
        let answer = shop.raw("GET", path, headers, "").await;
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap_or_default())
    };
    let (status, ranges) = read(&format!("{by_rid}/pkranges"), &[]).await;
    assert_eq!((status, ranges["PartitionKeyRanges"].as_array().unwrap().len()), (200, 3));
    let (status, found) = read(&by_rid, &[]).await;
    assert_eq!((status, &found["id"]), (200, &json!("orders")));
    let (status, found) = read(&format!("/dbs/{database}"), &[]).await;
    assert_eq!((status, &found["id"]), (200, &json!("shop")));
    let encoded = by_rid.replace('=', "%3D");
    assert_eq!(read(&encoded, &[]).await.1["id"], "orders");
    let (_, listed) = read(&format!("{by_rid}/docs"), &[]).await;
    let document = &listed["Documents"][0];
    let rid = document["_rid"].as_str().unwrap();
    let (status, found) = read(&format!("{by_rid}/docs/{rid}"), &[KEY]).await;
    assert_eq!((status, &found), (200, document));
    assert_eq!(read(&format!("/dbs/{database}/colls/AAAAAJAAAAA="), &[]).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_rid_is_signed_by_the_rid_alone() {
    let accounts = LocalAccounts::start(&["source"]).await.unwrap();
    let check = |path: &str, kind: &str, link: &str| {
        let key = STANDARD.decode(accounts.key("source")).unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("get\n{kind}\n{link}\ntoday\n\n").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let header = format!("type=master&ver=1.0&sig={signature}");
        let account = accounts.world.account("source").unwrap();
        account.credentials.check(Some(&header), "GET", path, "today").is_ok()
    };
    let path = "/dbs/AAAAAQ==/colls/AAAAAYAAAAE=/pkranges";
    assert!(check(path, "pkranges", "aaaaayaaaae="));
    assert!(!check(path, "pkranges", "aaaaayaaaai="));
    assert!(check("/dbs/AAAAAQ==/colls/AAAAAYAAAAE=", "colls", "aaaaayaaaae="));
    let delete = format!("{}/operations/partitionkeydelete", "/dbs/shop/colls/orders");
    assert!(check(&delete, "partitionkey", "dbs/shop/colls/orders"));
    // A name is signed with its whole path.
    assert!(!check("/dbs/shop/colls/orders/pkranges", "pkranges", "orders"));
    assert!(check("/dbs/shop/colls/orders/pkranges", "pkranges", "dbs/shop/colls/orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_continuation_is_none_and_an_answer_names_its_owner() {
    let shop = shop(keyed(1)).await;
    shop.upsert("a", "k", 1).await;
    let empty = ("x-ms-continuation", "");
    let query = [KEY, empty, ("x-ms-documentdb-isquery", "true")];
    for text in ["SELECT * FROM c", "SELECT c.id FROM c WHERE c.n = 1"] {
        let body = json!({"query": text, "parameters": []}).to_string();
        let answer = shop.raw("POST", &Shop::docs(), &query, &body).await;
        assert_eq!(answer.status, 200, "{text}: {:?}", answer.body);
        assert_eq!(answer.documents, 1);
        let owner = header(&answer, "x-ms-alt-content-path");
        assert_eq!(owner.as_deref(), Some("dbs/shop/colls/orders"));
        let [_, rid] = rids(&shop).await;
        assert_eq!(header(&answer, "x-ms-content-path"), Some(rid));
    }
    // The owner of a container is its database: Java makes the path of a feed of it.
    let answer = shop.raw("GET", "/dbs/shop/colls/orders", &[], "").await;
    assert_eq!(header(&answer, "x-ms-alt-content-path").as_deref(), Some("dbs/shop"));
    let [database, _] = rids(&shop).await;
    assert_eq!(header(&answer, "x-ms-content-path"), Some(database));
    let (status, ..) = shop.raw_feed(&[("a-im", "Incremental Feed"), empty]).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logical_partition_can_be_deleted_in_one_request() {
    let shop = shop(ContainerSettings { retention_seconds: Some(60), ..keyed(2) }).await;
    for n in 0..5 {
        shop.upsert(&format!("d{n}"), "k", n).await;
        shop.upsert(&format!("d{n}"), "other", n).await;
    }
    let (_, etag, _) =
        shop.raw_feed(&[("a-im", "Full-Fidelity Feed"), ("if-none-match", "*")]).await;
    let path = "/dbs/shop/colls/orders/operations/partitionkeydelete";
    assert_eq!(shop.raw("POST", path, &[], "").await.status, 400, "no key");
    let answer = shop.raw("POST", path, &[KEY], "").await;
    assert_eq!((answer.status, answer.documents), (200, 5));
    assert_eq!(shop.state().documents, 5);
    let full = [("a-im", "Full-Fidelity Feed"), ("if-none-match", etag.as_str())];
    let (_, _, page) = shop.raw_feed(&full).await;
    assert_eq!(page["_count"], 5);
    assert_eq!(page["Documents"][4]["metadata"]["operationType"], "delete");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_of_a_key_may_be_text() {
    let shop = shop(keyed(1)).await;
    let key = json!({"paths": ["/a", "/b"], "kind": "MultiHash", "version": "V2"});
    let body = json!({"id": "places", "partitionKey": key}).to_string();
    let answer = shop.raw("POST", "/dbs/shop/colls", &[], &body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let key = [("x-ms-documentdb-partitionkey", "[\"x\",\"y\"]")];
    let document = r#"{"id":"1","a":"x","b":"y"}"#;
    let answer = shop.raw("POST", "/dbs/shop/colls/places/docs", &key, document).await;
    assert_eq!(answer.status, 201);
}
