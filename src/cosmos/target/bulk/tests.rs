use std::collections::BTreeSet;

use cosmos_bridge_cosmos::{Answer, BulkAnswer, Container, Content, Operation, Write};
use cosmos_bridge_emulator::fault::{DropWhen, Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};
use serde_json::{Value, json};

use crate::cosmos::Target;
use crate::cosmos::local::Local;

/// What the vendor's bulk clients send for some operations; their crate's tests keep it true.
const RECORDED: &str = include_str!("../../../../testing/emulator/tests/bulk_requests.json");

fn key(text: &str) -> PartitionKey {
    PartitionKey(vec![KeyValue::String(text.to_owned())])
}

/// A write of a document, whose id is also its key.
struct One {
    key: PartitionKey,
    id: String,
    document: Document,
}

impl One {
    fn new(id: &str, document: Value) -> Self {
        let Value::Object(document) = document else { panic!("{document}") };
        Self { key: key(id), id: id.to_owned(), document: document.into() }
    }

    fn operation<'a>(&'a self, write: impl FnOnce(Content<'a>) -> Write<'a>) -> Operation<'a> {
        let content = Content::from(&self.document);
        Operation::of(&self.key, &self.id, Some(content), write(content)).unwrap()
    }
}

/// The documents with these numbers, each under its own key.
fn numbered(numbers: std::ops::Range<u32>) -> Vec<One> {
    let one = |n: u32| {
        let id = n.to_string();
        One::new(&id, json!({"id": id, "k": id, "n": n}))
    };
    numbers.map(one).collect()
}

fn creates(documents: &[One]) -> Vec<Operation<'_>> {
    documents.iter().map(|one| one.operation(Write::Create)).collect()
}

/// Creates the documents with these numbers.
async fn create(target: &Target, numbers: std::ops::Range<u32>) -> BulkAnswer {
    target.bulk(creates(&numbered(numbers))).await
}

fn statuses(answer: &BulkAnswer) -> Vec<u16> {
    answer.parts.iter().map(|part| part.as_ref().map_or(0, |part| part.status)).collect()
}

async fn started(partitions: u32) -> (Local, Target) {
    let local = Local::start(&ContainerSettings::new(&["/k"], partitions)).await;
    let target = Target::new(local.container.clone());
    (local, target)
}

fn fault(local: &Local, times: Option<u64>, then: Effect) {
    local.accounts.clear_faults();
    let operation = Some("batch".to_owned());
    local.accounts.fault(FaultRule { operation, times, then, ..FaultRule::default() });
}

fn status(status: u16, substatus: u32) -> Effect {
    Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() }
}

#[tokio::test]
async fn documents_of_any_keys_are_one_request_for_each_partition() {
    let (local, target) = started(3).await;
    let answer = create(&target, 0..100).await;
    assert_eq!(statuses(&answer), [201; 100]);
    assert_eq!((answer.requests.len(), local.requests("batch")), (3, 3));
    let stored = local.accounts.documents("source", "shop", "orders").unwrap();
    assert_eq!(stored.len(), 100);
    let parts: Vec<&Answer> = answer.parts.iter().flatten().collect();
    let etags: BTreeSet<_> = parts.iter().map(|part| part.etag.as_deref().unwrap()).collect();
    assert_eq!(etags.len(), 100);
    // The requests cost what their operations cost.
    let [of_parts, of_requests]: [f64; 2] = [
        parts.iter().map(|part| part.charge).sum(),
        answer.requests.iter().map(|request| request.charge).sum(),
    ];
    assert!(of_parts > 100.0 && (of_parts - of_requests).abs() < 0.01, "{of_parts}, {of_requests}");
    // More than one request holds.
    let (local, target) = started(1).await;
    let answer = create(&target, 0..250).await;
    assert_eq!((statuses(&answer), local.requests("batch")), (vec![201; 250], 3));
}

