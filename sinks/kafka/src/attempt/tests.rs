//! What a write makes of the reports of the client. The broker cannot be reached: the reports are the test's.

use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{ContainerName, KeyValue, Operation, Origin, Outcome, PartitionKey};

use super::*;
use crate::connection::Connection;
use crate::delivery::Delivery;

use RDKafkaErrorCode as Code;

const WITHIN: Duration = Duration::from_secs(5);

fn settings(options: &str) -> Settings {
    let text = format!(
        "servers = [\"127.0.0.1:1\"]\ntopic = \"{{/topic}}\"\nrequest_timeout = \"5s\"\n{options}"
    );
    let format = Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };
    let encoder = Encoder::new(format, Oversize::DeadLetter);
    Settings { options: from_toml(&text).unwrap(), encoder, sasl: None }
}

/// A version of a document that goes to a topic.
fn change(topic: &str, id: &str, version: i64) -> Change {
    let key = PartitionKey(vec![KeyValue::String("north".to_owned())]);
    let mut document = cosmos_bridge_sink::Document::new();
    document.insert("topic", topic);
    document.insert("version", version);
    let name = |text: &str| text.to_owned();
    Change {
        id: name(id),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document) },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(ContainerName {
                account: name("source"),
                database: name("shop"),
                container: name("orders"),
                rid: name("rid"),
            }),
            id: name(id),
            partition_key: key,
            lsn: Some(version),
            committed_at: Some(0),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

/// What outlives a write.
struct Around {
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    deliveries: Deliveries,
    session: Arc<Session>,
}

impl Around {
    async fn new(options: &str) -> Self {
        let settings = Arc::new(settings(options));
        let topics = Arc::new(Topics::new(1_000_000, true));
        let connection =
            Connection::new("events", Arc::clone(&settings), Arc::clone(&topics)).unwrap();
        let session = connection.session().await.unwrap();
        Self { settings, topics, deliveries: Deliveries::default(), session }
    }

    fn attempt<'a>(&'a self, changes: &'a [Change]) -> Attempt<'a> {
        Attempt::new(&self.session, &self.settings, &self.topics, &self.deliveries, changes)
    }

    /// A write whose messages were given to a client, and the reports that they have.
    fn sent<'a>(&'a self, changes: &'a [Change], reports: &[Option<Delivery>]) -> Attempt<'a> {
        let mut attempt = self.attempt(changes);
        for report in reports {
            let ticket = attempt.batch.ticket();
            if let Some(report) = report {
                ticket.settle(*report);
            }
            let session = self.session.number;
            attempt.steps.push(Step::Sent(Sent { ticket, session, is_earlier: false }));
        }
        attempt
    }

    fn digest(&self, change: &Change) -> u64 {
        self.attempt(&[]).message(change).unwrap().digest()
    }
}

/// A letter for each outcome: delivered, rejected, or deferred.
fn letters(written: &Written) -> String {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Delivered => 'D',
        Outcome::Rejected { .. } => 'R',
        Outcome::Deferred { .. } => 'w',
    };
    written.outcomes.iter().map(letter).collect()
}

/// The documents of the earlier changes and the reports of their messages; whether a change of `a` is held.
type Held<'c> = (&'c [&'c str], &'c [Option<Delivery>], bool);

#[tokio::test]
async fn a_change_is_held_while_an_earlier_one_of_its_document_is_not_written() {
    let failed = Some(Err(Code::PurgeQueue));
    let cases: [Held<'_>; 6] = [
        (&["a"], &[failed], true),
        (&["b"], &[failed], false),
        (&["a", "b"], &[Some(Ok(())), failed], false),
        (&["a", "b"], &[None, failed], false),
        (&["b", "a", "a"], &[None, failed, Some(Ok(()))], true),
        (&["a"], &[None], false),
    ];
    let around = Around::new("").await;
    for (ids, reports, is_held) in cases {
        let mut changes: Vec<_> = ids.iter().map(|id| change("orders", id, 1)).collect();
        changes.push(change("orders", "a", 2));
        let attempt = around.sent(&changes, reports);
        assert_eq!(attempt.is_held(changes.last().unwrap()), is_held, "{ids:?} {reports:?}");
    }
}

