use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Cause, Change, ContainerName, Grouping, KeyValue, Limits, Operation, Origin, Outcome,
    PartitionKey, Sink, SinkError, Wait, Written,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::write_queue::Slot;
use super::{Delivery, STOP_GRACE, WriteBatch, WriteStop};
use crate::governor::{Governor, YieldPolicy};
use crate::model::PartitionId;
use crate::observe::lines::Lines;
use tokio_util::sync::CancellationToken;

mod conflicts;
mod in_part;

const LIMITS: Limits =
    Limits { grouping: Grouping::Key, changes: 100, bytes: 1_000_000, concurrency: 32 };

/// What the scripted target answers for a while.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    until: Duration,
    /// Only writes of this key; `None` is every one.
    key: Option<&'static str>,
    wait: Wait,
}

/// A target with a script; each request takes 5 ms and 10 RU.
struct Scripted {
    began: Instant,
    refusals: Vec<Refusal>,
    /// When each request came, and whether it was done.
    requests: Mutex<Vec<(Duration, bool)>>,
    /// The ids of what was done, request by request.
    done: Mutex<Vec<Vec<String>>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Scripted {
    fn new(refusals: &[Refusal]) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            refusals: refusals.to_vec(),
            requests: Mutex::default(),
            done: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    fn requests(&self, from: Duration, to: Duration, done: bool) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(at, is)| *at >= from && *at < to && *is == done).count()
    }
}