#[tokio::test]
async fn each_operation_has_its_own_result_condition_and_order() {
    let (local, target) = started(1).await;
    let created = create(&target, 0..4).await;
    let etag = |n: usize| created.parts[n].as_ref().unwrap().etag.clone();
    let old = numbered(0..7);
    let one = One::new("1", json!({"id": "1", "k": "1", "n": 9}));
    let other = One::new("5", json!({"id": "5", "k": "5"}));
    let etags = [etag(0), etag(1)];
    let replace = |if_match| one.operation(move |content| Write::Replace { content, if_match });
    let delete = |n: usize, if_match| old[n].operation(move |_| Write::Delete { if_match });
    let operations = vec![
        delete(0, etags[1].as_deref()),
        replace(etags[1].as_deref()),
        other.operation(Write::Upsert),
        old[2].operation(Write::Create),
        delete(6, None),
        delete(3, None),
    ];
    let answer = target.bulk(operations).await;
    assert_eq!(statuses(&answer), [412, 200, 201, 409, 404, 204]);
    let lines = local.accounts.documents("source", "shop", "orders").unwrap();
    let mut stored: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    stored.sort_by_key(|document| document["id"].to_string());
    let unchanged = |n: u32| json!({"id": n.to_string(), "k": n.to_string(), "n": n});
    let expected = [unchanged(0), json!({"id": "1", "k": "1", "n": 9}), unchanged(2)];
    assert_eq!(stored[..3], expected);
    assert_eq!(stored.len(), 4);
    // A replacement that was answered has a new ETag.
    let replaced = replace(answer.parts[1].as_ref().unwrap().etag.as_deref());
    assert_eq!(statuses(&target.bulk(vec![replaced]).await), [200]);
}

#[tokio::test]
async fn after_a_split_or_a_merge_operations_go_to_the_partitions_that_are_there_now() {
    let (local, target) = started(1).await;
    assert_eq!(statuses(&create(&target, 0..50).await), [201; 50]);
    local.accounts.split("source", "shop", "orders").await.unwrap();
    let answer = create(&target, 50..150).await;
    assert_eq!(statuses(&answer), [410; 100]);
    let before = local.requests("batch");
    let answer = create(&target, 50..150).await;
    assert_eq!(statuses(&answer), [201; 100]);
    assert_eq!(local.requests("batch") - before, 2);
    let ranges = local.accounts.state("source", "shop", "orders").unwrap().ranges;
    let ids = [ranges[0].id.as_str(), ranges[1].id.as_str()];
    local.accounts.merge("source", "shop", "orders", ids).await.unwrap();
    assert_eq!(statuses(&create(&target, 150..250).await), [410; 100]);
    let answer = create(&target, 150..250).await;
    assert_eq!((statuses(&answer), answer.requests.len()), (vec![201; 100], 1));
    assert_eq!(local.accounts.documents("source", "shop", "orders").unwrap().len(), 250);
}

#[tokio::test]
async fn an_error_of_the_request_is_that_of_its_operations_unless_one_of_them_caused_it() {
    let (local, target) = started(1).await;
    let wait = Effect { retry_after_ms: Some(70), ..status(429, 3200) };
    for (then, expected) in [
        (wait, 429),
        (status(503, 0), 503),
        (status(403, 5300), 403),
        (status(400, 0), 0),
        (status(413, 0), 0),
    ] {
        fault(&local, None, then.clone());
        let answer = create(&target, 0..3).await;
        assert_eq!(statuses(&answer), [expected; 3], "{then:?}");
        assert_eq!(answer.requests.len(), 1);
        assert_eq!(Some(answer.requests[0].status), then.status);
        let waits = answer.parts.iter().flatten().map(|part| part.retry_after);
        let expected = then.retry_after_ms.map(std::time::Duration::from_millis);
        assert!(waits.into_iter().all(|wait| wait == expected), "{answer:?}");
    }
    assert!(local.accounts.documents("source", "shop", "orders").unwrap().is_empty());
}

/// The client repeats a request without an answer; then the first attempt may still be executed.
#[tokio::test]
async fn an_attempt_without_an_answer_is_told_with_each_operation() {
    let (local, target) = started(1).await;
    fault(&local, Some(1), Effect { drop: Some(DropWhen::After), ..Effect::default() });
    let answer = create(&target, 0..3).await;
    assert_eq!(statuses(&answer), [409; 3]);
    assert!(answer.parts.iter().flatten().all(|part| part.is_unanswered), "{answer:?}");
    // After a 410 the client sends the request once more, and reports that one only: an attempt before may be lost.
    local.accounts.clear_faults();
    let operation = Some("batch".to_owned());
    let drop = Effect { drop: Some(DropWhen::After), ..Effect::default() };
    for (times, then) in [(1, drop), (2, status(410, 1002))] {
        let (operation, times) = (operation.clone(), Some(times));
        local.accounts.fault(FaultRule { operation, times, then, ..FaultRule::default() });
    }
    let answer = create(&target, 20..23).await;
    assert_eq!(statuses(&answer), [410; 3]);
    assert!(answer.parts.iter().flatten().all(|part| part.is_unanswered), "{answer:?}");
    assert_eq!(statuses(&create(&target, 20..23).await), [409; 3]);
    // What broke off has been executed.
    fault(&local, None, Effect { truncate: true, ..Effect::default() });
    let answer = create(&target, 10..13).await;
    let is_transient = |part: &Answer| {
        cosmos_bridge_cosmos::classify(part.status, part.sub_status).cause().is_some()
    };
    assert!(answer.parts.iter().all(|part| part.as_ref().is_some_and(is_transient)), "{answer:?}");
}

