//! Write strategies for existing and missing documents, and the mappings of routes.

#![allow(clippy::format_collect, reason = "lines of JSON read best so")]
#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::evidence::sorted;
use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

fn document(n: u32, from: &str) -> String {
    format!("{{\"id\":\"d{n:03}\",\"region\":\"r{}\",\"from\":\"{from}\"}}\n", n % 3)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_decides_what_becomes_of_documents_that_are_there_or_not() {
    type Expected = fn(u32) -> Option<&'static str>;
    // The target contains 0..60, the source 30..90.
    let (old, new) = (0..60, 30..90);
    let table: [(&str, Expected); 3] = [
        ("upsert", |n| if n < 30 { Some("old") } else { Some("new") }),
        ("insert-if-absent", |n| if n < 60 { Some("old") } else { Some("new") }),
        ("replace-if-present", |n| match n {
            0..30 => Some("old"),
            30..60 => Some("new"),
            _ => None,
        }),
    ];
    for (write, expected) in table {
        for batch in [1, 7, 100] {
            let pair = Pair::alike().await;
            let there: String = old.clone().map(|n| document(n, "old")).collect();
            pair.accounts.seed("target", "shop", "copies", &there).unwrap();
            pair.seed(&new.clone().map(|n| document(n, "new")).collect::<String>());
            let sink = format!("write = \"{write}\"\nbatch_changes = {batch}");
            let config = pair.configure(&sink, "", "", "");
            let ended = Bridge::catch_up(&config).await;
            assert_eq!(ended.code(), Some(0), "{write} {batch}: {}", ended.log);
            assert_eq!(ended.total("delivered"), 60, "{write} {batch}");
            let lines: Vec<_> = (0..90).filter_map(|n| Some(document(n, expected(n)?))).collect();
            assert_eq!(pair.copies(), sorted(&lines), "{write} {batch}");
            assert_eq!(pair.letters(), [], "{write} {batch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_are_repeated_whatever_the_strategy_and_need_not_find_anything() {
    // The target contains 0..20; the source gets 10..30, and then 15..25 are deleted.
    type Expected = fn(u32) -> Option<&'static str>;
    let table: [(&str, Expected); 3] = [
        ("upsert", |n| if n < 10 { Some("old") } else { Some("new") }),
        ("insert-if-absent", |n| if n < 20 { Some("old") } else { Some("new") }),
        ("replace-if-present", |n| match n {
            0..10 => Some("old"),
            10..20 => Some("new"),
            _ => None,
        }),
    ];
    for (write, expected) in table {
        for batch in [1, 100] {
            let settings = remembering(&["/region"], 1);
            let pair = Pair::start(&settings, &settings).await;
            let there: String = (0..20).map(|n| document(n, "old")).collect();
            pair.accounts.seed("target", "shop", "copies", &there).unwrap();
            let sink = format!("write = \"{write}\"\nbatch_changes = {batch}");
            let source = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
            let config = pair.configure(&sink, "", source, "");
            let bridge = Bridge::start(&config, &["run"]);
            eventually("the bridge reads", || pair.is_reading()).await;
            pair.seed(&(10..30).map(|n| document(n, "new")).collect::<String>());
            (15..25).for_each(|n| pair.delete(&format!("d{n:03}")));
            let left = (0..30).filter(|n| !(15..25).contains(n));
            let lines: Vec<_> = left.filter_map(|n| Some(document(n, expected(n)?))).collect();
            eventually("deletes arrive", || pair.copies() == sorted(&lines)).await;
            bridge.terminate();
            let ended = bridge.ended().await;
            assert_eq!(ended.code(), Some(0), "{write} {batch}: {}", ended.log);
            assert_eq!(pair.letters(), [], "{write} {batch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_save_requests() {
    let mut requests = Vec::new();
    for batch in [1, 10, 100] {
        let pair = Pair::alike().await;
        pair.seed(&(0..600).map(|n| document(n, "new")).collect::<String>());
        let config = pair.configure(&format!("batch_changes = {batch}\nbulk = false"), "", "", "");
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert!(pair.is_equal());
        requests.push(pair.writes());
    }
    // Three keys of 200 documents each.
    assert_eq!(requests, [600, 60, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_with_keys_of_their_own_are_not_batched() {
    let source = ContainerSettings::new(&["/id"], 2);
    let pair = Pair::start(&source, &source).await;
    pair.seed(&(0..100).map(|n| document(n, "new")).collect::<String>());
    let config = pair.configure("bulk = false", "", "", "");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    assert_eq!(pair.requests("target", "copies", &["batch"]), 0);
    assert_eq!(pair.requests("target", "copies", &["create"]), 100);
}

/// The mask and the bucket as docs/values.md defines them.
fn hash(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_route_takes_part() {
    let source = ContainerSettings::new(&["/region"], 2);
    let target = ContainerSettings::new(&["/pk"], 2);
    let pair = Pair::start(&source, &target).await;
    std::fs::write(pair.folder.path().join("salt"), "planted-pepper").unwrap();
    let line = |n: u32| {
        json!({
            "id": format!("o{n}"), "region": format!("r{}", n % 3),
            "status": if n.is_multiple_of(4) { "draft" } else { "paid" },
            "total": f64::from(n) + 0.75, "at": n, "secret": "s",
            "customer": {"name": format!("Zoë {n}"), "email": format!("{n}@example.org")},
        })
    };
    pair.seed(&(0..40).map(|n| line(n).to_string() + "\n").collect::<String>());
    let config = pair.configure(
        "",
        "",
        "",
        "where = { path = \"/status\", not_equals = \"draft\" }
jq = \".total |= floor\"
exclude = [\"/secret\"]
rename = { \"/at\" = \"/created/at\" }
set = { \"/by\" = \"bridge\" }
mask = { \"/customer/name\" = \"***\", \
 \"/customer/email\" = { sha256 = { salt = { file = \"salt\" } } } }
partition_key = [{ path = \"/pk\", template = \"{/region}-{/status}\", \
 buckets = { count = 4, of = \"/id\" } }]
id = \"{/region}:{/id}\"",
    );
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!((ended.total("delivered"), ended.total("filtered")), (30, 10));
    let expected = (0_u32..40).filter(|n| n % 4 != 0).map(|n| {
        let region = n % 3;
        let email = hash(format!("planted-pepper\"{n}@example.org\"").as_bytes());
        let email: String = email.iter().map(|byte| format!("{byte:02x}")).collect();
        let first: [u8; 8] = hash(format!("\"o{n}\"").as_bytes())[..8].try_into().unwrap();
        let bucket = u64::from_be_bytes(first) % 4;
        json!({
            "id": format!("r{region}:o{n}"), "region": format!("r{region}"), "status": "paid",
            "total": n, "created": {"at": n}, "by": "bridge",
            "customer": {"name": "***", "email": email},
            "pk": format!("r{region}-paid-{bucket}"),
        })
        .to_string()
    });
    let expected: Vec<String> = expected.collect();
    assert_eq!(pair.copies(), sorted(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routes_lead_to_two_sinks() {
    let pair = Pair::alike().await;
    let target = ContainerSettings::new(&["/n"], 1);
    pair.accounts.create_container("target", "shop", "few", &target).await.unwrap();
    let line = |n: u32| format!("{{\"id\":\"d{n}\",\"region\":\"r{}\",\"n\":{n}}}\n", n % 3);
    pair.seed(&(0..90).map(line).collect::<String>());
    let config = pair.configure(
        "[sinks.cosmos.few]\naccount = \"target\"\ndatabase = \"shop\"\ncontainer = \"few\"",
        "",
        "",
        "[[pipelines.orders.routes]]\nto = \"few\"\n\
         where = { path = \"/region\", equals = \"r1\" }\npartition_key = [\"/n\"]",
    );
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    let few: Vec<_> = (0..90).filter(|n| n % 3 == 1).map(line).collect();
    assert_eq!(sorted(&pair.accounts.documents("target", "shop", "few").unwrap()), sorted(&few));
    assert_eq!(ended.total("delivered"), 120);
    // There is one position per sink.
    assert_eq!(pair.positions().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_mapped_is_kept_and_never_shown() {
    const MARKER: &str = "cb-marker-31337";
    let levels = [
        "trace",
        "trace,azure_core=trace,azure_data_cosmos=trace,azure_data_cosmos_driver=trace,\
         typespec_client_core=trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace",
    ];
    for level in levels {
        for format in ["text", "json"] {
            let source = ContainerSettings::new(&["/region"], 1);
            let target = ContainerSettings::new(&["/customer"], 1);
            let pair = Pair::start(&source, &target).await;
            // A missing key field, an invalid key, and a document that the target refuses.
            let lines = [
                json!({"id": "keyless", "region": "r", "text": MARKER}),
                json!({"id": "object", "region": "r", "customer": {"is": MARKER}}),
                json!({"id": "array", "region": "r", "customer": [MARKER], "text": MARKER}),
                json!({"id": "long", "region": "r", "customer": MARKER.repeat(200)}),
                json!({"id": "refused", "region": "r", "customer": "c", "text": MARKER}),
                json!({"id": "fine", "region": "r", "customer": "d", "text": MARKER}),
                json!({"id": "fine too", "region": "r", "customer": "d", "text": MARKER}),
            ];
            pair.seed(&lines.iter().map(|line| line.to_string() + "\n").collect::<String>());
            let refusal = cosmos_bridge_emulator::FaultRule {
                account: Some("target".to_owned()),
                operation: Some("create".to_owned()),
                times: Some(1),
                then: cosmos_bridge_emulator::Effect { status: Some(400), ..Default::default() },
                ..Default::default()
            };
            let passing = cosmos_bridge_emulator::FaultRule {
                operation: Some("batch".to_owned()),
                then: cosmos_bridge_emulator::Effect { status: Some(503), ..Default::default() },
                ..refusal.clone()
            };
            pair.accounts.fault(refusal);
            pair.accounts.fault(passing);
            let sink = "concurrency = 1\nbulk = false";
            let config = pair.configure(sink, "", "", "partition_key = [\"/customer\"]");
            let text = std::fs::read_to_string(&config).unwrap();
            let log = format!("\n[log]\nlevel = \"{level}\"\nformat = \"{format}\"\n");
            std::fs::write(&config, text + &log).unwrap();
            let ended = Bridge::catch_up(&config).await;
            assert_eq!(ended.code(), Some(0), "{}", ended.log);
            let arrived: Vec<_> = pair.copies().iter().map(|copy| copy["id"].clone()).collect();
            assert_eq!(arrived, ["fine", "fine too"], "{}", ended.log);
            let letters = pair.letters();
            let mut kept: Vec<_> = letters.iter().map(|letter| letter.source_id.as_str()).collect();
            kept.sort_unstable();
            assert_eq!(kept, ["array", "keyless", "long", "object", "refused"]);
            for letter in &letters {
                let kept: Value = serde_json::from_str(letter.document.as_ref().unwrap()).unwrap();
                let line = lines.iter().find(|line| line["id"] == letter.source_id.as_str());
                for (name, value) in line.unwrap().as_object().unwrap() {
                    assert!(kept[name] == *value, "the letter's `{name}` differs");
                }
                assert!(!letter.cause.contains(MARKER), "{}", letter.cause);
            }
            assert_eq!(ended.log.matches("kept a dead letter").count(), 5, "{}", ended.log);
            if format == "json" {
                let ours = |line: &&str| line.contains("\"target\":\"cosmos_bridge");
                let foreign = ended.log.lines().find(|line| !ours(line));
                assert_eq!(foreign, None, "at level {level}");
            }
            // The id, too, of one that no cause has as a word.
            let keys = ["source", "target"].map(|account| pair.accounts.key(account));
            for secret in [MARKER, "keyless", &keys[0], &keys[1], "sig%3"] {
                let leak = ended.log.lines().find(|line| line.contains(secret));
                assert_eq!(leak, None, "{secret} at level {level}");
            }
        }
    }
}
