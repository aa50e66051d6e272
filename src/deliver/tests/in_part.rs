//! Writes of which a part is done in each attempt.

use super::*;
use crate::model::Fate;

/// Has room for one change at a time.
struct Narrow {
    requests: AtomicUsize,
}

#[async_trait]
impl Sink for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        self.requests.fetch_add(1, Relaxed);
        let deferred = || Outcome::Deferred { reason: "no room".to_owned() };
        let outcome = |at| if at == 0 { Outcome::Delivered } else { deferred() };
        let retry_after = Some(Duration::from_millis(10));
        let wait = Wait { cause: Cause::Throttled, retry_after };
        Written {
            outcomes: (0..changes.len()).map(outcome).collect(),
            wait: (changes.len() > 1).then_some(wait),
            requests: 1,
            throttled: u32::from(changes.len() > 1),
            charge: 0.1,
            ..Written::default()
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Otherwise a partition that is throttled all the time would soon wait for seconds after each request.
#[tokio::test(start_paused = true)]
async fn pauses_do_not_grow_while_each_attempt_writes_a_part() {
    let sink = Arc::new(Narrow { requests: AtomicUsize::new(0) });
    let governor = Arc::new(Governor::new(None, YieldPolicy::Normal, LIMITS.concurrency));
    let delivery = Delivery::new(Arc::clone(&sink) as Arc<dyn Sink>, governor, None);
    let mut all = batch("k", 1, 0);
    all.changes = (0..40).flat_map(|id| batch("k", 1, id).changes).collect();
    (all.pages, all.bytes) = (vec![0; 40], vec![500; 40]);
    let stop = WriteStop::branch_of(&CancellationToken::new(), STOP_GRACE);
    let began = Instant::now();
    let end = delivery.until_done(&all, &stop).await.unwrap();
    assert!(end.rejected.is_empty());
    assert_eq!(end.fates, vec![Some(Fate::Delivered); 40]);
    assert_eq!(sink.requests.load(Relaxed), 40);
    // 40 pauses of about 10 ms.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