/// Documents, reports, outcomes, the changes that may still arrive, and those whose message is kept.
type Case<'c> = (&'c [&'c str], &'c [Option<Delivery>], &'c str, &'c [usize], &'c [usize]);

#[tokio::test]
async fn a_report_is_the_outcome_of_its_change_and_what_has_none_is_waited_for() {
    let (ok, unsent) = (Some(Ok(())), Some(Err(Code::PurgeQueue)));
    let unanswered = Some(Err(Code::PurgeInflight));
    let cases: [Case<'_>; 10] = [
        (&["a"], &[ok], "D", &[], &[]),
        (&["a"], &[None], "w", &[], &[0]),
        (&["a"], &[unsent], "w", &[], &[]),
        (&["a"], &[unanswered], "w", &[0], &[]),
        (&["a"], &[Some(Err(Code::InvalidRecord))], "w", &[], &[]),
        (&["a", "b", "c"], &[ok, unanswered, ok], "DwD", &[1], &[]),
        (&["a", "b", "a"], &[None, ok, None], "wDw", &[], &[0, 2]),
        // Written before the earlier one has a report: it is offered again with it.
        (&["a", "a"], &[None, ok], "ww", &[], &[0, 1]),
        // After a gap everything is sent again, so that the order holds.
        (&["a", "a", "b"], &[unsent, None, None], "www", &[], &[2]),
        (&["a", "a", "a"], &[None, unsent, None], "www", &[], &[0]),
    ];
    for (ids, reports, outcomes, late, kept) in cases {
        let around = Around::new("").await;
        let changes: Vec<_> = (1..).zip(ids).map(|(n, id)| change("orders", id, n)).collect();
        let (written, _) = around.sent(&changes, reports).finish(None);
        assert_eq!(letters(&written), outcomes, "{ids:?} {reports:?}");
        assert_eq!(written.unanswered, late, "{ids:?} {reports:?}");
        let mut pending = around.deliveries.pending();
        let found = changes
            .iter()
            .enumerate()
            .filter(|(_, change)| pending.take(&key(change), around.digest(change)).is_some());
        let found: Vec<_> = found.map(|(index, _)| index).collect();
        assert_eq!(found, kept, "{ids:?} {reports:?}");
    }
}

#[tokio::test]
async fn a_change_that_comes_again_waits_for_its_message_or_is_sent_again() {
    // The session and the report of the message; whether it is waited for, and whether it may still arrive.
    let cases = [
        (0, None, true, false),
        (0, Some(Ok(())), true, false),
        (0, Some(Err(Code::PurgeQueue)), false, false),
        // Only the client of an earlier session knows, and that was given up.
        (7, None, false, true),
        (7, Some(Ok(())), true, false),
    ];
    for (session, report, is_awaited, is_late) in cases {
        let around = Around::new("").await;
        let changes = [change("orders", "a", 1), change("orders", "a", 2)];
        let mut attempt = around.attempt(&changes);
        let ticket = Arc::new(Batch::of(1)).ticket();
        if let Some(report) = report {
            ticket.settle(report);
        }
        let later = Arc::new(Batch::of(1)).ticket();
        let sent = |ticket| Sent { ticket, session, is_earlier: false };
        let messages = [(&changes[0], sent(ticket)), (&changes[1], sent(later))];
        let messages = messages.map(|(change, sent)| (around.digest(change), sent));
        around.deliveries.pending().put_back(key(&changes[0]), messages.into());
        let message = attempt.message(&changes[0]).unwrap();
        let found = attempt.in_flight(0, &changes[0], &message);
        let case = format!("{session} {report:?}");
        assert_eq!(found.map(|sent| sent.is_earlier), is_awaited.then_some(true), "{case}");
        assert_eq!(attempt.late == [0], is_late, "{case}");
        assert_eq!(around.deliveries.pending().holds(&key(&changes[0])), is_awaited, "{case}");
    }
}

#[tokio::test]
async fn after_a_full_queue_nothing_else_is_given_to_the_client() {
    let around = Around::new("options = { \"queue.buffering.max.messages\" = \"1\" }").await;
    let changes = ["a", "b", "c"].map(|id| change("orders", id, 1));
    let mut attempt = around.attempt(&changes);
    attempt.send();
    let sent = |step: &Step| matches!(step, Step::Sent(_));
    assert_eq!(attempt.steps.iter().map(sent).collect::<Vec<_>>(), [true, false, false]);
    let (written, work) = attempt.finish(None);
    let reasons: Vec<_> = written
        .outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Deferred { reason } => reason.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    // What follows is the error of the client, if that has tried to connect already.
    assert!(reasons[0].starts_with("not acknowledged within 5s"), "{reasons:?}");
    let is_full = "the topic of the change, by `{/topic}`: the queue of the client is full";
    assert_eq!(reasons[1..], [is_full, EARLIER_CHANGE]);
    assert_eq!((written.wait, work.unusable), (Some(Cause::Busy.into()), None));
}

#[tokio::test]
async fn a_topic_that_accepts_nothing_is_not_sent_to_and_holds_up_no_other() {
    let around = Around::new("").await;
    around.topics.block("closed", Code::TopicAuthorizationFailed);
    let changes = [
        change("closed", "a", 1),
        change("open", "b", 1),
        // The document has moved to another topic.
        change("open", "a", 2),
        change("no topic", "c", 1),
    ];
    let mut attempt = around.attempt(&changes);
    attempt.send();
    let step = |step: &Step| match step {
        Step::Sent(_) => 'S',
        Step::Rejected(_) => 'R',
        Step::Deferred { cause: Cause::Fault, .. } => 'F',
        Step::Deferred { .. } => 'w',
    };
    assert_eq!(attempt.steps.iter().map(step).collect::<String>(), "FSwR");
    let (written, _) = attempt.finish(None);
    assert_eq!(letters(&written), "wwwR");
}

#[tokio::test]
async fn a_refusal_is_followed_up_and_one_of_unknown_cause_first() {
    let (too_large, invalid) = (Code::MessageSizeTooLarge, Code::InvalidRecord);
    let error = |code: Code| Some(Err(code));
    let small = |topic: &str| change(topic, topic, 1);
    // Larger than a batch, so it was alone.
    let large = |topic: &str| {
        let mut large = small(topic);
        let mut document = cosmos_bridge_sink::Document::new();
        document.insert("topic", topic);
        document.insert("text", "x".repeat(1500));
        large.operation = Operation::Upsert { document: Arc::new(document) };
        large
    };
    let cases = [
        (vec![small("a")], [error(too_large)].to_vec(), "w", Some(("a", true, false))),
        (vec![small("a")], vec![error(invalid)], "w", Some(("a", false, false))),
        (vec![small("a")], vec![error(Code::PurgeQueue)], "w", None),
        (vec![large("a")], vec![error(too_large)], "w", Some(("a", true, true))),
        (vec![large("a")], vec![error(invalid)], "R", Some(("a", false, true))),
        (
            vec![large("a"), small("b"), small("c")],
            vec![error(too_large); 3],
            "www",
            Some(("b", true, false)),
        ),
    ];
    for (changes, reports, outcomes, refusal) in cases {
        let around = Around::new("options = { \"batch.size\" = \"1000\" }").await;
        let (written, work) = around.sent(&changes, &reports).finish(None);
        assert_eq!(letters(&written), outcomes, "{reports:?}");
        let found = work
            .refusal
            .as_ref()
            .map(|refusal| (refusal.topic.as_str(), refusal.is_too_large, refusal.bytes.is_some()));
        assert_eq!(found, refusal, "{reports:?}");
        // The next attempt does not send again what was too large by itself.
        let first = Message::of(&changes[0], &around.settings, |_| 1_000_000).unwrap();
        let is_known = around.session.is_single(&first) && reports[0] == error(too_large);
        let next = around.attempt(&[]).message(&changes[0]);
        assert_eq!(next.err(), is_known.then_some(MessageError::Refused), "{reports:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_its_reports_and_no_longer_than_the_timeout() {
    for (reports, waited) in [
        ([Some(Ok(())), Some(Ok(()))], Duration::ZERO),
        ([Some(Ok(())), Some(Err(Code::PurgeQueue))], Duration::ZERO),
        ([Some(Ok(())), None], WITHIN),
    ] {
        let around = Around::new("").await;
        let changes = ["a", "b"].map(|id| change("orders", id, 1));
        let attempt = around.sent(&changes, &reports);
        let start = Instant::now();
        attempt.wait().await;
        assert_eq!(start.elapsed().as_secs(), waited.as_secs(), "{reports:?}");
        let silent = reports[1].is_none().then(|| "orders".to_owned());
        assert_eq!(attempt.silent_topic(), silent, "{reports:?}");
    }
}

#[test]
fn without_a_report_an_error_that_an_operator_has_to_correct_is_a_fault() {
    let error = |code, text: &str| ClientError { code, text: text.to_owned() };
    let cases = [
        (None, "not acknowledged within 5s", Cause::Busy),
        (
            Some(error(Code::BrokerTransportFailure, "Connection refused")),
            "not acknowledged within 5s: Connection refused",
            Cause::Busy,
        ),
        (
            Some(error(Code::Authentication, "invalid credentials")),
            "not acknowledged within 5s: invalid credentials",
            Cause::Fault,
        ),
    ];
    for (error, reason, cause) in cases {
        assert_eq!(no_report(WITHIN, error.as_ref()), (reason.to_owned(), Some(cause)));
    }
}