#[tokio::test]
async fn operations_beyond_the_throughput_of_the_partition_are_throttled_and_no_others() {
    let (local, target) = started(1).await;
    let container = local.accounts.world.container("source", "shop", "orders").unwrap();
    // About 75 documents in a second.
    container.throttle.set_throughput(Some(400));
    let answer = create(&target, 0..100).await;
    let statuses = statuses(&answer);
    let written = statuses.iter().filter(|status| **status == 201).count();
    assert!((70..90).contains(&written), "{statuses:?}");
    assert!(statuses[written..].iter().all(|status| *status == 429), "{statuses:?}");
    let throttled = answer.parts.iter().flatten().filter(|part| part.status == 429);
    assert!(throttled.clone().all(|part| part.sub_status == 3200 && part.retry_after.is_some()));
    assert_eq!(local.accounts.documents("source", "shop", "orders").unwrap().len(), written);
}

#[tokio::test]
async fn what_fits_no_request_is_to_be_sent_alone() {
    let (local, target) = started(1).await;
    let mut documents = numbered(0..3);
    documents[1] = One::new("1", json!({"id": "1", "k": "1", "text": "x".repeat(2_097_152)}));
    let answer = target.bulk(creates(&documents)).await;
    assert_eq!(statuses(&answer), [201, 0, 201]);
    assert_eq!(local.requests("batch"), 1);
}

/// A key of two values does not fit the container's.
#[tokio::test]
async fn a_key_that_the_container_cannot_have_has_its_request_sent_one_by_one() {
    let (local, target) = started(1).await;
    let mut documents = numbered(0..3);
    documents[2].key.0.push(KeyValue::Null);
    let answer = target.bulk(creates(&documents)).await;
    assert_eq!(statuses(&answer), [0, 0, 0]);
    assert_eq!(local.requests("batch"), 1);
}

/// The same headers and the same body, except for what only the names of the clients differ in.
#[tokio::test]
async fn a_request_is_the_one_that_the_official_bulk_clients_send() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let (local, target) = started(1).await;
    let account = local.accounts.world.account("source").unwrap();
    account.recorder.start("batch");
    let given = recorded["operations"].as_array().unwrap();
    let text = |given: &Value, name: &str| given[name].as_str().map(str::to_owned);
    let one = |given: &Value| One {
        key: key(given["key"].as_str().unwrap()),
        ..One::new(
            given["id"].as_str().unwrap(),
            given.get("document").cloned().unwrap_or_else(|| json!({})),
        )
    };
    let documents: Vec<_> = given.iter().map(one).collect();
    let etags: Vec<_> = given.iter().map(|given| text(given, "etag")).collect();
    let operation = |at: usize| {
        let if_match = etags[at].as_deref();
        documents[at].operation(|content| match given[at]["kind"].as_str() {
            Some("Create") => Write::Create(content),
            Some("Upsert") => Write::Upsert(content),
            Some("Replace") => Write::Replace { content, if_match },
            _ => Write::Delete { if_match },
        })
    };
    let operations = (0..given.len()).map(operation).collect();
    assert_eq!(statuses(&target.bulk(operations).await), [201, 201, 404, 404]);
    let requests = account.recorder.take();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    for name in ["JavaScript", "Java"] {
        let theirs = &recorded[name];
        assert_eq!(
            (&theirs["method"], &theirs["path"]),
            (&json!(request.method), &json!(request.path))
        );
        let lower = |value: &Value| value.as_str().unwrap().to_ascii_lowercase();
        for (header, value) in theirs["headers"].as_object().unwrap() {
            let ours = request.headers.get(header).map(|value| value.to_ascii_lowercase());
            assert_eq!(ours, Some(lower(value)), "{name}: {header}");
        }
        assert_eq!(body, theirs["body"], "{name}");
    }
    assert!(!request.headers.contains_key("x-ms-documentdb-partitionkey"));
}
