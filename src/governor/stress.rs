//! Requests of many tasks on several threads, some of which stop waiting or are dropped without a result. Real
//! time and real threads: loom does not see the primitives of tokio and `parking_lot`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cosmos_bridge_corpus::Random;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use super::{Governor, Kind, Operation, Settlement, Verdict, YieldPolicy};
use crate::model::PartitionId;

const PARTITIONS: usize = 3;
const CONCURRENCY: usize = 2;
const TASKS: u64 = 16;
const REQUESTS: usize = 500;

/// A wake-up that is lost, or a place that is not given back, ends in a wait without end.
const PATIENCE: Duration = Duration::from_mins(1);

/// Requests in flight now, by partition.
type InFlight = Arc<[AtomicUsize; PARTITIONS]>;

async fn request(governor: &Governor, in_flight: &InFlight, random: &mut Random) {
    let partition = random.below(PARTITIONS);
    let id = PartitionId(u32::try_from(partition).unwrap());
    let mut waiting =
        Box::pin(governor.admit(id, vec![Operation { kind: Kind::Write, bytes: 100 }]));
    let (gives_up, turns) = (random.below(4) == 0, random.below(5));
    let admission = if gives_up {
        let stopped = async {
            for _ in 0..turns {
                yield_now().await;
            }
        };
        tokio::select! {
            admission = &mut waiting => admission,
            () = stopped => return,
        }
    } else {
        waiting.await
    };
    let now = in_flight[partition].fetch_add(1, SeqCst) + 1;
    assert!(now <= CONCURRENCY, "{now} requests to one partition");
    for _ in 0..turns {
        yield_now().await;
    }
    in_flight[partition].fetch_sub(1, SeqCst);
    let verdict = match random.below(20) {
        0 => return,
        1 => Verdict::Throttled { wait: Duration::from_micros(100) },
        2 => Verdict::Slowed,
        3 => Verdict::Other,
        _ => Verdict::Done,
    };
    // So little that a rate which throttling has reduced does not make the requests wait for minutes.
    admission.settle(Settlement { charge: 0.01, documents: 1, throttled: 0, verdict });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_is_admitted_and_every_place_is_given_back() {
    for rate in [None, Some(1e9)] {
        let governor = Arc::new(Governor::new(rate, YieldPolicy::Normal, CONCURRENCY));
        let in_flight = InFlight::default();
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (governor, in_flight) = (Arc::clone(&governor), Arc::clone(&in_flight));
            tasks.spawn(async move {
                let mut random = Random::new(task);
                for _ in 0..REQUESTS {
                    request(&governor, &in_flight, &mut random).await;
                }
            });
        }
        let ended = timeout(PATIENCE, tasks.join_all()).await;
        assert!(ended.is_ok(), "{rate:?}: a request waits for ever: {governor:?}");
        let state = governor.state.lock();
        assert!(state.waiting.is_empty(), "{rate:?}");
        assert!(state.ledger.is_idle(), "{rate:?}: {:?}", state.ledger);
    }
}
