//! The known faults of Event Hubs and its clients, and how the sink handles them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use cosmos_bridge_event::Oversize;
use cosmos_bridge_eventhubs::{EventHubsSink, partition_of};
use cosmos_bridge_eventhubs_local::{Fault, Injection, LocalHubs, Options};
use cosmos_bridge_sink::{Cause, Change, Outcome, Sink, Wait, Written};
use support::{HUB, SHORT, change, change_of, encoder, impatient_sink, set_key, settings, sink};
use tokio::time::{Instant, timeout};

async fn hubs(partitions: usize) -> LocalHubs {
    LocalHubs::start(Options::with_hub(HUB, partitions)).await.unwrap()
}

fn all_deferred(written: &Written) -> bool {
    written.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Deferred { .. }))
}

fn all_delivered(written: &Written) -> bool {
    written.outcomes.iter().all(|outcome| *outcome == Outcome::Delivered)
}

fn cause(written: &Written) -> Option<Cause> {
    written.wait.map(|wait| wait.cause)
}

fn reject(condition: &str) -> Fault {
    Fault::Reject { condition: condition.to_owned() }
}

/// The keys of the events of all partitions.
fn stored_keys(hubs: &LocalHubs, partitions: usize) -> Vec<Vec<String>> {
    let keys = |partition| {
        let events = hubs.events(HUB, partition).into_iter();
        events.map(|event| event.partition_key.unwrap_or_default()).collect()
    };
    (0..partitions).map(keys).collect()
}

#[tokio::test]
async fn a_missing_answer_times_out_and_its_connection_is_not_used_again() {
    for stored in [false, true] {
        let hubs = hubs(1).await;
        let sink = impatient_sink(&hubs.connection_string(None));
        let silence = Injection::new(Fault::Silence, 1);
        hubs.inject(if stored { silence.stored() } else { silence });
        let started = Instant::now();
        let written = timeout(SHORT * 6, sink.write(&[change("a", 1)])).await.unwrap();
        assert!(all_deferred(&written), "{written:?}");
        assert_eq!(cause(&written), Some(Cause::Busy));
        assert_eq!(written.unanswered, [0]);
        assert!(started.elapsed() >= SHORT);
        assert!(all_delivered(&sink.write(&[change("a", 1)]).await));
        assert_eq!(hubs.connections(), 2);
        // It is stored twice, with the same id.
        let ids: Vec<_> = hubs.events(HUB, 0).into_iter().map(|event| event.bytes).collect();
        assert_eq!(ids.len(), 1 + usize::from(stored));
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}

#[tokio::test]
async fn a_silent_service_times_out() {
    let hubs = hubs(1).await;
    let sink = impatient_sink(&hubs.connection_string(None));
    // Before the link exists, and before the connection exists.
    for connected in [true, false] {
        if connected {
            sink.check().await.unwrap();
        }
        hubs.set_latency(Duration::from_hours(1));
        let changes = [change("a", 1)];
        let written = timeout(SHORT * 6, sink.write(&changes)).await.unwrap();
        assert!(all_deferred(&written), "{written:?}");
        assert_eq!(cause(&written), Some(Cause::Busy));
        assert!(written.unanswered.is_empty(), "nothing was sent");
        hubs.set_latency(Duration::from_millis(2));
        assert_eq!(hubs.count(HUB), 0);
    }
    assert!(all_delivered(&sink.write(&[change("a", 1)]).await));
    assert_eq!(hubs.connections(), 3);
}

/// The versions of the document in a partition's events, in their order.
fn stored_versions(hubs: &LocalHubs, partition: usize) -> Vec<u32> {
    let version = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (_, rest) = text.rsplit_once("\"version\":").unwrap();
        rest.split(['}', ',']).next().unwrap().parse().unwrap()
    };
    hubs.events(HUB, partition).iter().map(|event| version(&event.bytes)).collect()
}

