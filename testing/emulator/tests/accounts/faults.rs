//! Scripted faults as clients meet them.

use std::time::Duration;

use cosmos_bridge_emulator::fault::{Faults, Target};
use cosmos_bridge_emulator::serve::Outcome;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{AnsweredBy, DropWhen, Effect, FaultRule, charge};

use crate::support::{Shop, header, keyed, shop};

fn rule(operation: &str, then: Effect) -> FaultRule {
    FaultRule { operation: Some(operation.to_owned()), then, ..FaultRule::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_conditional_replace_looks_like_a_failed_condition() {
    let shop = shop(keyed(1)).await;
    let item = serde_json::json!({"id": "a", "pk": "k", "n": 1});
    let created = shop.container.create_item("k", "a", item, None).await.unwrap();
    let etag = created.headers().etag().unwrap().clone();
    let lost = Effect { drop: Some(DropWhen::After), ..Effect::default() };
    shop.accounts.fault(FaultRule { times: Some(1), ..rule("replace", lost) });
    let options = azure_data_cosmos::options::ItemWriteOptions::default()
        .with_precondition(azure_data_cosmos::options::Precondition::if_match(etag));
    let item = serde_json::json!({"id": "a", "pk": "k", "n": 2});
    let replaced = shop.container.replace_item("k", "a", item, Some(options)).await;
    // The SDK sent it again by itself, and met its own write.
    assert_eq!(replaced.err().map(|error| u16::from(error.status().status_code())), Some(412));
    let stored = &shop.accounts.documents("source", "shop", "orders").unwrap()[0];
    assert_eq!(serde_json::from_str::<serde_json::Value>(stored).unwrap()["n"], 2);
    assert_eq!(shop.accounts.world.faults.list()[0].fired, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_effect_does_what_it_says() {
    let shop = shop(keyed(1)).await;
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let body = r#"{"id":"a","pk":"k"}"#;
    let faults = &shop.accounts.world.faults;
    let headers = [key];
    let send = || shop.raw_outcome("POST", "/dbs/shop/colls/orders/docs", &headers, body);

    faults.add(rule("create", Effect { drop: Some(DropWhen::Before), ..Effect::default() }));
    assert!(matches!(send().await, Outcome::Closed));
    assert_eq!(shop.state().documents, 0);
    faults.clear();

    let effect = Effect {
        status: Some(429),
        substatus: Some(3200),
        retry_after_ms: Some(7),
        ..Effect::default()
    };
    faults.add(rule("create", effect));
    let Outcome::Answered(answer) = send().await else { panic!("no answer") };
    assert_eq!((answer.status, answer.substatus), (429, Some(3200)));
    assert_eq!(header(&answer, "x-ms-retry-after-ms").as_deref(), Some("7"));
    faults.clear();

    let by = AnsweredBy::Intermediary;
    let effect = Effect { status: Some(403), by, ..Effect::default() };
    faults.add(rule("create", effect));
    let Outcome::Answered(answer) = send().await else { panic!("no answer") };
    assert!(answer.intermediary && answer.body.starts_with(b"<html>"));
    assert_eq!((answer.status, header(&answer, "x-ms-content-path")), (403, None));
    faults.clear();

    faults.add(rule("create", Effect { truncate: true, ..Effect::default() }));
    assert!(matches!(send().await, Outcome::Truncated(_)));
    assert_eq!(shop.state().documents, 1);
    faults.clear();

    faults.add(rule("feed", Effect { offline: true, ..Effect::default() }));
    let feed = shop.raw_outcome("GET", &Shop::docs(), &[("a-im", "Incremental Feed")], "").await;
    assert!(matches!(feed, Outcome::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_answers_that_there_is_nothing_new_unless_a_session_says_otherwise() {
    let shop = shop(keyed(1)).await;
    shop.upsert("a", "k", 1).await;
    let feed = ("a-im", "Incremental Feed");
    let (_, etag, _) = shop.raw_feed(&[feed]).await;
    shop.upsert("b", "k", 1).await;
    let id = shop.accounts.fault(rule("feed", Effect { stale: true, ..Effect::default() }));
    let from = ("if-none-match", etag.as_str());
    let (status, unmoved, _) = shop.raw_feed(&[feed, from]).await;
    assert_eq!((status, &unmoved), (304, &etag));
    // A token of the reader's own position proves nothing, one of the write does.
    let session = async |token| shop.raw_feed(&[feed, from, ("x-ms-session-token", token)]).await;
    assert_eq!(session("0:1#1#0=1").await.0, 304);
    let (status, _, page) = session("0:1#2#0=2").await;
    assert_eq!((status, &page["Documents"][0]["id"]), (200, &serde_json::json!("b")));
    assert!(shop.accounts.world.faults.remove(id));
    assert_eq!(shop.raw_feed(&[feed, from]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_has_the_version_before_unless_a_quorum_is_asked() {
    let shop = shop(ContainerSettings { retention_seconds: Some(3600), ..keyed(1) }).await;
    shop.upsert("a", "k", 1).await;
    shop.upsert("a", "k", 2).await;
    shop.upsert("b", "k", 1).await;
    shop.accounts.fault(rule("read", Effect { stale: true, ..Effect::default() }));
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let read = async |id: &str, more: (&str, &str)| {
        let path = format!("{}/{id}", Shop::docs());
        let answer = shop.raw("GET", &path, &[key, more], "").await;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, body["n"].clone())
    };
    let (quorum, none) = (("x-ms-cosmos-read-consistency-strategy", "LatestCommitted"), ("x", "y"));
    let session = |token| ("x-ms-session-token", token);
    assert_eq!(read("a", none).await, (200, 1.into()));
    assert_eq!(read("a", session("0:1#1#0=1")).await, (200, 1.into()));
    assert_eq!(read("a", session("0:1#2#0=2")).await, (200, 2.into()));
    assert_eq!(read("a", quorum).await, (200, 2.into()));
    assert_eq!(read("b", none).await.0, 404);
    assert_eq!(read("b", quorum).await, (200, 1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_asked_for_again() {
    let shop = shop(keyed(1)).await;
    shop.upsert("a", "k", 7).await;
    let cut = Effect { truncate: true, ..Effect::default() };
    shop.accounts.fault(FaultRule { times: Some(1), ..rule("read", cut) });
    let read = shop.container.read_item("k", "a", None).await.unwrap();
    assert_eq!(read.into_model::<serde_json::Value>().unwrap()["n"], 7);
    assert_eq!(shop.accounts.world.faults.list()[0].fired, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_one_range_leaves_the_others_alone() {
    let shop = shop(keyed(2)).await;
    let down = Effect { status: Some(503), ..Effect::default() };
    let rule = FaultRule { range: Some("0".to_owned()), ..rule("upsert", down) };
    shop.accounts.fault(rule);
    let mut written = 0;
    for n in 0..20 {
        let (id, pk) = (format!("d{n}"), format!("[\"k{n}\"]"));
        let headers =
            [("x-ms-documentdb-partitionkey", pk.as_str()), ("x-ms-documentdb-is-upsert", "true")];
        let body = format!("{{\"id\":\"{id}\",\"pk\":\"k{n}\"}}");
        let status = shop.raw("POST", &Shop::docs(), &headers, &body).await.status;
        assert!(status == 201 || status == 503);
        written += usize::from(status == 201);
    }
    let ranges = shop.state().ranges;
    assert_eq!((ranges[0].documents, ranges[1].documents), (0, written));
    assert!((1..20).contains(&written));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_meet_each_nth_request_or_a_seeded_share_of_them() {
    let shop = shop(keyed(1)).await;
    let refuse = || Effect { status: Some(503), ..Effect::default() };
    let faults = &shop.accounts.world.faults;
    let statuses = || async {
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(shop.raw_feed(&[("a-im", "Incremental Feed")]).await.0);
        }
        statuses
    };
    faults.add(FaultRule { every: Some(4), ..rule("feed", refuse()) });
    assert_eq!(statuses().await.iter().filter(|status| **status == 503).count(), 10);
    faults.clear();
    let random = || FaultRule { probability: Some(0.5), seed: Some(7), ..rule("feed", refuse()) };
    faults.add(random());
    let first = statuses().await;
    faults.clear();
    faults.add(random());
    assert_eq!(first, statuses().await, "the same seed, the same faults");
    let hit = first.iter().filter(|status| **status == 503).count();
    assert!((10..=30).contains(&hit), "{hit} of 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scripted_refusal_looks_and_costs_like_a_real_one_until_it_is_removed() {
    let shop = shop(keyed(1)).await;
    let faults = &shop.accounts.world.faults;
    let headers = [("x-ms-documentdb-partitionkey", "[\"k\"]"), ("user-agent", "bridge")];
    let upsert = [&headers[..], &[("x-ms-documentdb-is-upsert", "true")]].concat();
    let one = format!("{}/a", Shop::docs());
    for (status, substatus, wait) in [
        (429, Some(3200), Some(50)),
        (429, Some(3088), Some(50)),
        (429, Some(3092), None),
        (429, Some(3210), None),
        (429, Some(3214), Some(200)),
        (410, Some(1002), None),
        (449, None, Some(10)),
        (503, None, None),
        (408, None, None),
    ] {
        let effect =
            Effect { status: Some(status), substatus, retry_after_ms: wait, ..Effect::default() };
        let container = Some("orders".to_owned());
        let id = faults.add(FaultRule { container, ..rule("documents", effect) });
        let case = format!("{status}/{substatus:?}");
        shop.accounts
            .world
            .container("source", "shop", "orders")
            .unwrap()
            .stats
            .lock()
            .unwrap()
            .clients
            .clear();
        for (method, path, headers, body) in [
            ("POST", &Shop::docs(), upsert.as_slice(), r#"{"id":"a","pk":"k"}"#),
            ("GET", &one, &headers, ""),
            (
                "GET",
                &Shop::docs(),
                &[headers[1], ("a-im", "Incremental Feed"), ("x-ms-start-epk", "")],
                "",
            ),
        ] {
            let answer = shop.raw(method, path, headers, body).await;
            assert_eq!((answer.status, answer.substatus), (status, substatus), "{case}");
            let retry_after = header(&answer, "x-ms-retry-after-ms");
            assert_eq!(retry_after, wait.map(|wait| wait.to_string()), "{case}");
            assert_eq!(answer.range.as_deref(), Some("0"), "{case} {method}");
        }
        // What describes the container is not about documents.
        assert_eq!(shop.raw("GET", "/dbs/shop/colls/orders", &[], "").await.status, 200);
        let usage = {
            let container = shop.accounts.world.container("source", "shop", "orders").unwrap();
            container.stats.lock().unwrap().clients["bridge"].clone()
        };
        assert_eq!(usage.throttled, if status == 429 { 3 } else { 0 }, "{case}");
        assert!((usage.request_units - 3.0 * charge::refused(status)).abs() < 1e-9, "{case}");
        assert!(status != 429 || usage.request_units > 1.0, "a refusal of the rate is not free");
        assert!(faults.remove(id));
        assert_eq!(shop.raw("GET", &one, &headers, "").await.status, 404, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_meets_the_operations_and_the_client_that_it_names() {
    let shop = shop(keyed(1)).await;
    let faults = &shop.accounts.world.faults;
    let key = ("x-ms-documentdb-partitionkey", "[\"k\"]");
    let one = format!("{}/a", Shop::docs());
    let docs = Shop::docs();
    // A read, a query, a page, a write, the container: whether the rule meets it.
    for (operation, client, expected) in [
        (None, None, [true, true, true, true, true]),
        (Some("documents"), None, [true, true, true, true, false]),
        (Some("reads"), None, [true, true, true, false, false]),
        (Some("writes"), None, [false, false, false, true, false]),
        (Some("metadata"), None, [false, false, false, false, true]),
        (Some("feed"), None, [false, false, true, false, false]),
        (Some("documents"), Some("bridge"), [true, true, true, true, false]),
        (Some("documents"), Some("other"), [false; 5]),
    ] {
        faults.add(FaultRule {
            operation: operation.map(str::to_owned),
            client: client.map(str::to_owned),
            then: Effect { status: Some(503), ..Effect::default() },
            ..FaultRule::default()
        });
        let agent = ("user-agent", "sdk/1.0 (linux) bridge");
        let query = [key, agent, ("x-ms-documentdb-isquery", "true")];
        let mut met = Vec::new();
        for (method, path, headers, body) in [
            ("GET", one.as_str(), [key, agent].as_slice(), ""),
            ("POST", &docs, &query, r#"{"query":"SELECT * FROM c"}"#),
            ("GET", &docs, &[agent, ("a-im", "Incremental Feed")], ""),
            ("DELETE", &one, &[key, agent], ""),
            ("GET", "/dbs/shop/colls/orders", &[agent], ""),
        ] {
            met.push(shop.raw(method, path, headers, body).await.status == 503);
        }
        assert_eq!(met, expected, "{operation:?} {client:?}");
        faults.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_ends_after_its_time() {
    let faults = Faults::default();
    let then = Effect { status: Some(503), ..Effect::default() };
    faults.add(FaultRule { for_ms: Some(500), ..rule("feed", then) });
    let target = Target {
        account: "source",
        database: Some("shop"),
        container: Some("orders"),
        operation: "feed",
        range: None,
        client: "bridge",
    };
    for (advance, met) in [(0, true), (499, true), (1, false), (1000, false)] {
        tokio::time::advance(Duration::from_millis(advance)).await;
        assert_eq!(faults.meet(target).is_some(), met, "after {advance} ms more");
    }
}
