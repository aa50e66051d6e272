//! A broker that sends anything. The bytes are those of `corpus`, which are what a broker sends without regard to the
//! answers of the client, and mutations of them.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "rabbit/support.rs"]
#[expect(dead_code, reason = "a part of it is used")]
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use cosmos_bridge_corpus::{Corpus, Peer, count_panics, peak_memory};
use cosmos_bridge_sink::{Outcome, Sink};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// Longer than any write takes; an end that never comes exceeds it.
const PATIENCE: Duration = Duration::from_mins(1);

/// More than the test needs, and less than the lengths that are only announced.
const MEMORY: u64 = 512 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_of_a_broker_end_or_stop_the_sink() {
    let (panics, before) = (count_panics(), peak_memory());
    let peer = Peer::start();
    let uri = format!("amqp://guest:guest@{}/%2f", peer.address);
    for input in Corpus::read(FOLDER.as_ref()).inputs(100) {
        let mut settings = support::settings(&uri, "events");
        // The client does not always notice that the broker has closed the connection.
        settings.options.connect_timeout = Duration::from_millis(300);
        settings.options.confirm_timeout = Duration::from_millis(300);
        let sink = support::sink(settings);
        let said = peer.says(input.bytes.clone());
        let written = timeout(PATIENCE, sink.write(&[support::upsert("a", 1)])).await.unwrap();
        assert!(matches!(written.outcomes[..], [Outcome::Deferred { .. }]), "{written:?}");
        assert!(written.wait.is_some(), "{written:?}");
        drop(sink);
        timeout(PATIENCE, spawn_blocking(|| said.join())).await.unwrap().unwrap().unwrap();
        assert_eq!(panics.load(Ordering::Relaxed), 0);
        let asked = peak_memory() - before;
        assert!(asked < MEMORY, "{asked} bytes");
    }
}