#[tokio::test]
async fn unsent_data_of_an_abandoned_connection_never_arrives() {
    // Smaller than the event, so that most of the event stays on the sink's side.
    let receive_buffer = Some(32 * 1024);
    let options = Options { receive_buffer, ..Options::with_hub(HUB, 1) };
    let hubs = LocalHubs::start(options).await.unwrap();
    let sink = impatient_sink(&hubs.connection_string(None));
    hubs.inject(Injection::new(Fault::Stall, 1));
    assert!(all_delivered(&sink.write(&[change("a", 1)]).await));
    let large = change_of("a", "d-a", 2, 900_000);
    let held = timeout(SHORT * 6, sink.write(std::slice::from_ref(&large))).await.unwrap();
    assert!(all_deferred(&held), "{held:?}");
    let again = sink.write(&[large, change("a", 3)]).await;
    assert!(all_delivered(&again), "{again:?}");
    hubs.resume();
    timeout(SHORT, hubs.until_open(1)).await.unwrap();
    assert_eq!(stored_versions(&hubs, 0), [1, 2, 3]);
    assert_eq!(hubs.connections(), 2);
}

#[tokio::test]
async fn outcomes_and_disturbances_are_classified_as_in_the_table() {
    let detach = |condition: &str| Fault::Detach { condition: condition.to_owned() };
    let close = |condition: &str| Fault::Close { condition: condition.to_owned() };
    let cases = [
        (Fault::Release, Cause::Busy),
        (Fault::Modify, Cause::Busy),
        (reject("amqp:internal-error"), Cause::Busy),
        (reject("com.microsoft:timeout"), Cause::Busy),
        (reject("com.microsoft:entity-disabled"), Cause::Fault),
        (reject("amqp:unauthorized-access"), Cause::Fault),
        (reject("com.microsoft:something-new"), Cause::Fault),
        (detach("amqp:link:detach-forced"), Cause::Busy),
        (detach("com.microsoft:server-busy"), Cause::Throttled),
        (detach("com.microsoft:argument-error"), Cause::Fault),
        (close("amqp:connection:forced"), Cause::Busy),
        (close("amqp:internal-error"), Cause::Busy),
        (Fault::Cut, Cause::Busy),
    ];
    let hubs = hubs(1).await;
    let sink = sink(&hubs.connection_string(None));
    for (number, (fault, expected)) in (1..).zip(cases) {
        hubs.inject(Injection::new(fault.clone(), 1));
        let changes = [change("a", number)];
        let written = sink.write(&changes).await;
        assert!(all_deferred(&written), "{fault:?}: {written:?}");
        assert_eq!(cause(&written), Some(expected), "{fault:?}: {written:?}");
        let again = sink.write(&changes).await;
        assert!(all_delivered(&again), "after {fault:?}: {again:?}");
    }
    assert_eq!(hubs.count(HUB), 13);
}

#[tokio::test]
async fn a_busy_service_gets_the_pause_that_it_asks_for() {
    let hubs = hubs(1).await;
    let sink = sink(&hubs.connection_string(None));
    hubs.inject(Injection::new(Fault::server_busy(), 1));
    let written = sink.write(&[change("a", 1)]).await;
    let retry_after = Some(Duration::from_secs(4));
    assert_eq!(written.wait, Some(Wait { cause: Cause::Throttled, retry_after }));
    assert_eq!((written.requests, written.throttled), (1, 1));
}

#[tokio::test]
async fn nothing_is_sent_without_events() {
    let hubs = hubs(1).await;
    let mut settings = settings(&hubs.connection_string(None));
    set_key(&mut settings, "{/missing}", false);
    let sink = EventHubsSink::new("hub", settings);
    let written = sink.write(&[]).await;
    assert_eq!((written.outcomes.len(), written.requests, written.wait), (0, 0, None));
    // No key, no event, no batch.
    let written = sink.write(&[change("a", 1)]).await;
    let reason = "no partition key: field /missing is missing".to_owned();
    assert_eq!(written.outcomes, [Outcome::Rejected { reason }]);
    assert_eq!((written.requests, written.wait, hubs.deliveries()), (0, None, 0));
}

