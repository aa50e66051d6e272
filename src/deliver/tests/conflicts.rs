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

/// Otherwise a change becomes a dead letter because of the order in which a batch is written. A change of
/// another key can resolve nothing.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_final_only_if_nothing_of_its_key_is_pending_or_after_a_minute() {
    // The key of each change, those of the unfinished changes in other batches, the script, the ids of the
    // changes that are rejected, and the requests; `None` if it takes a minute.
    type Row<'r> = (&'r str, &'r str, &'static [&'static str], &'r [&'r str], Option<usize>);
    let table: [Row<'_>; 11] = [
        ("k", "", &["c"], &["0"], Some(1)),
        ("k", "k", &["c", "c", "d"], &[], Some(3)),
        ("kk", "", &["wc", "dc", "d"], &[], Some(3)),
        ("kk", "", &["rc"], &["0", "1"], Some(1)),
        ("kk", "", &["cc"], &["0", "1"], Some(1)),
        ("kk", "", &["dc", "c"], &["1"], Some(2)),
        ("k", "k", &["r"], &["0"], Some(1)),
        ("k", "k", &["c"], &["0"], None),
        // Of another key.
        ("k", "oo", &["c"], &["0"], Some(1)),
        ("ok", "", &["wc", "w", "d"], &["1"], Some(3)),
        ("okk", "o", &["wdc", "wc", "d"], &["2"], Some(3)),
    ];
    for (keys, others, script, expected, requests) in table {
        let sink = Arc::new(Answering { script, requests: AtomicUsize::new(0) });
        let governor = Arc::new(Governor::new(None, YieldPolicy::Normal, LIMITS.concurrency));
        let delivery = Delivery::new(Arc::clone(&sink) as Arc<dyn Sink>, governor, None);
        let count = keys.len();
        let mut all = batch("k", 1, 0);
        let keys: Vec<String> = keys.chars().map(String::from).collect();
        let of = |(id, key): (usize, &String)| batch(key, 1, id).changes;
        all.changes = keys.iter().enumerate().flat_map(of).collect();
        (all.pages, all.bytes) = (vec![0; count], vec![500; count]);
        for key in keys.into_iter().chain(others.chars().map(String::from)) {
            all.pending.enter(&key_of(&key));
        }
        let stop = WriteStop::branch_of(&CancellationToken::new(), STOP_GRACE);
        let began = Instant::now();
        let rejected = delivery.until_done(&all, &stop).await.unwrap().rejected;
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
