//! Queries as clients send them that merge the answers of several partitions themselves.

use cosmos_bridge_emulator::ContainerSettings;
use serde_json::{Value, json};

use crate::support::{Shop, keyed, shop};

const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "true");

/// The status, the substatus and the body of an answer.
async fn ask(shop: &Shop, text: &str, headers: &[(&str, &str)]) -> (u16, Option<u32>, Value) {
    let headers = [&[QUERY], headers].concat();
    let body = json!({"query": text, "parameters": []}).to_string();
    let answer = shop.raw("POST", &Shop::docs(), &headers, &body).await;
    (answer.status, answer.substatus, serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn filled() -> Shop {
    let shop = shop(keyed(3)).await;
    for n in 0..30 {
        shop.upsert(&format!("d{n}"), &format!("k{}", n % 5), n).await;
    }
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_asks_all_ranges_only_where_nothing_has_to_be_merged() {
    let shop = filled().await;
    for (text, expected) in [
        ("SELECT c.id FROM c WHERE c.n > 10", (200, None)),
        ("SELECT * FROM c", (200, None)),
        ("SELECT c.id FROM c ORDER BY c.n", (400, Some(1004))),
        ("SELECT VALUE COUNT(1) FROM c", (400, Some(1004))),
        ("SELECT TOP 3 c.id FROM c", (400, Some(1004))),
        ("SELECT DISTINCT c.pk FROM c", (400, Some(1004))),
        ("SELECT c.id FROM c OFFSET 1 LIMIT 2", (400, Some(1004))),
        ("SELECT c.pk, COUNT(1) FROM c GROUP BY c.pk", (400, Some(1004))),
    ] {
        let (status, substatus, body) = ask(&shop, text, &[]).await;
        assert_eq!((status, substatus), expected, "{text}: {body}");
        if status == 400 {
            let plan: Value =
                serde_json::from_str(body["additionalErrorInfo"].as_str().unwrap()).unwrap();
            assert!(plan["queryInfo"].is_object() && plan["queryRanges"].is_array(), "{plan}");
        }
        let one = ("x-ms-documentdb-partitionkey", "[\"k1\"]");
        assert_eq!(ask(&shop, text, &[one]).await.0, 200, "{text} in one partition");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_a_hierarchical_key_limits_a_query() {
    let shop = shop(ContainerSettings::new(&["/a", "/b"], 3)).await;
    for n in 0..12 {
        let (a, b) = (["x", "y"][n % 2], ["1", "2", "3"][n % 3]);
        let key = json!([a, b]).to_string();
        let body = json!({"id": format!("d{n}"), "a": a, "b": b, "n": n}).to_string();
        let key = ("x-ms-documentdb-partitionkey", key.as_str());
        assert_eq!(shop.raw("POST", &Shop::docs(), &[key], &body).await.status, 201);
    }
    let text = "SELECT VALUE c.n FROM c WHERE c.n > 2";
    for (key, expected) in [
        ("[\"x\"]", json!([4, 6, 8, 10])),
        ("[\"x\",\"2\"]", json!([4, 10])),
        ("[\"z\"]", json!([])),
    ] {
        let (status, _, page) = ask(&shop, text, &[("x-ms-documentdb-partitionkey", key)]).await;
        let mut found: Vec<_> =
            page["Documents"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        found.sort_unstable();
        assert_eq!((status, json!(found)), (200, expected), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_query_is_refused_with_the_services_code() {
    let shop = filled().await;
    for text in ["SELECT FROM WHERE", "SELECT c.id FROM c WHERE (c.n = 1"] {
        for more in [&[("x-ms-documentdb-partitionkey", "[\"k1\"]")][..], &[]] {
            let (status, substatus, body) = ask(&shop, text, more).await;
            assert_eq!((status, substatus), (400, None), "{body}");
            assert!(body["message"].as_str().unwrap().contains("\"code\":\"SC1001\""), "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_and_groups_come_from_each_range_as_the_plan_says() {
    let shop = filled().await;
    let planned = async |text: &str| {
        let (status, _, plan) =
            ask(&shop, text, &[("x-ms-cosmos-is-query-plan-request", "true")]).await;
        assert_eq!(status, 200, "{plan}");
        plan["queryInfo"].clone()
    };
    let rows = async |info: &Value| {
        let mut rows = Vec::new();
        for range in shop.state().ranges {
            let headers = [("x-ms-documentdb-partitionkeyrangeid", range.id.as_str())];
            let (status, _, page) =
                ask(&shop, info["rewrittenQuery"].as_str().unwrap(), &headers).await;
            assert_eq!(status, 200, "{page}");
            rows.extend(page["Documents"].as_array().unwrap().clone());
        }
        rows
    };
    let total = |rows: &[Value], at: &str| -> String {
        rows.iter().filter_map(|row| row.pointer(at)?.as_f64()).sum::<f64>().to_string()
    };
    let info = planned("SELECT VALUE COUNT(1) FROM c").await;
    assert_eq!(info["aggregates"], json!(["Count"]));
    assert_eq!(total(&rows(&info).await, "/0/item"), "30");
    let info = planned("SELECT VALUE AVG(c.n) FROM c").await;
    let found = rows(&info).await;
    assert_eq!(info["aggregates"], json!(["Average"]));
    assert_eq!(total(&found, "/0/item/sum"), "435");
    assert_eq!(total(&found, "/0/item/count"), "30");
    let info = planned("SELECT c.pk, SUM(c.n) AS total FROM c GROUP BY c.pk").await;
    let found = rows(&info).await;
    assert_eq!(found.len(), 5);
    assert_eq!(total(&found, "/payload/total/item"), "435");
    assert!(found.iter().all(|row| row["groupByItems"][0]["item"] == row["payload"]["pk"]));
}

/// Brackets keep a query from the index, so the vendor's engine answers it.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_answers_as_the_vendors_engine() {
    let shop = filled().await;
    let rows = async |text: &str, headers: &[(&str, &str)]| {
        let mut rows = Vec::new();
        for range in shop.state().ranges {
            let range = [("x-ms-documentdb-partitionkeyrangeid", range.id.as_str())];
            let headers = if headers.is_empty() { &range[..] } else { headers };
            let (status, _, page) = ask(&shop, text, headers).await;
            assert_eq!(status, 200, "{text}: {page}");
            rows.extend(page["Documents"].as_array().unwrap().iter().map(Value::to_string));
        }
        rows.sort();
        rows
    };
    let select = "SELECT c.id, c.n, c._etag AS e, c[\"nested\"][\"a b\"] AS deep FROM c WHERE";
    for round in 0..3 {
        for (condition, count) in [
            ("c.pk IN ('k1', \"k3\", 'none')", 12),
            ("c[\"pk\"] = 'k2'", 6),
            ("c.id = 'd7'", 1),
            ("c.nested['a b'] = 'x'", [0, 1, 0][round]),
            ("c.n = '1'", 0),
        ] {
            let found = rows(&format!("{select} {condition}"), &[]).await;
            assert_eq!(found.len(), count, "{condition}");
            assert_eq!(found, rows(&format!("{select} ({condition})"), &[]).await, "{condition}");
            let one = [("x-ms-documentdb-partitionkey", "[\"k1\"]")];
            let found = rows(&format!("{select} {condition}"), &one).await;
            assert_eq!(found, rows(&format!("{select} ({condition})"), &one).await, "{condition}");
        }
        // A document gets the text, then loses it; another is deleted and made again.
        let key = ("x-ms-documentdb-partitionkey", "[\"k2\"]");
        let upsert = ("x-ms-documentdb-is-upsert", "true");
        let nested = [json!({"a b": "x"}), json!({"a b": 1}), json!(null)][round].clone();
        let body = json!({"id": "d7", "pk": "k2", "n": round, "nested": nested}).to_string();
        assert_eq!(shop.raw("POST", &Shop::docs(), &[key, upsert], &body).await.status, 200);
        let path = format!("{}/d12", Shop::docs());
        assert_eq!(shop.raw("DELETE", &path, &[key], "").await.status, 204);
        shop.upsert("d12", "k2", 100).await;
    }
}