#[tokio::test]
async fn two_megabytes_do_not_fit_into_one_and_block_no_other_change() {
    let hubs = hubs(1).await;
    for (oversize, expected) in [(Oversize::DeadLetter, 2), (Oversize::ClaimCheck, 3)] {
        let mut settings = settings(&hubs.connection_string(None));
        settings.encoder = encoder(oversize);
        let sink = EventHubsSink::new("hub", settings);
        let large = change_of("a", "large", 1, 2 * 1024 * 1024);
        let before = hubs.count(HUB);
        let written = sink.write(&[change("a", 1), large, change("a", 2)]).await;
        assert_eq!(
            (&written.outcomes[0], &written.outcomes[2]),
            (&Outcome::Delivered, &Outcome::Delivered)
        );
        match (&written.outcomes[1], oversize) {
            (Outcome::Rejected { reason }, Oversize::DeadLetter) => {
                assert!(reason.contains("the sink accepts 1047936"), "{reason}");
            }
            (Outcome::Delivered, Oversize::ClaimCheck) => {}
            (other, _) => panic!("{other:?}"),
        }
        assert_eq!(hubs.count(HUB) - before, expected);
    }
}

#[tokio::test]
async fn a_batch_is_filled_to_the_limit_of_the_link_and_not_beyond() {
    let options = Options { message_bytes_max: 100_000, ..Options::with_hub(HUB, 1) };
    let hubs = LocalHubs::start(options).await.unwrap();
    let sink = sink(&hubs.connection_string(None));
    let changes: Vec<Change> =
        (0..100).map(|n| change_of("a", &format!("d-{n}"), 1, 9_000)).collect();
    let written = sink.write(&changes).await;
    assert!(all_delivered(&written), "{written:?}");
    // Ten events of 9 KB and their attributes fit into 100,000 bytes.
    assert_eq!((written.requests, hubs.count(HUB)), (10, 100));
}

#[tokio::test]
async fn only_the_refused_event_is_rejected() {
    let hubs = hubs(1).await;
    let sink = sink(&hubs.connection_string(None));
    let changes: Vec<Change> = (1..=4).map(|version| change("a", version)).collect();
    hubs.inject(Injection::new(reject("com.microsoft:argument-error"), 1));
    // The second of the events, which are then sent one by one.
    hubs.inject(Injection::new(reject("com.microsoft:argument-error"), 1).after(1));
    let written = sink.write(&changes).await;
    let rejected: Vec<bool> =
        written.outcomes.iter().map(|o| matches!(o, Outcome::Rejected { .. })).collect();
    assert_eq!(rejected, [false, true, false, false], "{written:?}");
    assert_eq!((written.requests, hubs.count(HUB), written.wait), (5, 3, None));
}

#[tokio::test]
async fn a_partition_that_refuses_blocks_only_its_own_later_changes() {
    let options = Options { message_bytes_max: 3_000, ..Options::with_hub(HUB, 4) };
    let hubs = LocalHubs::start(options).await.unwrap();
    let sink = sink(&hubs.connection_string(None));
    // The keys "7" and "131" belong to partitions 3 and 2; about one event fits into a message.
    let changes: Vec<Change> = (1..=6)
        .flat_map(|version| ["7", "131"].map(|key| change_of(key, key, version, 1_500)))
        .collect();
    hubs.inject(Injection::new(Fault::Release, 1).on_partition(3).after(2));
    let written = sink.write(&changes).await;
    let delivered: Vec<bool> = written.outcomes.iter().map(|o| *o == Outcome::Delivered).collect();
    let expected: Vec<bool> = (1..=6).flat_map(|version| [version <= 2, true]).collect();
    assert_eq!(delivered, expected, "{written:?}");
    assert_eq!(hubs.events(HUB, 3).len(), 2);
    assert_eq!(hubs.events(HUB, 2).len(), 6);
}

