//! The cases of the suite, one function each.

use std::time::Duration;

use cosmos_bridge_sink::{
    Change, Document, Grouping, KeyValue, Operation, Outcome, PartitionKey, Sink, document_bytes,
};
use futures::future::try_join_all;
use serde_json::json;

use crate::Harness;
use crate::changes::Written as Doc;
use crate::written::{Times, deliver, expect, write};

pub(crate) const NAMES: [&str; 9] = [
    "check leaves nothing behind",
    "every change has one outcome",
    "changes of a document stay in order",
    "several concurrent writes",
    "a repeated change is the same again",
    "awkward ids, keys and documents arrive as they are",
    "one change that is too large is refused alone",
    "while the target is away everything waits, then all arrives",
    "close flushes",
];

type Verdict = Result<(), String>;

pub(crate) async fn run(name: &str, harness: &dyn Harness) -> Verdict {
    let sink = harness.open().await;
    let sink = &*sink;
    match NAMES.iter().position(|known| *known == name) {
        Some(0) => check_leaves_nothing_behind(harness, sink).await,
        Some(1) => every_change_has_one_outcome(harness, sink).await,
        Some(2) => order(harness, sink).await,
        Some(3) => several_writes_at_once(harness, sink).await,
        Some(4) => repetition(harness, sink).await,
        Some(5) => awkward_documents(harness, sink).await,
        Some(6) => too_large(harness, sink).await,
        Some(7) => return outage(harness, sink).await,
        // Closes the sink itself.
        Some(8) => return close_flushes(harness, sink).await,
        _ => Err("no such case".to_owned()),
    }?;
    close(sink).await
}

async fn close(sink: &dyn Sink) -> Verdict {
    sink.close().await.map_err(|error| format!("close: {error}"))
}

async fn check(sink: &dyn Sink) -> Verdict {
    sink.check().await.map_err(|error| format!("check: {error} ({:?})", error.hint))
}

async fn check_leaves_nothing_behind(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    check(sink).await?;
    check(sink).await?;
    // A message that `check` left behind would be read before this one.
    let only = [Doc::new("check", 0).upsert(1, 0)];
    deliver(harness, sink, &only).await?;
    check(sink).await?;
    expect(harness, &only, Times::Once).await
}

async fn every_change_has_one_outcome(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    for count in [1, 2, most(sink)] {
        let name = format!("outcomes-{count}");
        let changes: Vec<Change> =
            (0..count).map(|number| Doc::new(&name, number).upsert(1, 20)).collect();
        deliver(harness, sink, &changes).await?;
        expect(harness, &changes, Times::Once).await?;
    }
    Ok(())
}

/// The number of changes per write: the limit of the sink, or less if that is too many for the suite.
fn most(sink: &dyn Sink) -> usize {
    let limits = sink.limits();
    (limits.bytes / 500).clamp(1, limits.changes.min(500))
}

/// Interleaved versions of several documents; a document is created, deleted and created again.
fn versions(case: &str, documents: usize, versions: i64) -> Vec<Change> {
    let documents: Vec<Doc> = (0..documents).map(|number| Doc::new(case, number)).collect();
    (1..=versions)
        .flat_map(|version| {
            documents.iter().map(move |document| match version % 4 {
                3 => document.delete(version),
                _ => document.upsert(version, 20),
            })
        })
        .collect()
}

async fn order(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    let changes = versions("order", 5, 40);
    // The sizes put versions of a document into the same write and into different writes.
    let mut rest = changes.as_slice();
    for size in [3, 1, 17, 2, 50].into_iter().cycle() {
        let (call, after) = rest.split_at(size.min(most(sink)).min(rest.len()));
        if call.is_empty() {
            break;
        }
        deliver(harness, sink, call).await?;
        rest = after;
    }
    expect(harness, &changes, Times::Once).await
}

async fn several_writes_at_once(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    let writes = sink.limits().concurrency.clamp(1, 16);
    let per_write = most(sink).min(20);
    let lanes: Vec<Vec<Change>> =
        (0..writes).map(|lane| versions(&format!("at-once-{lane}"), 2, 30)).collect();
    try_join_all(lanes.iter().map(async |lane| {
        for call in lane.chunks(per_write) {
            deliver(harness, sink, call).await?;
        }
        Ok::<(), String>(())
    }))
    .await?;
    expect(harness, &lanes.concat(), Times::Once).await
}

async fn repetition(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    let changes = versions("again", 3, 4);
    for _ in 0..2 {
        for call in changes.chunks(most(sink)) {
            deliver(harness, sink, call).await?;
        }
        // The same bodies and attributes, including ids.
        expect(harness, &changes, Times::Once).await?;
    }
    Ok(())
}

