//! A service that sends anything. The bytes are those of `corpus`, which are what a service sends without regard to
//! the answers of the client, and mutations of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use cosmos_bridge_corpus::{Corpus, Peer, peak_memory};
use cosmos_bridge_eventhubs::EventHubsSink;
use cosmos_bridge_sink::{Outcome, Sink};
use support::{HUB, change, settings};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// Longer than any write takes; an end that never comes exceeds it.
const PATIENCE: Duration = Duration::from_mins(1);

/// More than the test needs, and less than the lengths that are only announced.
const MEMORY: u64 = 512 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_of_a_service_end_or_stop_the_sink() {
    let before = peak_memory();
    let peer = Peer::start();
    let connection = format!(
        "Endpoint=sb://{};SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true;\
         EntityPath={HUB}",
        peer.address
    );
    for input in Corpus::read(FOLDER.as_ref()).inputs(200) {
        let mut settings = settings(&connection);
        settings.options.request_timeout = Duration::from_millis(500);
        let sink = EventHubsSink::new("hub", settings);
        let said = peer.says(input.bytes.clone());
        let written = timeout(PATIENCE, sink.write(&[change("a", 1)])).await.unwrap();
        assert!(matches!(written.outcomes[..], [Outcome::Deferred { .. }]), "{written:?}");
        assert!(written.wait.is_some(), "{written:?}");
        drop(sink);
        timeout(PATIENCE, spawn_blocking(|| said.join())).await.unwrap().unwrap().unwrap();
        let asked = peak_memory() - before;
        assert!(asked < MEMORY, "{asked} bytes");
    }
}
