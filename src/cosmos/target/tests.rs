use std::collections::BTreeMap;

use cosmos_bridge_cosmos::{Container, Write};
use cosmos_bridge_emulator::fault::{Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};

use super::Target;
use crate::cosmos::local::{CHARGED, Local};

fn document() -> (PartitionKey, Document) {
    let json = serde_json::json!({"id": "1", "k": "key"});
    let document = json.as_object().unwrap().clone();
    (PartitionKey(vec![KeyValue::String("key".to_owned())]), document)
}

fn fault(local: &Local, operation: &str, times: Option<u64>, status: u16, substatus: u32) {
    local.accounts.fault(FaultRule {
        operation: Some(operation.to_owned()),
        times,
        then: Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() },
        ..FaultRule::default()
    });
}

#[tokio::test]
async fn an_answer_costs_what_all_its_attempts_cost() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, document) = document();
    let write = Write::Upsert(&document);
    target.write(&key, "1", write).await;
    let plain = target.write(&key, "1", write).await;
    let plain_batch = target.batch(&key, &[("1", write), ("1", write)]).await.whole;
    assert!(plain.charge > 0.0 && plain_batch.charge > plain.charge);
    for (status, substatus, cost) in CHARGED {
        fault(&local, "upsert", Some(1), status, substatus);
        let answer = target.write(&key, "1", write).await;
        assert_eq!(answer.status, 200);
        let more = answer.charge - plain.charge;
        assert!((more - cost).abs() < 0.005, "{status}/{substatus}: {more} more");

        fault(&local, "batch", Some(1), status, substatus);
        let answer = target.batch(&key, &[("1", write), ("1", write)]).await.whole;
        assert_eq!(answer.status, 200);
        let more = answer.charge - plain_batch.charge;
        assert!((more - cost).abs() < 0.005, "batch, {status}/{substatus}: {more} more");
    }
}

#[tokio::test]
async fn an_error_costs_what_all_its_attempts_cost() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, document) = document();
    for (status, substatus, cost) in CHARGED {
        local.accounts.clear_faults();
        fault(&local, "upsert", None, status, substatus);
        let before = local.requests("upsert");
        let answer = target.write(&key, "1", Write::Upsert(&document)).await;
        let attempts = local.requests("upsert") - before;
        assert!(attempts > 1, "{attempts} attempts");
        assert!(answer.status >= 400, "{answer:?}");
        let charge = cost * f64::from(attempts);
        assert!((answer.charge - charge).abs() < 0.005, "{} RU", answer.charge);
    }
}

/// Ids that a URL parser changes, and ids that it changes them into.
const IDS: [&str; 24] = [
    ".", "..", "...", "a", "b", "ab", "a\tb", "a\nb", "a\rb", "\ta", "a/b", "/a", "a/../b", "a\\b",
    "a?b", "a#b", "a%2Fb", "%2e%2e", "%2E", " ", "a b", "\u{0}", "\u{fc}", "docs",
];

/// Replaces and deletes documents one after the other, in an order in which a request with a wrong path
/// would hit a document that is still there, and compares everything with a model after each request.
#[tokio::test]
async fn every_write_reaches_the_document_with_its_id_and_no_other() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, mut document) = document();
    let mut model = BTreeMap::new();
    let stored = || {
        let lines = local.accounts.documents("source", "shop", "orders").unwrap();
        let one = |line: String| {
            let document: Document = serde_json::from_str(&line).unwrap();
            (document["id"].as_str().unwrap().to_owned(), document["n"].as_u64().unwrap())
        };
        lines.into_iter().map(one).collect::<BTreeMap<_, _>>()
    };
    let mut versions = 0..;
    for id in IDS {
        let n: u64 = versions.next().unwrap();
        document.insert("id".to_owned(), id.into());
        document.insert("n".to_owned(), n.into());
        let answer = target.write(&key, id, Write::Upsert(&document)).await;
        assert_eq!(answer.status, 201, "{id:?}: {answer:?}");
        model.insert(id.to_owned(), n);
    }
    assert_eq!(stored(), model);
    for id in IDS {
        let n = versions.next().unwrap();
        document.insert("id".to_owned(), id.into());
        document.insert("n".to_owned(), n.into());
        let answer =
            target.write(&key, id, Write::Replace { document: &document, if_match: None }).await;
        assert_eq!(answer.status, 200, "{id:?}: {answer:?}");
        assert!(answer.charge > 0.0, "{id:?}");
        model.insert(id.to_owned(), n);
        assert_eq!(stored(), model, "{id:?}");
    }
    for id in IDS {
        let answer = target.write(&key, id, Write::Delete { if_match: None }).await;
        assert_eq!(answer.status, 204, "{id:?}: {answer:?}");
        model.remove(id);
        assert_eq!(stored(), model, "{id:?}");
        let answer = target.write(&key, id, Write::Delete { if_match: None }).await;
        assert_eq!((answer.status, answer.sub_status), (404, 0), "{id:?}: {answer:?}");
    }
}
