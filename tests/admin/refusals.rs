//! Requests that are refused, and connections that are closed.

use std::io::ErrorKind;
use std::time::Duration;

use cosmos_bridge_corpus::Corpus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::OpenOptions;
use tokio::time::{Instant, timeout};

use crate::support::{Bridge, PATIENCE, Pair, eventually};
use crate::{running, with_admin};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_of_this_host_is_refused() {
    let (_pair, bridge, admin, _port) = running("hosts = [\"bridge.example\"]").await;
    let host = admin.host();
    for (status, request) in [
        (200, format!("GET /live HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (200, format!("HEAD /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (200, "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        (200, "GET /status HTTP/1.1\r\nhost: bridge.example:80\r\n\r\n".to_owned()),
        (421, "GET /metrics HTTP/1.1\r\nhost: rebound.example\r\n\r\n".to_owned()),
        (421, "GET /live HTTP/1.1\r\nhost: 192.0.2.1\r\n\r\n".to_owned()),
        (400, "GET /live HTTP/1.1\r\n\r\n".to_owned()),
        (404, format!("GET /reload HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (405, format!("POST /status HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (405, format!("DELETE /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (413, format!("GET /live HTTP/1.1\r\nhost: {host}\r\ncontent-length: 4\r\n\r\nbody")),
        (413, format!("POST /live HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n")),
        (431, format!("GET /live HTTP/1.1\r\nhost: {host}\r\nx: {}\r\n\r\n", "y".repeat(100_000))),
        (431, format!("GET /live HTTP/1.1\r\nhost: {host}\r\n{}\r\n", "x: y\r\n".repeat(100))),
        (400, "\u{1}\u{2}\r\n\r\n".to_owned()),
    ] {
        let answer = admin.exchange(request.as_bytes()).await;
        let head = request.chars().take(80).collect::<String>();
        let answer = answer.unwrap_or_else(|error| panic!("{head:?}: {error}"));
        assert_eq!(answer.status, status, "{head:?}: {answer:?}");
        assert!(!request.starts_with("HEAD") || answer.body.is_empty(), "{answer:?}");
    }
    let answer = admin.get("/live", "").await.unwrap();
    for header in ["cache-control: no-store", "x-content-type-options: nosniff"] {
        assert!(answer.head.contains(header), "{}", answer.head);
    }
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_off_and_hold_up_nobody() {
    let (_pair, bridge, admin, _port) = running("").await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = admin.connect().await.unwrap();
        stream.write_all(b"GET /live HTTP/1.1\r\nhost:").await.unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Sending single bytes does not keep the connection open.
    let drip = async {
        while slow[0].write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(Duration::from_secs(30), drip).await.expect("it is cut off");
    for stream in &mut slow[1..] {
        let mut said = Vec::new();
        let end = timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await;
        assert!(end.is_ok(), "not cut off");
        assert!(!String::from_utf8_lossy(&said).contains(" 200 "));
    }
    bridge.kill().await;
}

/// An orchestrator restarts a process whose `/live` does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_out_no_probe() {
    const SERVED_AT_ONCE: usize = 32;
    let (_pair, bridge, admin, _port) = running("").await;
    let mut begun = admin.connect().await.unwrap();
    begun.write_all(b"GET /live HTTP/1.1\r\n").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..SERVED_AT_ONCE {
        silent.push(admin.connect_from([127, 0, 0, 2]).await.unwrap());
    }
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    // It was answered while the others were connected, not after they were cut off for their silence.
    let mut byte = [0];
    let open = silent[SERVED_AT_ONCE - 2].try_read(&mut byte).map_err(|error| error.kind());
    assert_eq!(open, Err(ErrorKind::WouldBlock));
    assert_eq!(timeout(PATIENCE, silent[0].read(&mut byte)).await.unwrap().unwrap_or(0), 0);
    // A peer that opens many connections pushes out its own.
    for _ in 0..3 * SERVED_AT_ONCE {
        silent.push(admin.connect_from([127, 0, 0, 2]).await.unwrap());
    }
    begun.write_all(format!("host: {}\r\n\r\n", admin.host()).as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, begun.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let log = bridge.log();
    let line = "one was closed for a newer one peer=127.0.0.2 connections=32";
    assert!(log.contains(line), "{log}");
    bridge.kill().await;
}

/// Planted tokens.
const TULIP: &str = "planted-tulip";
const ROSE: &str = "planted-rose";
const IRIS: &str = "planted-iris";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_read_again() {
    let pair = Pair::alike().await;
    let token = pair.folder.path().join("admin.token");
    std::fs::write(&token, TULIP).unwrap();
    let config = pair.configure("", "", "", "");
    let (admin, _port) = with_admin(&config, "token = { file = \"admin.token\" }");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "true").await;
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    for (path, given, status) in [
        ("/metrics", String::new(), 401),
        ("/status", String::new(), 401),
        ("/", String::new(), 401),
        ("/metrics", bearer(ROSE), 401),
        ("/metrics", bearer(TULIP), 200),
        ("/", bearer(TULIP), 200),
        // What a browser sends: operator, and the token as the password.
        ("/", "authorization: Basic b3BlcmF0b3I6cGxhbnRlZC10dWxpcA==\r\n".to_owned(), 200),
        ("/", "authorization: Basic b3BlcmF0b3I6cGxhbnRlZC1yb3Nl\r\n".to_owned(), 401),
        ("/status", bearer(TULIP), 200),
    ] {
        let answer = admin.get(path, &given).await.unwrap();
        assert_eq!(answer.status, status, "{path} {given}");
        // So that a browser asks for it.
        let head = answer.head.to_ascii_lowercase();
        assert_eq!(head.contains("basic realm="), status == 401, "{path} {head}");
        let policy = head.contains("content-security-policy: default-src 'none'");
        assert_eq!(policy, path == "/" && status == 200, "{path} {head}");
    }
    std::fs::write(&token, ROSE).unwrap();
    assert_eq!(admin.get("/status", &bearer(TULIP)).await.unwrap().status, 401);
    assert_eq!(admin.get("/status", &bearer(ROSE)).await.unwrap().status, 200);
    let status = Bridge::command(&config, &["status"]).await;
    assert_eq!(status.code(), Some(0), "{}", status.log);
    // Of a file that names another one.
    std::fs::write(pair.folder.path().join("other.token"), IRIS).unwrap();
    let other = config.with_file_name("other.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&other, text.replace("admin.token", "other.token")).unwrap();
    let status = Bridge::command(&other, &["status"]).await;
    assert_eq!(status.code(), Some(77), "{}", status.log);
    std::fs::remove_file(&token).unwrap();
    assert_eq!(admin.get("/status", &bearer(ROSE)).await.unwrap().status, 401);
    bridge.kill().await;
}

/// A token file on a disk that hangs, which a pipe stands for, holds up no stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_read_holds_up_no_stop() {
    let pair = Pair::alike().await;
    let token = pair.folder.path().join("admin.token");
    std::fs::write(&token, TULIP).unwrap();
    let config = pair.configure("", "", "", "");
    let (admin, _port) = with_admin(&config, "token = { file = \"admin.token\" }");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "true").await;
    std::fs::remove_file(&token).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&token).status().unwrap();
    assert!(made.success());
    let mut stream = admin.connect().await.unwrap();
    let request = format!("GET /status HTTP/1.1\r\nhost: {}\r\n\r\n", admin.host());
    stream.write_all(request.as_bytes()).await.unwrap();
    // A pipe can be opened for writing once it is open for reading.
    let mut pipe = None;
    eventually("the pipe is read", || {
        pipe = OpenOptions::new().open_sender(&token).ok();
        pipe.is_some()
    })
    .await;
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    // The bridge waits for the pipe; the search of the folder for secrets is not to.
    std::fs::remove_file(&token).unwrap();
    bridge.terminate();
    let ended = timeout(Duration::from_secs(30), bridge.ended()).await.expect("the bridge hangs");
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    drop(pipe);
}

/// Requests that were kept, and requests like them: each is answered or closed, and the next one is
/// answered.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_ends_the_admin_address() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus/admin_requests");
    let (_pair, mut bridge, admin, _port) = running("").await;
    for (n, input) in Corpus::read(folder.as_ref()).inputs(500).enumerate() {
        let bytes = with_host(&input.bytes, &admin.host());
        let mut stream = admin.connect().await.unwrap();
        stream.write_all(&bytes).await.ok();
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{n}");
        if n % 50 == 0 {
            assert_eq!(admin.get("/live", "").await.unwrap().status, 200, "{n}");
        }
    }
    assert!(bridge.is_running(), "{}", bridge.log());
    admin.until("/ready", 200, "\"ready\":true").await;
    bridge.kill().await;
}

/// Puts the address in place of `HOST`.
fn with_host(request: &[u8], host: &str) -> Vec<u8> {
    let mut bytes = request.to_vec();
    while let Some(at) = bytes.windows(4).position(|four| four == b"HOST") {
        bytes.splice(at..at + 4, host.bytes());
    }
    bytes
}
