use super::*;

fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    map
}

fn answer(status: u16, charge: f64, range: &str) -> Answer {
    Answer { range: Some(range.to_owned()), ..Answer::new(status, charge) }
}

/// Counts answers given as milliseconds, request units and range.
fn usage(answers: &[(u64, f64, &str)]) -> Usage {
    let mut usage = Usage::default();
    for (at, units, range) in answers {
        usage.count(&headers(&[]), &answer(200, *units, range), Duration::from_millis(*at));
    }
    usage
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn a_client_is_the_last_word_of_its_user_agent() {
    for (agent, expected) in [
        (
            "azsdk-rust-cosmos/1.0.0 (drv=1.0.0; linux; x86_64; 1.90.0) cosmos-bridge",
            "cosmos-bridge",
        ),
        ("azsdk-rust-cosmos/1.0.0 (drv=1.0.0; linux; x86_64; 1.90.0)", "azsdk-rust-cosmos"),
        ("azsdk-rust-cosmos/1.0.0 (a (nested) b/2) shop", "shop"),
        ("azsdk-python-cosmos/4.17.0 Python/3.12.3 (Linux-6.8) web", "web"),
        ("@azure/cosmos/4.9", "@azure/cosmos"),
        ("cosmos-netstandard-sdk/3.61 nightly-job/7", "nightly-job"),
        ("(only; this)", "unknown"),
        ("", "unknown"),
    ] {
        assert_eq!(client_of(&headers(&[("user-agent", agent)])), expected, "{agent}");
    }
    assert_eq!(client_of(&headers(&[])), "unknown");
}

#[test]
fn answers_of_one_tenth_of_a_second_and_one_range_are_one_slot() {
    let mut usage = usage(&[(0, 1.0, "0"), (99, 2.0, "0"), (99, 4.0, "1"), (100, 8.0, "0")]);
    // A refusal that was overtaken: it is not put before what has been counted.
    usage.count(&headers(&[]), &answer(429, 0.5, "0"), Duration::from_millis(98));
    let slots: Vec<_> = usage
        .slots
        .iter()
        .map(|slot| {
            (slot.at_ms, slot.range.as_str(), slot.request_units, slot.requests, slot.throttled)
        })
        .collect();
    assert_eq!(slots, [(0, "0", 3.0, 2, 0), (0, "1", 4.0, 1, 0), (100, "0", 8.5, 2, 1)]);
    assert_eq!((usage.requests, usage.throttled, usage.request_units), (5, 1, 15.5));
}

#[test]
fn windows_slide_by_one_slot() {
    let usage = usage(&[(0, 1.0, "0"), (150, 2.0, "1"), (320, 4.0, "0"), (450, 8.0, "0")]);
    for (range, window, from, to, expected) in [
        (None, 0.1, 0.0, 0.5, vec![1.0, 2.0, 0.0, 4.0, 8.0]),
        (None, 0.3, 0.0, 0.5, vec![3.0, 6.0, 14.0 - 2.0]),
        (Some("0"), 0.3, 0.0, 0.5, vec![1.0, 4.0, 12.0]),
        (Some("1"), 0.3, 0.0, 0.5, vec![2.0, 2.0, 0.0]),
        (None, 0.3, 0.1, 0.4, vec![6.0]),
        // Time that is still to come is a time without requests.
        (None, 0.5, 0.4, 1.0, vec![8.0, 0.0]),
        // No window of this length fits.
        (None, 1.0, 0.0, 0.5, vec![]),
    ] {
        let windows = usage.windows(range, seconds(window), seconds(from), seconds(to));
        assert_eq!(windows, expected, "{range:?} {window} {from} {to}");
    }
}

#[test]
fn what_is_older_than_two_minutes_is_forgotten_and_not_given_as_nothing() {
    let answers: Vec<_> = (0..1300).map(|slot| (slot * 100, 1.0, "0")).collect();
    let usage = usage(&answers);
    assert_eq!((usage.slots.len(), usage.slots[0].at_ms), (1200, 10_000));
    assert_eq!(usage.requests, 1300);
    let windows = usage.windows(None, seconds(1.0), seconds(0.0), seconds(130.0));
    assert_eq!(windows, [10.0; 1191]);
}

#[test]
fn values_of_headers_are_counted_and_are_not_counted_without_end() {
    let mut seen = Seen::default();
    for level in ["Low", "Low", "High"] {
        seen.count(&headers(&[("x-ms-cosmos-priority-level", level)]));
    }
    for bucket in 0..1000 {
        seen.count(&headers(&[("x-ms-cosmos-throughput-bucket", &bucket.to_string())]));
    }
    seen.count(&headers(&[]));
    assert_eq!(seen.priority_levels, [("High".to_owned(), 1), ("Low".to_owned(), 2)].into());
    assert_eq!(seen.throughput_buckets.len(), NAMES_MAX + 1);
    assert_eq!(seen.throughput_buckets[OTHERS], 1000 - NAMES_MAX as u64);
}
