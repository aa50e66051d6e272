use std::pin::pin;

use cosmos_bridge_options::from_toml;
use futures::FutureExt;

use super::*;
use crate::KafkaOptions;
use crate::delivery::Batch;

/// A connection without a broker.
fn connection() -> Connection {
    let options: KafkaOptions =
        from_toml("servers = [\"127.0.0.1:1\"]\ntopic = \"orders\"").unwrap();
    let settings = Settings { encoder: options.events.encoder(""), options, sasl: None };
    let topics = Arc::new(Topics::new(1_000_000, true));
    Connection::new("events", Arc::new(settings), topics).unwrap()
}

fn message(bytes: usize) -> Message {
    Message {
        topic: "orders".to_owned(),
        key: String::new(),
        headers: Vec::new(),
        value: Some(vec![b'x'; bytes]),
    }
}

#[tokio::test]
async fn a_session_is_replaced_only_if_the_next_one_has_other_limits() {
    // What was learned about the topic, whether messages go alone, and whether another session is needed.
    let cases = [
        (None, false, false),
        (None, true, true),
        (Some(500), false, true),
        (Some(500), true, true),
        // More than the configured size is no limit.
        (Some(2_000_000), false, false),
    ];
    for (learned, alone, is_replaced) in cases {
        let connection = connection();
        let first = connection.session().await.unwrap();
        if let Some(bytes) = learned {
            connection.topics.learn("orders", bytes);
        }
        connection.replace(&first, alone);
        assert_eq!(first.is_broken(), is_replaced, "{learned:?} {alone}");
        let second = connection.session().await.unwrap();
        assert_eq!(second.number, u64::from(is_replaced), "{learned:?} {alone}");
        assert_eq!(second.alone, alone, "{learned:?} {alone}");
        // A message that is larger than a batch is in one of its own.
        for (bytes, is_single) in [(400, alone), (600, alone || learned == Some(500))] {
            assert_eq!(second.is_single(&message(bytes)), is_single, "{learned:?} {alone} {bytes}");
        }
        // A write of the first session that ends late asks for what holds already.
        connection.replace(&first, alone);
        assert!(!second.is_broken(), "{learned:?} {alone}");
    }
}

#[tokio::test]
async fn what_a_write_of_an_earlier_session_asks_for_counts_for_the_next_session() {
    let connection = connection();
    let first = connection.session().await.unwrap();
    first.context().break_off();
    let second = connection.session().await.unwrap();
    connection.replace(&first, true);
    assert!(!second.is_broken());
    assert!(!second.alone);
    second.context().break_off();
    let third = connection.session().await.unwrap();
    assert!(third.alone);
}

/// How long the threads of the client may take to report what was purged.
const REPORTED_WITHIN: Duration = Duration::from_secs(10);

/// A message that stayed queued could be sent beside those of the next session, and after newer ones.
#[tokio::test]
async fn the_end_of_a_session_purges_what_is_queued_before_it_waits_for_answers() {
    let connection = connection();
    let session = connection.session().await.unwrap();
    let ticket = Arc::new(Batch::of(1)).ticket();
    session.send(&message(10), ticket.clone()).unwrap();
    assert_eq!(ticket.report(), None);
    let mut end = pin!(session.end());
    let ended = end.as_mut().now_or_never();
    // What purges after the wait does not run meanwhile, and the client itself gives up no message.
    timeout(REPORTED_WITHIN, ticket.settled()).await.expect("the message is purged");
    assert_eq!(ticket.report(), Some(Err(RDKafkaErrorCode::PurgeQueue)));
    if ended.is_none() {
        end.await;
    }
}
