use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Governor, HeldBy, Kind, Operation, Settlement, Verdict, YieldPolicy};
use crate::model::PartitionId;

impl Governor {
    /// What a partition got so far, in the ledger's virtual time.
    fn charged(&self, partition: PartitionId) -> f64 {
        self.state.lock().ledger.served(partition)
    }
}

fn operation() -> Vec<Operation> {
    vec![Operation { kind: Kind::Write, bytes: 1000 }]
}

fn answer(charge: f64, verdict: Verdict) -> Settlement {
    let throttled = u32::from(matches!(verdict, Verdict::Throttled { .. }));
    Settlement { charge, documents: 1, throttled, verdict }
}

/// Starts `count` tasks that send one request after the other to a partition, each with this charge.
fn senders(
    tasks: &mut JoinSet<()>,
    governor: &Arc<Governor>,
    partition: u32,
    count: usize,
    charge: f64,
) {
    for _ in 0..count {
        let governor = Arc::clone(governor);
        tasks.spawn(async move {
            loop {
                let admission = governor.admit(PartitionId(partition), operation()).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                admission.settle(answer(charge, Verdict::Done));
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_nothing_waits() {
    let governor = Governor::new(None, YieldPolicy::Normal, 8);
    let start = Instant::now();
    for _ in 0..100 {
        governor.admit(PartitionId(0), operation()).await.settle(answer(1e6, Verdict::Done));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_fully_used_and_not_exceeded() {
    let governor = Arc::new(Governor::new(Some(1000.0), YieldPolicy::Normal, 8));
    let mut tasks = JoinSet::new();
    senders(&mut tasks, &governor, 0, 8, 7.0);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let usage = governor.usage();
    assert!((19_900.0..20_100.0).contains(&usage.charged), "{usage:?}");
    assert!(usage.held[&HeldBy::Budget] > Duration::from_secs(19), "{usage:?}");
    // Once the charge is learned, the prediction equals the charge.
    assert!((usage.expected - usage.charged).abs() < 250.0, "{usage:?}");
}

/// Some documents of a batch become dead letters, and the service charges little for them.
#[tokio::test(start_paused = true)]
async fn a_batch_with_refused_documents_does_not_lower_the_predicted_charges() {
    let governor = Governor::new(Some(1000.0), YieldPolicy::Normal, 8);
    // The charge, the documents of ten that were written, and the charge predicted then.
    for (charge, documents, predicted) in
        [(100.0, 10, 100.0), (52.0, 5, 102.0), (10.0, 0, 102.0), (50.0, 10, 81.1)]
    {
        settle_batch(&governor, charge, documents).await;
        let expected = expected_of_a_batch(&governor).await;
        assert!((expected - predicted).abs() < 0.1, "{charge} for {documents}: {expected}");
    }
}

/// Otherwise the first prediction, which is too high, would hold for ever.
#[tokio::test(start_paused = true)]
async fn charges_are_learned_if_every_batch_has_a_refused_document() {
    let governor = Governor::new(Some(1000.0), YieldPolicy::Normal, 8);
    let first = expected_of_a_batch(&governor).await;
    for _ in 0..20 {
        settle_batch(&governor, 91.0, 9).await;
    }
    let expected = expected_of_a_batch(&governor).await;
    assert!(first > 200.0 && (100.0..103.0).contains(&expected), "{first}, {expected}");
}

/// A batch of ten documents with this charge; `documents` of them were written.
async fn settle_batch(governor: &Governor, charge: f64, documents: usize) {
    let admission = governor.admit(PartitionId(0), operation().repeat(10)).await;
    admission.settle(Settlement { charge, documents, throttled: 0, verdict: Verdict::Done });
}

async fn expected_of_a_batch(governor: &Governor) -> f64 {
    governor.admit(PartitionId(0), operation().repeat(10)).await.expected()
}

#[tokio::test(start_paused = true)]
async fn a_new_budget_applies_immediately_to_waiting_requests() {
    let governor = Arc::new(Governor::new(Some(10.0), YieldPolicy::Normal, 8));
    let mut tasks = JoinSet::new();
    senders(&mut tasks, &governor, 0, 8, 100.0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = governor.usage().charged;
    governor.set_rate(Some(10_000.0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let raised = governor.usage().charged - before;
    assert!((9_000.0..11_000.0).contains(&raised), "{raised}");
    governor.set_rate(Some(100.0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let settled = governor.usage().charged;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let lowered = governor.usage().charged - settled;
    assert!((900.0..1_100.0).contains(&lowered), "{lowered}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_stops_waiting_costs_nothing_and_a_sent_one_its_predicted_charge() {
    let governor = Governor::new(Some(100.0), YieldPolicy::Normal, 8);
    let first = governor.admit(PartitionId(0), operation()).await;
    let expected = first.expected();
    for _ in 0..1000 {
        let waits = governor.admit(PartitionId(0), operation());
        assert!(tokio::time::timeout(Duration::ZERO, waits).await.is_err());
    }
    drop(first);
    let start = Instant::now();
    governor.admit(PartitionId(0), operation()).await.settle(answer(1.0, Verdict::Done));
    let waited = start.elapsed().as_secs_f64();
    assert!(waited <= expected / 100.0 + 0.01, "{waited}");
    assert!(waited > 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_partition_does_not_delay_others() {
    let governor = Arc::new(Governor::new(Some(1000.0), YieldPolicy::Normal, 8));
    let throttled = governor.admit(PartitionId(1), operation()).await;
    throttled.settle(answer(0.4, Verdict::Throttled { wait: Duration::from_secs(5) }));
    let start = Instant::now();
    governor.admit(PartitionId(2), operation()).await.settle(answer(1.0, Verdict::Done));
    assert!(start.elapsed() < Duration::from_millis(50));
    governor.admit(PartitionId(1), operation()).await.settle(answer(1.0, Verdict::Done));
    assert!(start.elapsed() >= Duration::from_secs(5));
    assert_eq!(governor.usage().throttled, 1);
    assert!(governor.usage().held[&HeldBy::Throttled] > Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_made_to_fit_the_budget_and_shrinks_after_throttling() {
    let governor = Governor::new(Some(1000.0), YieldPolicy::Normal, 8);
    governor.admit(PartitionId(0), operation()).await.settle(answer(4.0, Verdict::Done));
    assert_eq!([governor.fitting(100), governor.fitting(5)], [10, 5]);
    governor.set_rate(Some(10.0));
    assert_eq!(governor.fitting(100), 1);
    let governor = Governor::new(None, YieldPolicy::Normal, 8);
    assert_eq!(governor.fitting(100), 100);
    let throttled = Verdict::Throttled { wait: Duration::ZERO };
    governor.admit(PartitionId(0), operation()).await.settle(answer(0.4, throttled));
    assert_eq!(governor.fitting(100), 50);
    for _ in 0..25 {
        governor.admit(PartitionId(0), operation()).await.settle(answer(8.0, Verdict::Done));
    }
    assert_eq!(governor.fitting(100), 100);
}

#[tokio::test(start_paused = true)]
async fn after_a_long_throttling_other_partitions_still_get_their_share() {
    let governor = Arc::new(Governor::new(Some(1000.0), YieldPolicy::Normal, 8));
    let throttled = governor.admit(PartitionId(9), operation()).await;
    throttled.settle(answer(0.4, Verdict::Throttled { wait: Duration::from_secs(30) }));
    let mut tasks = JoinSet::new();
    for partition in [1, 2, 9] {
        senders(&mut tasks, &governor, partition, 8, 5.0);
    }
    let mut spent = Vec::new();
    let mut last = 0.0;
    for _ in 0..36 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let others = governor.charged(PartitionId(1)) + governor.charged(PartitionId(2));
        spent.push(others - last);
        last = others;
    }
    // Two thirds in each second, except one second in which the third partition takes its claim.
    let starved = spent[30..].iter().filter(|spent| **spent < 600.0).count();
    assert!(starved <= 1, "{:?}", &spent[28..]);
    assert!(spent[30..].iter().all(|spent| *spent > 200.0), "{:?}", &spent[28..]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_concurrency_are_not_reported_as_throttled() {
    let governor = Arc::new(Governor::new(None, YieldPolicy::Normal, 8));
    let mut tasks = JoinSet::new();
    senders(&mut tasks, &governor, 0, 16, 5.0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let held = governor.usage().held;
    assert!(held[&HeldBy::Concurrency] > Duration::from_secs(9), "{held:?}");
    assert_eq!(held.get(&HeldBy::Throttled), None);
}

/// The service throttled once. The bridge keeps below that rate from then on, and nothing is throttled.
#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_the_rate_that_throttling_left_are_held_by_that_rate() {
    let governor = Arc::new(Governor::new(None, YieldPolicy::Normal, 8));
    let mut tasks = JoinSet::new();
    senders(&mut tasks, &governor, 0, 4, 5.0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let wait = Duration::from_millis(10);
    let throttled = governor.admit(PartitionId(0), operation()).await;
    throttled.settle(answer(0.4, Verdict::Throttled { wait }));
    senders(&mut tasks, &governor, 0, 4, 5.0);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let held = governor.usage().held;
    assert!(held[&HeldBy::FoundLimit] > Duration::from_secs(2), "{held:?}");
    assert_eq!(held.get(&HeldBy::HotPartition), None);
}

/// Rows: the partitions of two that have requests, and what holds those back. The budget is the throughput of
/// both, less by a tenth in the last row.
#[tokio::test(start_paused = true)]
async fn only_a_partition_that_leaves_budget_unused_is_hot() {
    use HeldBy::{Budget, HotPartition};
    for (partitions, budget, expected) in
        [(vec![0, 1], 400.0, Budget), (vec![0], 400.0, HotPartition), (vec![1, 0], 360.0, Budget)]
    {
        let governor = Arc::new(Governor::new(Some(budget), YieldPolicy::Normal, 8));
        governor.set_ceiling(Some(200.0));
        let mut tasks = JoinSet::new();
        for partition in &partitions {
            senders(&mut tasks, &governor, *partition, 8, 5.0);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let held = governor.usage().held;
        let most = held.iter().max_by_key(|(_, time)| **time).map(|(cause, _)| *cause);
        assert_eq!(most, Some(expected), "{partitions:?} of {budget}: {held:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_contains_what_the_budget_allows_and_less_if_it_shrank_meanwhile() {
    let write = |bytes| Operation { kind: Kind::Write, bytes };
    let (small, large) = (write(1000), write(100_000));
    let governor = Governor::new(Some(1000.0), YieldPolicy::Normal, 8);
    for (operation, charge) in [(small, 5.0), (large, 40.0)] {
        governor.admit(PartitionId(0), vec![operation]).await.settle(answer(charge, Verdict::Done));
    }
    // 40 RU in one request.
    for (operations, fitting) in [
        (vec![small; 20], 8),
        (vec![small, large, small], 1),
        (vec![small, small, small, large], 3),
        (vec![large, large], 1),
        (vec![], 0),
    ] {
        assert_eq!(governor.affordable(PartitionId(0), &operations), fitting, "{operations:?}");
    }
    let mut waiting = Box::pin(governor.admit(PartitionId(0), vec![small; 8]));
    let long = governor.admit(PartitionId(0), vec![large; 10]).await;
    assert!(tokio::time::timeout(Duration::from_millis(10), &mut waiting).await.is_err());
    long.settle(answer(400.0, Verdict::Done));
    governor.set_rate(Some(200.0));
    let mut admission = waiting.await;
    assert_eq!(admission.affordable(), 1);
    assert!((admission.expected() - 5.0).abs() < 1e-6);
    let before = governor.usage().expected;
    admission.settle(answer(5.0, Verdict::Done));
    assert!((governor.usage().expected - before - 5.0).abs() < 1e-6);
    governor.set_rate(None);
    assert_eq!(governor.affordable(PartitionId(0), &[large; 100]), 100);
}

/// A bulk request for more than a partition has would be throttled in part, each time.
#[tokio::test(start_paused = true)]
async fn a_request_to_a_partition_that_has_throttled_is_small() {
    let small = Operation { kind: Kind::Write, bytes: 1000 };
    let governor = Governor::new(None, YieldPolicy::Normal, 8);
    let most = |partition| governor.affordable(PartitionId(partition), &[small; 100]);
    for _ in 0..50 {
        let admission = governor.admit(PartitionId(0), vec![small; 10]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        admission.settle(Settlement { documents: 10, ..answer(50.0, Verdict::Done) });
    }
    assert_eq!((most(0), most(1)), (100, 100));
    let admission = governor.admit(PartitionId(0), vec![small; 10]).await;
    admission.settle(answer(50.0, Verdict::Throttled { wait: Duration::ZERO }));
    // 500 RU/s were too much. A tenth of a second of what is left, with 5 RU for each.
    assert!((7..=9).contains(&most(0)), "{}", most(0));
    assert_eq!(most(1), 100);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(most(0), 100);
}
