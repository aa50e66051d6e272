//! Events in streams: their fields, their order, and calls that arrive late.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_brokers::{Redis, script};
use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_redis::{Mode, Server, Stream};
use cosmos_bridge_sink::{Cause, Outcome, Sink, Wait};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::{MODES, delete, deliver, reason, settings, sink, stream, upsert};

fn with_format(data: Data, cloud_events: Option<ContentMode>) -> Stream {
    let encoder = Encoder::new(Format { data, cloud_events }, Oversize::DeadLetter);
    Stream { encoder, max_message: 1 << 20, max_length: None }
}

#[tokio::test]
async fn an_entry_has_the_fields_of_its_format() {
    let redis = Redis::start().await.unwrap();
    let table = [
        (None, ["event-id", "operation", "traceparent", "content-type", "data"].as_slice(), 3),
        (Some(ContentMode::Structured), &["event-id", "traceparent", "content-type", "data"], 4),
        (
            Some(ContentMode::Binary),
            &[
                "specversion",
                "id",
                "source",
                "type",
                "subject",
                "time",
                "partitionkey",
                "sequence",
                "containerid",
                "traceparent",
                "datacontenttype",
                "data",
            ],
            10,
        ),
    ];
    for (at, (cloud_events, names, of_delete)) in table.into_iter().enumerate() {
        let mode = Mode::Stream(with_format(Data::Document, cloud_events));
        let key = format!("changes-{at}");
        let sink = sink(settings(redis.port(), &key, mode));
        deliver(&sink, &[upsert("a", 1), delete("a", 2), upsert("a", 1)]).await;
        let entries = redis.entries(&key, "-").await.unwrap();
        let mut expected: Vec<&str> = names.to_vec();
        expected.sort_unstable();
        let found: Vec<&str> = entries[0].fields.keys().map(String::as_str).collect();
        assert_eq!(found, expected);
        assert_eq!(entries[1].fields.len(), of_delete, "{:?}", entries[1]);
        // A repeated change is a repeated event.
        assert_eq!(entries[2].fields, entries[0].fields);
    }
    let data: Value = serde_json::from_str(
        redis.entries("changes-0", "-").await.unwrap()[0].fields["data"].as_str().unwrap(),
    )
    .unwrap();
    assert_eq!(data, json!({"id": "a", "version": 1}));
}

#[tokio::test]
async fn a_stream_is_cut_to_its_length_and_large_events_are_refused() {
    let redis = Redis::start().await.unwrap();
    let mut stream = with_format(Data::Document, Some(ContentMode::Binary));
    stream.max_length = Some(1000);
    stream.max_message = 1000;
    let sink = sink(settings(redis.port(), "changes", Mode::Stream(stream)));
    for page in 0..20 {
        let changes: Vec<_> = (0..250).map(|n| upsert(&format!("{page}-{n}"), 1)).collect();
        deliver(&sink, &changes).await;
    }
    let length: u64 = redis.cli(&["XLEN", "changes"]).await.unwrap().trim().parse().unwrap();
    assert!((1000..1200).contains(&length), "{length}");
    let note = "n".repeat(2000);
    let large = crate::support::with("b", 1, json!({"id": "b", "note": note}));
    let written = sink.write(&[upsert("a", 1), large, upsert("c", 1)]).await;
    let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
    assert_eq!(
        reasons,
        ["delivered", "the event has 2299 bytes; the sink accepts 1000", "delivered"]
    );
    assert_eq!(written.wait, None);
}

/// Passes connections on to a server. What the client sends on the first one is kept until it is let go.
async fn link(listener: TcpListener, port: u16, go: Arc<Notify>) {
    let mut holds = true;
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let holds = std::mem::replace(&mut holds, false);
        let (go, mut server) =
            (Arc::clone(&go), TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        connections.spawn(async move {
            if holds {
                let mut held = Vec::new();
                client.read_to_end(&mut held).await.ok();
                go.notified().await;
                server.write_all(&held).await.unwrap();
                // The answers, so that the test knows that the server has executed everything.
                let mut answers = vec![0; 1];
                server.read_exact(&mut answers).await.unwrap();
                go.notify_one();
                return;
            }
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            tokio::select! {
                _ = copy(&mut from_client, &mut to_server) => {}
                _ = copy(&mut from_server, &mut to_client) => {}
            }
        });
    }
}

/// A write that the sink gave up arrives after what was sent later.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_arrives_late_changes_nothing() {
    for (mode, key) in [(stream(), "changes"), (MODES[0], "order:{id}"), (MODES[1], "order:{id}")] {
        let redis = Redis::start().await.unwrap();
        // The server knows the scripts, so that the late call is executed.
        deliver(&sink(settings(redis.port(), key, mode)), &[upsert("warm", 1)]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings(redis.port(), key, mode);
        settings.server.servers = vec![Server {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        }];
        settings.server.request_timeout = Duration::from_millis(300);
        let go = Arc::new(Notify::new());
        let mut links = JoinSet::new();
        links.spawn(link(listener, redis.port(), Arc::clone(&go)));
        let sink = sink(settings);
        let written = sink.write(&[upsert("a", 1), upsert("b", 1)]).await;
        assert!(
            written.outcomes.iter().all(|o| matches!(o, Outcome::Deferred { .. })),
            "{written:?}"
        );
        assert_eq!(written.wait, Some(Wait { cause: Cause::Busy, retry_after: None }));
        deliver(&sink, &[upsert("a", 1), upsert("b", 1)]).await;
        deliver(&sink, &[upsert("a", 2), delete("b", 2)]).await;
        go.notify_one();
        tokio::time::timeout(Duration::from_secs(10), go.notified()).await.unwrap();
        if let Mode::Stream(_) = mode {
            let order = redis.order("changes").await.unwrap();
            assert_eq!(
                (order.messages, order.duplicates, order.ends_stale),
                (5, 0, 0),
                "{order:?}"
            );
        } else {
            let keys: Vec<String> = redis
                .values("order:*")
                .await
                .unwrap()
                .into_iter()
                .map(|stored| stored.key)
                .collect();
            assert_eq!(keys, ["order:a", "order:warm"]);
            let value = redis.values("order:a").await.unwrap()[0].value.to_string();
            assert!(
                value.contains("version") && value.contains('2') && !value.contains('1'),
                "{value}"
            );
        }
    }
}

/// The example of the README, which a person would start.
#[tokio::test]
async fn the_example_prints_the_newest_state_of_each_document() {
    let redis = Redis::start().await.unwrap();
    let sink = sink(settings(redis.port(), "shop.orders", stream()));
    deliver(&sink, &[upsert("a", 1), upsert("b", 1), upsert("a", 2)]).await;
    // Again, as after a crash.
    deliver(&sink, &[upsert("b", 1), upsert("a", 2), delete("b", 2)]).await;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consume.py");
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let printed = script(&path, &[&url, "shop.orders", "6"], "").await.unwrap();
    let changes: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let upsert = |id: &str, version: i64| json!({"operation": "upsert", "id": id, "document": {"id": id, "version": version}});
    assert_eq!(
        changes,
        [
            upsert("a", 1),
            upsert("b", 1),
            upsert("a", 2),
            json!({"operation": "delete", "id": "b", "document": null}),
        ]
    );
}