#[tokio::test]
async fn keys_are_sent_to_the_partition_that_the_service_would_choose() {
    let keys = ["7", "131", "FWfAT", "sOdeEAsyQoEuEFPGerWO", "!c*_!I@1^c", "$0cb", "ü", "", " "];
    let long = "k".repeat(200);
    let changes: Vec<Change> =
        keys.iter().copied().chain([long.as_str()]).map(|key| change(key, 1)).collect();
    let mut stored = Vec::new();
    for by_service in [false, true] {
        let hubs = hubs(4).await;
        let mut settings = settings(&hubs.connection_string(None));
        set_key(&mut settings, "{partition_key}", by_service);
        let sink = EventHubsSink::new("hub", settings);
        let written = sink.write(&changes).await;
        assert!(all_delivered(&written), "{written:?}");
        // A batch for each partition, or for each key.
        assert_eq!(written.requests, if by_service { 10 } else { 4 });
        let mut keys = stored_keys(&hubs, 4);
        for keys in &mut keys {
            keys.sort();
        }
        stored.push(keys);
    }
    assert_eq!(stored[0], stored[1]);
    let place = |key: &str| stored[0].iter().position(|keys| keys.iter().any(|held| held == key));
    assert_eq!([place("7"), place("131"), place("FWfAT")], [Some(3), Some(2), Some(1)]);
}

#[tokio::test]
async fn hundreds_of_partitions_share_a_connection() {
    const PARTITIONS: usize = 300;
    let hubs = hubs(PARTITIONS).await;
    let mut settings = settings(&hubs.connection_string(None));
    set_key(&mut settings, "{partition_key}", false);
    let sink = EventHubsSink::new("hub", settings);
    let mut keys = BTreeMap::new();
    for key in (0..).map(|number: u32| number.to_string()) {
        keys.entry(partition_of(&key, PARTITIONS)).or_insert(key);
        if keys.len() == PARTITIONS {
            break;
        }
    }
    let changes: Vec<Change> = keys.values().map(|key| change(key, 1)).collect();
    let written = sink.write(&changes).await;
    assert!(all_delivered(&written), "{written:?}");
    let keys: Vec<_> = keys.into_values().map(|key| vec![key]).collect();
    assert_eq!((stored_keys(&hubs, PARTITIONS), hubs.connections()), (keys, 1));
}

#[tokio::test]
async fn a_partition_can_be_fixed() {
    let hubs = hubs(4).await;
    let mut settings = settings(&hubs.connection_string(None));
    settings.options.partition = Some(2);
    let sink = EventHubsSink::new("hub", settings.clone());
    sink.check().await.unwrap();
    assert!(all_delivered(&sink.write(&[change("7", 1), change("131", 1)]).await));
    assert_eq!(hubs.events(HUB, 2).len(), 2);

    settings.options.partition = Some(9);
    let error = EventHubsSink::new("hub", settings).check().await.unwrap_err();
    assert!(error.message.contains("the partition does not exist"), "{error}");
}

#[tokio::test]
async fn a_document_whose_key_changes_stays_in_order() {
    let hubs = hubs(4).await;
    let mut settings = settings(&hubs.connection_string(None));
    set_key(&mut settings, "{/key}", false);
    let sink = EventHubsSink::new("hub", settings);
    let moved = |key: &str, version| {
        let mut change = change_of(key, "d", version, 10);
        change.partition_key = change_of("same", "d", 1, 0).partition_key;
        change
    };
    let changes = [moved("7", 1), moved("131", 2), moved("7", 3)];
    hubs.inject(Injection::new(Fault::Release, 1).on_partition(2));
    let written = sink.write(&changes).await;
    let delivered: Vec<bool> = written.outcomes.iter().map(|o| *o == Outcome::Delivered).collect();
    assert_eq!(delivered, [true, false, false], "{written:?}");
    assert!(all_delivered(&sink.write(&changes[1..]).await));
}

