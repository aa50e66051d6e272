//! The bridge is killed while dead letters are stored.

use std::time::Duration;

use cosmos_bridge_emulator::chance::Chance;

use crate::support::history::announce;
use crate::support::{Bridge, Pair, eventually};
use crate::{RIGHT, UNLIMITED};

const SEED: u64 = 51;
const DOCUMENTS: usize = 3_000;
const KILLS: usize = 10;
const COPIES: usize = DOCUMENTS - DOCUMENTS / 3;

/// Every third document has no `number`, which the route needs.
fn documents() -> String {
    let line = |n: usize| match n % 3 {
        0 => format!("{{\"id\":\"bad{n}\",\"region\":\"r{}\"}}\n", n % 7),
        _ => format!("{{\"id\":\"d{n}\",\"number\":\"d{n}\",\"region\":\"r{}\"}}\n", n % 7),
    };
    (0..DOCUMENTS).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_dead_letter_and_no_document_beside_one() {
    announce(&format!("seed {SEED}"));
    let pair = Pair::alike().await;
    pair.seed(&documents());
    let config = pair.configure("", UNLIMITED, "page_size = 20", RIGHT);
    let mut random = Chance::new(SEED);
    for kill in 1..=KILLS {
        let bridge = Bridge::start(&config, &["run"]);
        // Somewhere in the next part of the work.
        let part = COPIES / (KILLS + 2);
        let before = random.below(part as u64);
        let goal = kill * part - usize::try_from(before).unwrap();
        eventually("it goes on", || pair.count("target", "copies") >= goal).await;
        tokio::time::sleep(Duration::from_millis(random.below(10))).await;
        bridge.kill().await;
    }
    assert!(pair.letters().len() < DOCUMENTS / 3, "it was killed while there was work");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.count("target", "copies"), COPIES);
    let mut ids: Vec<_> = pair.letters().into_iter().map(|letter| letter.source_id).collect();
    assert_eq!(ids.len(), DOCUMENTS / 3, "each once");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), DOCUMENTS / 3);
    assert_eq!(ended.total("dead_letters_stored"), (DOCUMENTS / 3) as u64);
}