async fn awkward_documents(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    let texts =
        ["plain", "ü ß 漢字 🦀", "a\"b\\c'd", " spaces , ; = % + & # ? / : * . ", "tab\tline\n"];
    let mut keys: Vec<Vec<KeyValue>> =
        texts.iter().map(|text| vec![KeyValue::String((*text).to_owned())]).collect();
    keys.extend([
        vec![KeyValue::String(String::new())],
        vec![KeyValue::String("k".repeat(1000))],
        vec![KeyValue::Number(1.5)],
        vec![KeyValue::Null],
        vec![KeyValue::Undefined],
        vec![KeyValue::Bool(true)],
        vec![KeyValue::String("nord".to_owned()), KeyValue::Number(7.0), KeyValue::Undefined],
    ]);
    let mut changes = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        let text = texts[number % texts.len()];
        let id = match number {
            0..5 => format!("awkward-{text}"),
            _ => format!("awkward-{number}"),
        };
        let document = Doc { id, key: PartitionKey(key) };
        let mut fields = Document::new();
        fields.insert(text, json!([text, null, {"": [[], {}]}, 1.5e300, -0.25, true]));
        changes.push(document.document(1, fields));
        changes.push(document.delete(2));
    }
    if !harness.keeps_history() {
        // The deletes would leave nothing to compare.
        let upserts: Vec<Change> = changes.iter().step_by(2).cloned().collect();
        for call in calls(sink, &upserts) {
            deliver(harness, sink, call).await?;
        }
        expect(harness, &upserts, Times::Once).await?;
    }
    for call in calls(sink, &changes) {
        deliver(harness, sink, call).await?;
    }
    expect(harness, &changes, Times::Once).await
}

/// A call with as many changes as the sink accepts together; two are of one document.
fn calls<'c>(sink: &dyn Sink, changes: &'c [Change]) -> Vec<&'c [Change]> {
    match sink.limits().grouping {
        Grouping::Any | Grouping::Partition => changes.chunks(most(sink)).collect(),
        Grouping::Key => {
            let of_key = changes.chunk_by(|one, next| one.partition_key == next.partition_key);
            of_key.flat_map(|changes| changes.chunks(most(sink))).collect()
        }
    }
}

async fn too_large(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    let Some(bytes) = harness.too_large() else { return Ok(()) };
    let documents: Vec<Doc> = (0..3).map(|number| Doc::new("large", number)).collect();
    let fits = [documents[0].upsert(1, 20), documents[2].upsert(1, 20), documents[1].upsert(2, 20)];
    let large = documents[1].upsert(1, bytes);
    let changes = [fits[0].clone(), large.clone(), fits[1].clone(), fits[2].clone()];
    let outcomes = match most(sink) {
        // The bridge gives a sink more than `bytes` only where that is one change.
        _ if document_bytes_of(&large) > sink.limits().bytes => {
            deliver(harness, sink, &changes[..1]).await?;
            let alone = write(harness, sink, &changes[1..2]).await?.outcomes;
            deliver(harness, sink, &changes[2..]).await?;
            alone
        }
        _ => write(harness, sink, &changes).await?.outcomes,
    };
    let rejected = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Rejected { .. }));
    let deferred = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Deferred { .. }));
    let (rejected, deferred) = (rejected.count(), deferred.count());
    if (rejected, deferred) != (1, 0) {
        return Err(format!("{rejected} rejected and {deferred} deferred, instead of 1 and 0"));
    }
    expect(harness, &fits, Times::Once).await
}

fn document_bytes_of(change: &Change) -> usize {
    match &change.operation {
        Operation::Upsert { document } => document_bytes(document),
        Operation::Delete { .. } => 0,
    }
}

async fn outage(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    let Some(outage) = harness.outage() else { return close(sink).await };
    let before = [Doc::new("outage", 0).upsert(1, 20)];
    deliver(harness, sink, &before).await?;
    let changes = versions("outage-during", 3, 5);
    let calls: Vec<&[Change]> = changes.chunks(most(sink)).collect();
    outage.begin().await;
    let during = async {
        for _ in 0..2 {
            for call in &calls {
                let written = write(harness, sink, call).await?;
                if !written.outcomes.iter().all(|o| matches!(o, Outcome::Deferred { .. })) {
                    return Err(format!("not all deferred: {:?}", written.outcomes));
                }
            }
        }
        Ok(())
    }
    .await;
    outage.end().await;
    during?;
    for call in calls {
        deliver_at_last(harness, sink, call).await?;
    }
    expect(harness, &[&before, changes.as_slice()].concat(), Times::AtLeastOnce).await?;
    close(sink).await
}

/// Like the bridge: deferred changes are written again, in order.
async fn deliver_at_last(harness: &dyn Harness, sink: &dyn Sink, changes: &[Change]) -> Verdict {
    let mut left = changes.to_vec();
    let repeat = async {
        while !left.is_empty() {
            let written = write(harness, sink, &left).await?;
            let waits = |o: &Outcome| matches!(o, Outcome::Deferred { .. });
            let mut outcomes = written.outcomes.iter();
            left.retain(|_| outcomes.next().is_some_and(waits));
            if !left.is_empty() {
                // Gives a real server time to recover.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    };
    let patience = harness.patience();
    tokio::time::timeout(patience, repeat)
        .await
        .map_err(|_| format!("still deferred {patience:?} after the target came back"))?
}

async fn close_flushes(harness: &dyn Harness, sink: &dyn Sink) -> Verdict {
    let changes = versions("close", 3, 10);
    for call in changes.chunks(most(sink)) {
        deliver(harness, sink, call).await?;
    }
    close(sink).await?;
    expect(harness, &changes, Times::Once).await
}
