use std::sync::Arc;

use cosmos_bridge_sink::{ContainerName, KeyValue, OldCopies, Origin, PartitionKey};

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn change(id: &str, lsn: i64) -> Change {
    let partition_key = PartitionKey(vec![KeyValue::String("k".to_owned())]);
    let container = ContainerName {
        account: "a".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        rid: "rid".to_owned(),
    };
    Change {
        id: id.to_owned(),
        partition_key: partition_key.clone(),
        operation: Operation::Delete { expired: false },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_owned(),
            partition_key,
            lsn: Some(lsn),
            committed_at: None,
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: OldCopies::None,
    }
}

fn shown(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Rejected(reason) if reason.contains("give_up_after") => "given up",
        Verdict::Rejected(_) => "rejected",
        Verdict::Deferred(..) => "deferred",
    }
}

/// The status of each attempt of one event, and what becomes of it; 0 is a timeout, 1 a connection that was
/// refused.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_the_event_itself_only_if_an_earlier_attempt_may_have_arrived() {
    let table: [(&[u16], &str); 15] = [
        (&[409], "rejected"),
        (&[0, 409], "delivered"),
        (&[408, 409], "delivered"),
        (&[504, 409], "delivered"),
        // Long ago.
        (&[0, 1, 1, 429, 401, 409], "delivered"),
        // None of these was processed.
        (&[1, 409], "rejected"),
        (&[429, 409], "rejected"),
        (&[401, 409], "rejected"),
        (&[404, 409], "rejected"),
        (&[500, 409], "rejected"),
        (&[502, 409], "rejected"),
        (&[503, 409], "rejected"),
        // Only a conflict says that the endpoint has it.
        (&[0, 400], "rejected"),
        (&[0, 422], "rejected"),
        (&[0, 200], "delivered"),
    ];
    for (statuses, expected) in table {
        let earlier = EarlierAttempts::new(HOUR);
        let mut last = None;
        for status in statuses {
            tokio::time::advance(Duration::from_secs(30)).await;
            last = Some(earlier.judge(&change("a", 1), &Reply::of(*status)));
        }
        assert_eq!(shown(&last.unwrap()), expected, "{statuses:?}");
        assert_eq!(earlier.state.lock().events.len(), 0, "{statuses:?}");
    }
    // Other events: of the same document, and of another one.
    for other in [change("a", 2), change("b", 1)] {
        let earlier = EarlierAttempts::new(HOUR);
        earlier.judge(&change("a", 1), &Reply::of(0));
        assert_eq!(shown(&earlier.judge(&other, &Reply::of(409))), "rejected");
    }
    // An attempt together with others.
    let earlier = EarlierAttempts::new(HOUR);
    earlier.note(&change("a", 1), &Reply::of(504));
    earlier.note(&change("b", 1), &Reply::of(400));
    assert_eq!(shown(&earlier.judge(&change("a", 1), &Reply::of(409))), "delivered");
    assert_eq!(shown(&earlier.judge(&change("b", 1), &Reply::of(409))), "rejected");
}

/// Every 30 s an attempt of one event, and one of another event before it. How many attempts the first one has
/// until it is given up; none if it never is.
#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_only_while_others_are_accepted() {
    type Statuses = fn(usize) -> u16;
    const ATTEMPTS: usize = 600;
    /// No other event is posted.
    const NOTHING: u16 = 2;
    let table: [(&str, Statuses, Statuses, Option<usize>); 8] = [
        ("it fails alone", |_| 500, |_| 200, Some(121)),
        (
            "another status of failure",
            |n| if n.is_multiple_of(2) { 500 } else { 501 },
            |_| 200,
            Some(121),
        ),
        ("the window is full of it", |_| 500, |n| if n < 10 { 200 } else { NOTHING }, Some(121)),
        ("the endpoint fails for all", |_| 500, |_| 500, None),
        (
            "the endpoint fails for all for two hours",
            |_| 500,
            |n| if n < 240 { 500 } else { 200 },
            Some(360),
        ),
        ("nothing else is posted", |_| 500, |_| 1, None),
        ("the endpoint is away", |_| 503, |_| 200, None),
        // The time of the outage does not count.
        ("an outage", |n| if n == 100 { 503 } else { 500 }, |_| 200, Some(122)),
    ];
    for (name, statuses, others, expected) in table {
        let earlier = EarlierAttempts::new(HOUR);
        let mut given_up = None;
        for attempt in 0..ATTEMPTS {
            tokio::time::advance(Duration::from_secs(15)).await;
            let other = change("other", i64::try_from(attempt).unwrap());
            let status = others(attempt);
            if status != NOTHING {
                earlier.judge(&other, &Reply::of(status));
            }
            tokio::time::advance(Duration::from_secs(15)).await;
            let verdict = earlier.judge(&change("a", -1), &Reply::of(statuses(attempt)));
            if shown(&verdict) == "given up" {
                given_up = Some(attempt + 1);
                break;
            }
            assert_eq!(shown(&verdict), "deferred", "{name}");
        }
        assert_eq!(given_up, expected, "{name}");
    }
}

/// An endpoint that fails for a whole window is down, also if it accepted one event in between.
#[tokio::test(start_paused = true)]
async fn an_outage_gives_up_nothing_after_one_event_was_accepted() {
    for (failing, expected) in [(FEW, FEW), (FEW + 1, 0)] {
        let earlier = EarlierAttempts::new(HOUR);
        let all = || (0..i64::try_from(failing).unwrap()).map(|n| change("a", n));
        all().for_each(|event| drop(earlier.judge(&event, &Reply::of(500))));
        earlier.judge(&change("good", 1), &Reply::of(200));
        let mut given_up = 0;
        for _ in 0..125 {
            tokio::time::advance(Duration::from_secs(30)).await;
            for event in all() {
                given_up +=
                    usize::from(shown(&earlier.judge(&event, &Reply::of(500))) == "given up");
            }
        }
        assert_eq!(given_up, expected, "{failing} events fail");
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_are_not_repeated_are_forgotten() {
    let earlier = EarlierAttempts::new(HOUR);
    for n in 0..i64::try_from(3 * EVENTS_MAX).unwrap() {
        earlier.judge(&change("a", n), &Reply::of(503));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(earlier.state.lock().events.len() <= EVENTS_MAX);
}
