//! The bytes of requests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use cosmos_bridge_event::ContentMode;
use cosmos_bridge_http::HttpSink;
use cosmos_bridge_sink::{Change, Operation, Outcome, Sink};
use support::{change, settings};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// The lines before a request's body.
async fn head(stream: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end() {
            "" => return lines,
            line => lines.push(line.to_ascii_lowercase()),
        }
    }
}

#[tokio::test]
async fn every_request_has_one_content_length() {
    let (listener, url) = listener().await;
    let sink = HttpSink::new("hook", settings(&url, ContentMode::Binary)).unwrap();
    let upsert = change("1");
    let delete = |operation| Change { operation, ..change("1") };
    let cases = [
        (upsert, r#"{"id":"1","total":3}"#),
        (delete(Operation::Delete { expired: false }), ""),
        (delete(Operation::Delete { expired: true }), ""),
    ];
    for (change, body) in cases {
        let changes = [change];
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let lines = head(&mut stream).await;
            let mut sent = vec![0; body.len()];
            stream.read_exact(&mut sent).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            (lines, String::from_utf8(sent).unwrap())
        };
        let (written, (lines, sent)) = tokio::join!(sink.write(&changes), serve);
        assert_eq!(written.outcomes, [Outcome::Delivered]);
        assert_eq!(sent, body);
        let lengths: Vec<_> =
            lines.iter().filter(|line| line.starts_with("content-length:")).collect();
        assert_eq!(lengths, [&format!("content-length: {}", body.len())]);
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    /// Far more than a system buffers of unread data.
    const MOST: usize = 64 * 1024 * 1024;
    let (listener, url) = listener().await;
    let mut settings = settings(&url, ContentMode::Binary);
    settings.options.request_timeout = Duration::from_mins(1);
    let sink = HttpSink::new("hook", settings).unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let some = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < MOST && stream.write_all(&some).await.is_ok() {
            sent += some.len();
        }
        sent
    };
    let changes = [change("1")];
    let (written, sent) = tokio::join!(sink.write(&changes), serve);
    assert_eq!(written.outcomes, [Outcome::Delivered]);
    assert!(sent < MOST, "all of it was taken");
}