#[tokio::test]
async fn an_unreachable_service_fails_immediately_and_is_found_again() {
    let options = Options::with_hub(HUB, 2);
    let hubs = LocalHubs::start(options.clone()).await.unwrap();
    let (port, connection) = (hubs.address().port(), hubs.connection_string(None));
    let sink = sink(&connection);
    assert!(all_delivered(&sink.write(&[change("a", 1)]).await));
    hubs.stop().await;
    let mut written = sink.write(&[change("a", 2)]).await;
    for _ in 0..3 {
        assert!(all_deferred(&written), "{written:?}");
        assert_eq!(cause(&written), Some(Cause::Busy));
        let started = Instant::now();
        written = sink.write(&[change("a", 2)]).await;
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    let error = sink.check().await.unwrap_err();
    assert!(error.is_transient() && error.message.contains("cannot be reached"), "{error}");
    let hubs = LocalHubs::start(Options { port, ..options }).await.unwrap();
    assert!(all_delivered(&sink.write(&[change("a", 2)]).await));
    assert_eq!(hubs.count(HUB), 1);
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_hub_are_named_and_lose_no_event() {
    let hubs = hubs(1).await;
    let right = hubs.connection_string(None);
    let wrong = right.replace("SharedAccessKey=", "SharedAccessKey=x");
    let mut elsewhere = settings(&right);
    elsewhere.hub = "nothing".to_owned();
    for (settings, expected) in [
        (
            settings(&wrong),
            "the token was not accepted: the token is wrong or does not grant access (401",
        ),
        (elsewhere, "the hub cannot be read: the hub does not exist (404"),
    ] {
        let sink = EventHubsSink::new("hub", settings);
        let error = sink.check().await.unwrap_err();
        assert!(error.message.starts_with(expected), "{error}");
        assert!(!error.is_transient() && error.hint.is_some());
        let key = right.split("SharedAccessKey=").nth(1).unwrap().split(';').next().unwrap();
        assert!(!format!("{error:?}").contains(key), "the key is shown");
        let written = sink.write(&[change("a", 1)]).await;
        assert!(all_deferred(&written));
        assert_eq!(cause(&written), Some(Cause::Fault));
    }
    // An operator corrects it.
    let mut elsewhere = settings(&right);
    elsewhere.hub = "later".to_owned();
    let sink = EventHubsSink::new("hub", elsewhere);
    assert!(all_deferred(&sink.write(&[change("a", 1)]).await));
    hubs.create_hub("later", 2).unwrap();
    assert!(all_delivered(&sink.write(&[change("a", 1)]).await));
}

#[tokio::test]
async fn many_connections_in_quick_succession_are_all_opened() {
    let hubs = hubs(2).await;
    let connection = hubs.connection_string(None);
    for latency in [0, 1] {
        hubs.set_latency(Duration::from_millis(latency));
        for number in 0..20 {
            let sink = sink(&connection);
            sink.check().await.unwrap();
            let written = sink.write(&[change("a", number)]).await;
            assert!(all_delivered(&written), "{latency} ms, {number}: {written:?}");
            sink.close().await.unwrap();
        }
    }
    assert_eq!(hubs.count(HUB), 40);
}

#[tokio::test]
async fn quick_answers_are_not_lost() {
    let hubs = hubs(1).await;
    hubs.set_latency(Duration::ZERO);
    let sink = sink(&hubs.connection_string(None));
    for version in 0..2_000 {
        let written = sink.write(&[change("a", version)]).await;
        assert!(all_delivered(&written), "{version}: {written:?}");
    }
    assert_eq!((hubs.count(HUB), hubs.connections()), (2_000, 1));
}