#[async_trait]
impl Sink for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let now = self.began.elapsed();
        let under_way = self.under_way.fetch_add(1, Relaxed) + 1;
        self.most_under_way.fetch_max(under_way, Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.under_way.fetch_sub(1, Relaxed);
        let key = |key: &str| changes[0].partition_key == key_of(key);
        let refusal =
            self.refusals.iter().find(|r| now < r.until && r.key.is_none_or(&key)).copied();
        self.requests.lock().unwrap().push((now, refusal.is_none()));
        if refusal.is_none() {
            self.done
                .lock()
                .unwrap()
                .push(changes.iter().map(|change| change.id.clone()).collect());
        }
        let deferred = || Outcome::Deferred { reason: "refused".to_owned() };
        let outcome = || refusal.map_or(Outcome::Delivered, |_| deferred());
        let wait = refusal.map(|refusal| refusal.wait);
        let is_throttled = wait.is_some_and(|wait| wait.cause == Cause::Throttled);
        Written {
            outcomes: changes.iter().map(|_| outcome()).collect(),
            charge: if refusal.is_some() { 0.4 } else { 10.0 },
            requests: 1,
            throttled: u32::from(is_throttled),
            superseded: 0,
            kept: vec![],
            collisions: 0,
            conflicts_logged: 0,
            conflicts: vec![],
            unanswered: vec![],
            wait,
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn key_of(key: &str) -> PartitionKey {
    PartitionKey(vec![KeyValue::String(key.to_owned())])
}

fn batch(key: &str, partition: u32, id: usize) -> WriteBatch {
    let container = ContainerName {
        account: "a".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        rid: "rid".to_owned(),
    };
    let change = Change {
        id: id.to_string(),
        partition_key: key_of(key),
        operation: Operation::Upsert { document: Arc::default() },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_string(),
            partition_key: key_of(key),
            lsn: None,
            committed_at: None,
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    };
    WriteBatch {
        changes: vec![change],
        pages: vec![0],
        bytes: vec![500],
        partition: PartitionId(partition),
        documents: vec![],
        slot: Slot::default(),
        pending: Arc::default(),
    }
}

/// Delivers these batches side by side, as many at once as a worker would; says how many were.
async fn deliver(
    delivery: &Arc<Delivery>,
    mut batches: VecDeque<WriteBatch>,
    most: usize,
) -> usize {
    let stop = WriteStop::branch_of(&CancellationToken::new(), STOP_GRACE);
    let mut tasks = JoinSet::new();
    let mut delivered = 0;
    loop {
        while tasks.len() < most
            && let Some(batch) = batches.pop_front()
        {
            let (delivery, stop) = (Arc::clone(delivery), stop.clone());
            tasks.spawn(async move { delivery.until_done(&batch, &stop).await.unwrap() });
        }
        match tasks.join_next().await {
            Some(rejected) => delivered += usize::from(rejected.unwrap().rejected.is_empty()),
            None => return delivered,
        }
    }
}

fn delivery(sink: &Arc<Scripted>, rate: Option<f64>) -> Arc<Delivery> {
    let governor = Arc::new(Governor::new(rate, YieldPolicy::Normal, LIMITS.concurrency));
    Arc::new(Delivery::new(Arc::clone(sink) as Arc<dyn Sink>, governor, None))
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn an_hour_of_refusals_loses_nothing_asks_seldom_and_is_over_at_once() {
    for rate in [None, Some(4_000.0)] {
        let retry_after = Some(Duration::from_millis(20));
        let wait = Wait { cause: Cause::Throttled, retry_after };
        let (nine, ten) = (Duration::from_secs(9), Duration::from_secs(10));
        // What is full speed?
        let plain = Scripted::new(&[]);
        let undisturbed = delivery(&plain, rate);
        let batches = |count| (0..count).map(|id| batch("k", 1, id)).collect::<VecDeque<_>>();
        let run = deliver(&undisturbed, batches(100_000), 64);
        assert!(tokio::time::timeout(ten, run).await.is_err());
        let full = plain.requests(ten / 2, ten, true) / 5;

        let sink = Scripted::new(&[Refusal { until: HOUR, key: None, wait }]);
        let count = full * 12;
        let hour = delivery(&sink, rate);
        let told = Lines::of(async {
            assert_eq!(deliver(&hour, batches(count), 64).await, count);
        });
        let told = told.await;
        let lines = told.lines().filter(|line| !line.starts_with("DEBUG")).count();
        assert!((2..=12).contains(&lines), "{lines}");
        assert!(told.contains("throttles writing to sink `scripted`"));
        let refused = sink.requests(Duration::ZERO, HOUR, false);
        assert!((600..4_000).contains(&refused), "{refused} requests in an hour");

        let after = sink.requests(HOUR + nine, HOUR + ten, true);
        assert!(after * 10 >= full * 9, "{after} a second of {full}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_waits_alone_and_a_partition_without_units_holds_up_its_own_keys() {
    let minute = Duration::from_mins(1);
    let retry_after = Some(minute);
    for (cause, others) in [(Cause::HotKey, 1.0), (Cause::Throttled, 60.0)] {
        let wait = Wait { cause, retry_after };
        let until = Duration::from_secs(1);
        let sink = Scripted::new(&[Refusal { until, key: Some("hot"), wait }]);
        let delivery = delivery(&sink, Some(1000.0));
        assert_eq!(deliver(&delivery, VecDeque::from([batch("warm", 1, 0)]), 1).await, 1);
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (key, partition) in [("hot", 1), ("cold", 1), ("far", 2)] {
            let delivery = Arc::clone(&delivery);
            // The hot key comes first.
            tokio::time::sleep(Duration::from_millis(20)).await;
            tasks.spawn(async move {
                deliver(&delivery, VecDeque::from([batch(key, partition, 1)]), 1).await;
                (key, start.elapsed().as_secs_f64())
            });
        }
        let mut took = std::collections::HashMap::new();
        while let Some(done) = tasks.join_next().await {
            let (key, seconds) = done.unwrap();
            took.insert(key, seconds);
        }
        assert!(took["far"] < 1.0, "{cause:?}: {took:?}");
        assert!(took["hot"] >= 60.0, "{cause:?}: {took:?}");
        let cold = took["cold"];
        assert!(cold >= others - 1.0 && cold < others + 7.0, "{cause:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_in_trouble_is_asked_for_less_at_once() {
    let until = Duration::from_secs(30);
    let wait = Wait { cause: Cause::Busy, retry_after: None };
    let sink = Scripted::new(&[Refusal { until, key: None, wait }]);
    let delivery = delivery(&sink, None);
    let batches = (0..200).map(|id| batch("k", 1, id)).collect();
    assert_eq!(deliver(&delivery, batches, 64).await, 200);
    let half = Duration::from_secs(15);
    assert!(sink.requests(half, until, false) <= 64 * 5);
    assert_eq!(delivery.governor.usage().throttled, 0);
}

/// A next run would write again what was written beside it.
#[tokio::test(start_paused = true)]
async fn a_stop_waits_a_little_for_a_target_that_throttles_and_not_for_a_broken_sink() {
    for (cause, until, is_sent) in [
        (Cause::Throttled, 2, true),
        (Cause::Moved, 2, true),
        (Cause::Throttled, 60, false),
        (Cause::Busy, 2, false),
        (Cause::Fault, 2, false),
    ] {
        let wait = Wait { cause, retry_after: None };
        let until = Duration::from_secs(until);
        let delivery = delivery(&Scripted::new(&[Refusal { until, key: None, wait }]), None);
        let all = CancellationToken::new();
        let stop = WriteStop::branch_of(&all, STOP_GRACE);
        all.cancel();
        let began = Instant::now();
        let sent = delivery.until_done(&batch("k", 1, 0), &stop).await;
        assert_eq!(sent.is_some(), is_sent, "{cause:?} {until:?}");
        let waits = matches!(cause, Cause::Throttled | Cause::Moved);
        // A request that is under way is awaited.
        let request = Duration::from_millis(100);
        let longest = request + if waits { STOP_GRACE } else { Duration::ZERO };
        assert!(began.elapsed() <= longest, "{cause:?} {until:?}");
        // One grace for all writes.
        assert!(delivery.until_done(&batch("k", 1, 1), &stop).await.is_some() || !is_sent);
        assert!(began.elapsed() <= longest, "{cause:?} {until:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_sends_what_can_be_sent_and_leaves_what_has_to_wait() {
    let sink = Scripted::new(&[]);
    let delivery = delivery(&sink, Some(1.0));
    let all = CancellationToken::new();
    let stop = WriteStop::branch_of(&all, STOP_GRACE);
    all.cancel();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(delivery.until_done(&batch("k", 1, 0), &stop).await.is_some());
    assert!(delivery.until_done(&batch("k", 1, 1), &stop).await.is_none());
    assert_eq!(sink.requests(Duration::ZERO, HOUR, true), 1);
}

/// Forty changes in one batch at a budget that affords a few per request, refused for a while or not.
#[tokio::test(start_paused = true)]
async fn a_unit_that_costs_too_much_at_once_goes_in_parts_and_in_order() {
    let wait = Wait { cause: Cause::Throttled, retry_after: None };
    let refusal = Refusal { until: Duration::from_millis(100), key: None, wait };
    for refusals in [&[][..], &[refusal]] {
        let sink = Scripted::new(refusals);
        let delivery = delivery(&sink, Some(1000.0));
        let mut whole = batch("k", 1, 0);
        for id in 1..40 {
            let WriteBatch { changes, pages, bytes, .. } = batch("k", 1, id);
            whole.changes.extend(changes);
            whole.pages.extend(pages);
            whole.bytes.extend(bytes);
        }
        assert_eq!(deliver(&delivery, [whole].into(), 1).await, 1);
        let done = sink.done.lock().unwrap();
        // Before anything is known, a document of this size is taken to cost 24 RU, of 40; then 10.
        assert_eq!([done[0].len(), done[1].len()], [1, 4], "{done:?}");
        let ids: Vec<usize> = done.concat().iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(ids, (0..40).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_awaited_at_a_stop_of_all_and_not_by_a_range_that_goes_on_without_the_sink() {
    let delivery = delivery(&Scripted::new(&[]), None);
    let turns = delivery.turns.acquire_many(32).await.unwrap();
    let all = CancellationToken::new();
    let stop = WriteStop::branch_of(&all, STOP_GRACE);
    let batch = batch("k", 1, 0);
    let mut waiting = Box::pin(delivery.until_done(&batch, &stop));
    let second = Duration::from_secs(1);
    assert!(tokio::time::timeout(second, &mut waiting).await.is_err());
    all.cancel();
    assert!(tokio::time::timeout(second, &mut waiting).await.is_err());
    stop.abandon();
    assert!(waiting.await.is_none());
    drop(turns);
}

mod poison;
