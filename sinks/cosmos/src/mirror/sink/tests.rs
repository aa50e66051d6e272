//! The sink against a service that loses and delays requests.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Change, Document, Mutex, OldCopies, Operation, Outcome, Sink as _, SinkError, Written,
};
use serde_json::{Value, json};

use super::{Mirror, MirrorSink, Role};
use crate::mirror::{ConflictLog, Policy};
use crate::sink::service::{NO_ANSWER, NOW, Service};
use crate::{Answer, Container as _, CosmosOptions, Write, fixtures};

/// Answers with these statuses, then with 201, or 409 for an entry that it has.
#[derive(Default)]
struct Log {
    scripted: Mutex<Vec<u16>>,
    entries: Mutex<Vec<(String, Document)>>,
}

#[async_trait]
impl ConflictLog for Log {
    async fn create(&self, id: &str, entry: &Document) -> Answer {
        let mut entries = self.entries.lock();
        let is_known = entries.iter().any(|(known, _)| known == id);
        let status = self.scripted.lock().pop().unwrap_or(if is_known { 409 } else { 201 });
        if status == 201 {
            entries.push((id.to_owned(), entry.clone()));
        }
        Answer { status, ..Answer::default() }
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

struct World {
    service: Arc<Service>,
    log: Arc<Log>,
    sink: MirrorSink,
}

fn world(role: Role, latest: Duration) -> World {
    let service = Arc::new(Service::new(1, latest));
    let log = Arc::<Log>::default();
    let field = "_mirror".to_owned();
    let mirror = Mirror { field, role, log: Arc::clone(&log) as _ };
    let options = CosmosOptions { concurrency: 8, bulk: true, ..fixtures::options() };
    let sink = MirrorSink::new("west", options, mirror, Arc::clone(&service) as _, || NOW);
    World { service, log, sink }
}

fn document(id: &str, version: i64) -> Document {
    let document = json!({"id": id, "k": "key", "version": version});
    document.as_object().unwrap().clone().into()
}

/// As the feed has it.
fn read(mut document: Document, etag: &str) -> Arc<Document> {
    document.insert("_etag", etag);
    document.insert("_ts", NOW);
    Arc::new(document)
}

/// The change of a user: to version `after`, 0 for a delete, from `before`, 0 for none.
fn change(id: &str, before: i64, after: i64) -> Change {
    let number = if after == 0 { 10 * before + 5 } else { 10 * after };
    let mut change = fixtures::upsert(id, u32::try_from(number).unwrap());
    let origin = Arc::make_mut(&mut change.origin);
    origin.committed_at = Some(NOW);
    let etag = |version: i64| format!("u{version}");
    change.previous = (before > 0).then(|| read(document(id, before), &etag(before)));
    if before == 0 {
        change.old_copies = OldCopies::Nowhere;
    }
    change.operation = if after == 0 {
        Operation::Delete { expired: false }
    } else {
        Operation::Upsert { document: read(document(id, after), &etag(after)) }
    };
    change
}

impl World {
    async fn write(&self, changes: &[Change]) -> Written {
        self.sink.write(changes).await
    }

    /// A user of the target writes.
    async fn put(&self, id: &str, version: i64) {
        let document = document(id, version);
        let write = Write::Upsert((&document).into());
        let key = fixtures::upsert(id, 1).partition_key;
        assert!(self.service.write(&key, id, write).await.status < 300);
    }

    async fn held(&self, id: &str) -> Option<(i64, Value)> {
        let stored = self.service.stored().await;
        let document = stored.get(id)?;
        let record = document.get("_mirror").unwrap_or_default();
        Some((document.get("version")?.as_i64()?, record))
    }
}

fn delivered(written: &Written) -> usize {
    written.outcomes.iter().filter(|one| **one == Outcome::Delivered).count()
}

#[tokio::test(start_paused = true)]
async fn changes_are_written_with_a_record_and_a_repetition_writes_nothing() {
    let world = world(Role::Decides(Policy::Newest), Duration::ZERO);
    let changes = [change("a", 0, 1), change("b", 0, 1), change("a", 1, 2), change("b", 1, 0)];
    for repetition in 0..2 {
        let written = world.write(&changes).await;
        assert_eq!(delivered(&written), 4, "{written:?}");
        let (version, record) = world.held("a").await.unwrap();
        assert_eq!((version, &record["kind"], &record["other"]), (2, &json!("copy"), &json!("u2")));
        assert_eq!(world.held("b").await, None, "{repetition}");
    }
    // The delete is told by a replacement before it. A document that is gone is created by the repetition.
    let executed = world.service.executed();
    let of = |id: &str| executed.iter().filter(|(one, _)| one == id).map(|(_, n)| *n).collect();
    let (a, b): (Vec<_>, Vec<_>) = (of("a"), of("b"));
    assert_eq!(a, [1, 2]);
    assert_eq!(b, [1, 1, 0, 1, 1, 0]);
    assert!(world.log.entries.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_echo_sends_nothing() {
    let world = world(Role::Follows, Duration::ZERO);
    world.write(&[change("a", 0, 1)]).await;
    let stored = world.service.stored().await.remove("a").unwrap();
    let mut echo = change("a", 0, 1);
    echo.operation = Operation::Upsert { document: read(stored.clone(), "t1") };
    world.write(&[change("a", 1, 2)]).await;
    let replaced = world.service.stored().await.remove("a").unwrap();
    let record = replaced.get("_mirror").unwrap();
    let mut echo_of_next = change("a", 1, 2);
    echo_of_next.previous = Some(read(stored, record["over"].as_str().unwrap()));
    echo_of_next.operation = Operation::Upsert { document: read(replaced, "t2") };
    let reads = world.service.reads.load(Relaxed);
    let written = world.write(&[echo, echo_of_next]).await;
    assert_eq!((written.requests, written.kept), (0, vec![0, 1]));
    assert_eq!(world.service.reads.load(Relaxed), reads);
}

/// The deciding side asks once, as the target has no record; then it decides.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_logged_before_the_write_and_once() {
    let world = world(Role::Decides(Policy::Source), Duration::ZERO);
    world.write(&[change("a", 0, 1)]).await;
    let stored = world.service.stored().await.remove("a").unwrap();
    // A user of the target edits the copy and keeps the record.
    let mut edited = stored.clone();
    edited.insert("version", 50);
    let key = fixtures::upsert("a", 1).partition_key;
    world.service.write(&key, "a", Write::Upsert((&edited).into())).await;
    world.log.scripted.lock().push(503);
    let conflicting = [change("a", 1, 2)];
    let written = world.write(&conflicting).await;
    assert_eq!((delivered(&written), written.conflicts_logged), (0, 0));
    assert_eq!(world.held("a").await.unwrap().0, 50);
    // Killed after the log: the next process finds its entry.
    world.service.script("a", [Some(NO_ANSWER)]);
    let written = world.write(&conflicting).await;
    assert_eq!((delivered(&written), written.conflicts_logged), (0, 1));
    let written = world.write(&conflicting).await;
    assert_eq!((delivered(&written), written.conflicts_logged), (1, 0));
    let (version, record) = world.held("a").await.unwrap();
    assert_eq!((version, &record["kind"]), (2, &json!("won")));
    let entries = world.log.entries.lock();
    let [(_, entry)] = entries.as_slice() else { panic!("{}", entries.len()) };
    assert_eq!(entry.get("winner").unwrap(), "source");
    let version = |side: &str| entry.get(side).unwrap()["document"]["version"].clone();
    assert_eq!((version("source"), version("target")), (json!(2), json!(50)));
}

#[tokio::test(start_paused = true)]
async fn what_changes_between_read_and_write_is_read_again() {
    let world = world(Role::Decides(Policy::Newest), Duration::ZERO);
    world.put("a", 7).await;
    // A create, which meets the document; the question, refused twice because it has changed.
    world.service.script("a", [None, Some((412, 0)), Some((412, 0))]);
    let written = world.write(&[change("a", 0, 1)]).await;
    assert_eq!(delivered(&written), 1, "{written:?}");
    let (version, record) = world.held("a").await.unwrap();
    assert_eq!((version, &record["kind"]), (7, &json!("open")));
    // It changes all the time.
    world.put("c", 7).await;
    let refused = std::iter::repeat_n(Some((412, 0)), 9);
    world.service.script("c", std::iter::once(None).chain(refused));
    let written = world.write(&[change("c", 0, 1)]).await;
    assert!(matches!(written.outcomes[0], Outcome::Deferred { .. }), "{written:?}");
}

/// A unique key: the document is not there, and cannot be created.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_created_is_told_from_what_exists() {
    let world = world(Role::Follows, Duration::ZERO);
    world.service.script("a", std::iter::repeat_n(Some((409, 0)), 9));
    let written = world.write(&[change("a", 0, 1)]).await;
    assert_eq!(written.conflicts, [0]);
    assert!(matches!(written.outcomes[0], Outcome::Rejected { .. }), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_tell_its_version_is_rejected() {
    let world = world(Role::Follows, Duration::ZERO);
    let mut without_etag = change("a", 0, 1);
    without_etag.operation = Operation::Upsert { document: Arc::new(document("a", 1)) };
    let mut without_number = change("b", 0, 1);
    Arc::make_mut(&mut without_number.origin).lsn = None;
    let written = world.write(&[without_etag, without_number]).await;
    let is_rejected = |one: &Outcome| matches!(one, Outcome::Rejected { .. });
    assert!(written.outcomes.iter().all(is_rejected), "{written:?}");
    assert!(world.service.executed().is_empty());
}

/// A clock that is wrong does not make the bridge take its own writes for those of users, which would go back and
/// forth for ever.
#[tokio::test(start_paused = true)]
async fn own_writes_are_recognised_under_any_clock() {
    for now in [(|| NOW - 5000) as fn() -> i64, || NOW + 5000] {
        let mut world = world(Role::Follows, Duration::ZERO);
        world.sink.now = now;
        world.write(&[change("a", 0, 1)]).await;
        let stored = world.service.stored().await.remove("a").unwrap();
        let mut echo = change("a", 0, 1);
        echo.operation = Operation::Upsert { document: read(stored, "t1") };
        let written = world.write(&[echo]).await;
        assert_eq!((written.requests, written.kept), (0, vec![0]));
    }
}

/// Requests that are late, lost or executed twice do not undo what follows them.
#[tokio::test(start_paused = true)]
async fn late_requests_undo_nothing() {
    for seed in 0..60 {
        let late = Duration::from_secs(20);
        let mut world = world(Role::Follows, late);
        world.service = Arc::new(Service::new(seed, late));
        let mirror = Mirror {
            field: "_mirror".to_owned(),
            role: Role::Follows,
            log: Arc::clone(&world.log) as _,
        };
        let service = Arc::clone(&world.service) as _;
        world.sink = MirrorSink::new("west", fixtures::options(), mirror, service, || NOW);
        let ids = ["a", "b", "c", "d"];
        for (before, after) in [(0, 1), (1, 2), (2, 0), (0, 4), (4, 5), (5, 0)] {
            for id in ids {
                let changes = [change(id, before, after)];
                let mut is_delivered = false;
                for _ in 0..50 {
                    let written = world.write(&changes).await;
                    is_delivered = delivered(&written) == 1;
                    if is_delivered {
                        break;
                    }
                    let pause = written.wait.and_then(|wait| wait.retry_after);
                    tokio::time::advance(pause.unwrap_or(Duration::from_secs(1))).await;
                }
                assert!(is_delivered, "seed {seed}: {id} {before} to {after}");
            }
        }
        let stored = world.service.stored().await;
        assert!(stored.is_empty(), "seed {seed}: {stored:?}");
    }
}
