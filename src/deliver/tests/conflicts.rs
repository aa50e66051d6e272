//! Changes that conflict with another document, such as one that has the value of a unique key.

use super::*;

/// Answers each request with the next letters, one for each change: `d`elivered, `w`aits, `r`ejected,
/// `c`onflict. The last ones are repeated.
struct Answering {
    script: &'static [&'static str],
    requests: AtomicUsize,
}

#[async_trait]
impl Sink for Answering {
    fn name(&self) -> &'static str {
        "answering"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let at = self.requests.fetch_add(1, Relaxed).min(self.script.len() - 1);
        let letters = self.script[at];
        assert_eq!(letters.len(), changes.len(), "request {at}");
        let outcome = |letter| match letter {
            'd' => Outcome::Delivered,
            'w' => Outcome::Deferred { reason: "busy".to_owned() },
            _ => Outcome::Rejected { reason: "no".to_owned() },
        };
        let wait = Wait { cause: Cause::Fault, retry_after: None };
        Written {
            outcomes: letters.chars().map(outcome).collect(),
            conflicts: letters.match_indices('c').map(|(index, _)| index).collect(),
            wait: letters.contains('w').then_some(wait),
            requests: 1,
            ..Written::default()
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Otherwise a change becomes a dead letter because of the order in which a batch is written.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_final_only_if_nothing_of_its_key_is_pending_or_after_a_minute() {
    // The unfinished changes of the key in other batches, the script, the ids of the changes that are
    // rejected, and the requests; `None` if it takes a minute.
    type Row<'r> = (usize, &'static [&'static str], &'r [&'r str], Option<usize>);
    let table: [Row<'_>; 7] = [
        (0, &["c"], &["0"], Some(1)),
        (1, &["c", "c", "d"], &[], Some(3)),
        (0, &["wc", "dc", "d"], &[], Some(3)),
        (0, &["rc"], &["0", "1"], Some(1)),
        (0, &["dc", "c"], &["1"], Some(2)),
        (1, &["r"], &["0"], Some(1)),
        (1, &["c"], &["0"], None),
    ];
    for (others, script, expected, requests) in table {
        let sink = Arc::new(Answering { script, requests: AtomicUsize::new(0) });
        let governor = Arc::new(Governor::new(None, YieldPolicy::Normal, LIMITS.concurrency));
        let delivery = Delivery::new(Arc::clone(&sink) as Arc<dyn Sink>, governor, None);
        let count = script[0].len();
        let mut all = batch("k", 1, 0);
        all.changes = (0..count).flat_map(|id| batch("k", 1, id).changes).collect();
        (all.pages, all.bytes) = (vec![0; count], vec![500; count]);
        all.group_size = Arc::new((count + others).into());
        let stop = WriteStop::branch_of(&CancellationToken::new(), STOP_GRACE);
        let began = Instant::now();
        let rejected = delivery.until_done(&all, &stop).await.unwrap();
        let ids: Vec<_> = rejected.iter().map(|rejected| rejected.change.id.as_str()).collect();
        assert_eq!(ids, expected, "{others} others, {script:?}");
        let sent = sink.requests.load(Relaxed);
        if let Some(requests) = requests {
            assert_eq!(sent, requests, "{others} others, {script:?}");
        } else {
            let took = began.elapsed();
            assert!(sent > 2 && took >= Duration::from_mins(1), "{sent} requests in {took:?}");
        }
    }
}
