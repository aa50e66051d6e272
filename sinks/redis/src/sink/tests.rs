use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{
    Cause, Document, EARLIER_CHANGE, KeyValue, Operation, Origin, PartitionKey,
};

use super::*;
use crate::RedisOptions;

/// A change of a document with a field `region`, or without it.
fn change(id: &str, region: Option<&str>) -> Change {
    let name = |text: &str| text.to_owned();
    let key = PartitionKey(vec![KeyValue::String(name("north"))]);
    let mut document = Document::new();
    document.insert("id", id);
    if let Some(region) = region {
        document.insert("region", region);
    }
    let container = ContainerName {
        account: name("source"),
        database: name("shop"),
        container: name("orders"),
        rid: name("rid"),
    };
    Change {
        id: name(id),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document) },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: name(id),
            partition_key: key,
            lsn: Some(1),
            committed_at: Some(1000),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

fn failure(cause: Cause) -> Failure {
    let reason = "the server is out of memory".to_owned();
    Failure { cause, reason, hint: None, ends_connection: false }
}

#[test]
fn a_change_after_a_deferred_one_of_its_document_is_not_delivered() {
    let changes = ["a", "b", "a", "c", "a"].map(|id| change(id, None));
    let mut answers = Answers::new(&changes);
    answers.reject(3, "no key");
    let results = vec![
        Some(Err(failure(Cause::Fault))),
        Some(Ok(true)),
        Some(Ok(true)),
        None,
        Some(Err(failure(Cause::Busy))),
    ];
    note(results, &mut answers);
    let written = answers.finish();
    let earlier = || Outcome::Deferred { reason: EARLIER_CHANGE.to_owned() };
    let expected = [
        Outcome::Deferred { reason: "the server is out of memory".to_owned() },
        Outcome::Delivered,
        earlier(),
        Outcome::Rejected { reason: "no key".to_owned() },
        earlier(),
    ];
    assert_eq!(written.outcomes, expected);
    assert_eq!(written.wait, Some(Cause::Fault.into()));
}

#[tokio::test]
async fn a_change_without_a_field_of_the_key_is_refused_without_the_server() {
    let text = "mode = \"set\"\nservers = [\"a:1\"]\nkey = \"orders:{/region}:{id}\"";
    let options: RedisOptions = from_toml(text).unwrap();
    let sink = RedisSink::new("cache", options.settings(""));
    assert_eq!(sink.name(), "cache");
    assert_eq!(sink.refusal(&change("a", Some("north"))).await, None);
    let refused = sink.refusal(&change("a", None)).await.unwrap();
    assert!(refused.contains("field /region is missing"), "{refused}");
}
