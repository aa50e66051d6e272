//! A network connection that forwards some bytes and then no more.

use std::time::Duration;

use cosmos_bridge_amqp::Broker;
use cosmos_bridge_brokers::{GUEST_PASSWORD, Rabbit};
use cosmos_bridge_sink::{Cause, Change, Outcome, Sink, Wait};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{settings, sink, with};

const MESSAGES: usize = 100;
const BYTES: usize = 10_000;
/// The bytes that the first connection forwards to the broker.
const CARRIED: u64 = 300_000;

/// Forwards connections to a broker: of the first one only some bytes, of the others all.
async fn link(listener: TcpListener, port: u16) {
    let mut carried = CARRIED;
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let most = std::mem::replace(&mut carried, u64::MAX);
        let broker = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        connections.spawn(async move {
            let (from_client, mut to_client) = client.into_split();
            let (mut from_broker, mut to_broker) = broker.into_split();
            let up = async {
                let mut from_client = from_client.take(most);
                copy(&mut from_client, &mut to_broker).await.ok();
                // Further data of the client is not forwarded.
                if from_client.limit() == 0 {
                    std::future::pending::<()>().await;
                }
                to_broker.shutdown().await.ok();
            };
            let down = async { copy(&mut from_broker, &mut to_client).await.ok() };
            tokio::select! {
                () = up => {}
                _ = down => {}
            }
        });
    }
}

#[tokio::test]
async fn messages_that_were_confirmed_in_time_are_not_sent_again() {
    let rabbit = Rabbit::start().await.unwrap();
    rabbit.create_exchange("changes", "topic").await.unwrap();
    rabbit.create_queue("orders", Some(("changes", "#"))).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut links = tokio::task::JoinSet::new();
    links.spawn(link(listener, rabbit.port()));
    let mut settings = settings(&rabbit.url(), "changes");
    let uri = format!("amqp://guest:{GUEST_PASSWORD}@127.0.0.1:{port}");
    settings.broker = Broker::new(&uri, &cosmos_bridge_amqp::Tls::default()).unwrap();
    settings.options.heartbeat = Duration::from_secs(10);
    settings.options.confirm_timeout = Duration::from_secs(2);
    let sink = sink(settings);
    let note = "n".repeat(BYTES);
    let change = |n: usize| with(&n.to_string(), 1, json!({"id": n, "note": note}));
    let changes: Vec<Change> = (0..MESSAGES).map(change).collect();

    let written = sink.write(&changes).await;
    let late = format!(
        "publishing to amqp://127.0.0.1:{port} (virtual host /): not confirmed within 2 s; on a slow \
         network raise `confirm_timeout` or lower `batch`"
    );
    let mut outcomes = written.outcomes.iter();
    let mut left = changes.clone();
    left.retain(|_| match outcomes.next().unwrap() {
        Outcome::Delivered => false,
        Outcome::Deferred { reason } if *reason == late => true,
        other => panic!("{other:?}"),
    });
    let confirmed = MESSAGES - left.len();
    assert_eq!(written.unanswered.len(), left.len());
    assert!((20..30).contains(&confirmed), "{confirmed} of {MESSAGES}");
    assert_eq!(written.wait, Some(Wait { cause: Cause::Busy, retry_after: None }));

    let written = sink.write(&left).await;
    assert_eq!(written.outcomes, vec![Outcome::Delivered; left.len()]);
    assert_eq!(rabbit.count("orders").await.unwrap(), u64::try_from(MESSAGES).unwrap());
    sink.close().await.unwrap();
}
