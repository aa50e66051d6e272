//! Every status and substatus that the bridge distinguishes. The table in `table/rows.rs` is the expected
//! behaviour of the real binary; local accounts answer with the fault.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

mod rows;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_cosmos::{NO_STATUS, TABLE, row_of};
use cosmos_bridge_emulator::key::KeyValue;
use cosmos_bridge_emulator::{DropWhen, FaultRule};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::evidence::lines_at;
use crate::support::history::{out_of_order, remembering};
use crate::support::{Bridge, Pair, eventually};
use rows::{Does, MANY, Row, Side, table};

/// Rows that run concurrently. Each has its own process and accounts, and mostly waits.
const CONCURRENCY: usize = 12;

/// Documents in the physical partition without faults.
const FAR: usize = 4;

/// Faults that local accounts cannot produce, and where they are tested instead.
const ELSEWHERE: [(u16, &str); 2] = [
    (NO_STATUS, "src/cosmos/error.rs: the bridge finds the mistake and makes no request"),
    (304, "every run that catches up: tests/replication"),
];

/// A row that is being tested.
struct Trial {
    row: Row,
    pair: Pair,
    config: PathBuf,
    /// The range with the fault, a key in it, and a key in the other range.
    range: String,
    near: String,
    far: String,
}

impl Trial {
    async fn start(row: Row) -> Self {
        let settings = remembering(&["/region"], 2);
        let pair = Pair::start(&settings, &settings).await;
        let ranges = pair.source().ranges();
        let range_of = |key: &str| {
            let keys = pair.source().key_range(&[KeyValue::Text(key.to_owned())]).unwrap();
            ranges.iter().position(|range| range.keys.overlaps(&keys)).unwrap()
        };
        let key = |wanted| (0..100).map(|n| format!("r{n}")).find(|key| range_of(key) == wanted);
        let (near, far) = (key(0).unwrap(), key(1).unwrap());
        let (sink, source) = match row.side {
            Side::Batch => ("bulk = false", ""),
            Side::Versions => ("", "mode = \"all-versions-and-deletes\"\nstart = \"now\"\n"),
            Side::Feed | Side::Upsert => ("batch_changes = 1", ""),
        };
        let source = format!("{source}poll_interval = \"100ms\"");
        let config = pair.configure(sink, "checkpoint_interval = \"100ms\"", &source, "");
        let mut text = std::fs::read_to_string(&config).unwrap();
        text += "\n[log]\nlevel = \"info,cosmos_bridge=debug\"\n";
        if row.requests == MANY || row.then.delay_ms.is_some() {
            text = text.replace("\nkey = ", "\nrequest_timeout = \"2s\"\nkey = ");
        }
        std::fs::write(&config, text).unwrap();
        let range = ranges[0].id.clone();
        Self { row, pair, config, range, near, far }
    }

    fn name(&self) -> String {
        let Row { status, sub_status, side, then, .. } = &self.row;
        let effect = if then.status.is_none() { format!(" {then:?}") } else { String::new() };
        format!("{status}/{sub_status} {side:?}{effect}")
    }

    /// Writes this version of documents, by id and key.
    fn seed(&self, sequence: u64, documents: impl IntoIterator<Item = (String, String)>) {
        let line = |(id, key)| {
            format!("{{\"id\":\"{id}\",\"region\":\"{key}\",\"sequence\":{sequence}}}\n")
        };
        self.pair.seed(&documents.into_iter().map(line).collect::<String>());
    }

    /// The number of documents whose writes get the fault.
    fn struck(&self) -> usize {
        if self.row.side == Side::Batch { 2 } else { 1 }
    }

    fn near(&self) -> impl Iterator<Item = (String, String)> {
        (0..self.struck()).map(|n| (format!("near{n}"), self.near.clone()))
    }

    fn seed_all(&self) {
        let far = (0..FAR).map(|n| (format!("far{n}"), self.far.clone()));
        self.seed(1, self.near().chain(far));
    }

    /// Activates the fault for the near range.
    fn arm(&self) {
        let (account, operation) = match self.row.side {
            Side::Feed | Side::Versions => ("source", "feed"),
            Side::Upsert => ("target", "writes"),
            Side::Batch => ("target", "batch"),
        };
        self.pair.accounts.fault(FaultRule {
            account: Some(account.to_owned()),
            operation: Some(operation.to_owned()),
            range: Some(self.range.clone()),
            then: self.row.then.clone(),
            ..FaultRule::default()
        });
    }

    fn fired(&self) -> u64 {
        self.pair.accounts.world.faults.list()[0].fired
    }

    /// The fault is active from the start; in all-versions mode, which starts from now, soon after.
    async fn run(&self) -> Bridge {
        if self.row.side == Side::Versions {
            let bridge = Bridge::start(&self.config, &["run"]);
            eventually("the bridge reads", || self.pair.is_reading()).await;
            self.arm();
            self.seed_all();
            return bridge;
        }
        self.seed_all();
        self.arm();
        Bridge::start(&self.config, &["run"])
    }

    fn copied(&self, id: &str) -> bool {
        self.pair.copied_ids().iter().any(|copied| copied == id)
    }

    async fn goes_as_told(self) {
        match self.row.does {
            Does::Waits(pause) => self.waits(Duration::from_millis(pause)).await,
            Does::Letter => self.becomes_a_letter().await,
            Does::Singly => self.goes_singly().await,
            Does::Parks => self.parks().await,
        }
    }

    async fn waits(self, pause: Duration) {
        let name = self.name();
        let mut bridge = self.run().await;
        eventually(&format!("{name}: two waits, and the others are copied"), || {
            let others = (0..FAR).all(|n| self.copied(&format!("far{n}")));
            others && waits(&bridge.log()).len() >= 2
        })
        .await;
        assert!(bridge.is_running(), "{name}: {}", bridge.log());
        // A write whose answer was lost has succeeded, which the bridge cannot know.
        let lost = self.row.then.drop == Some(DropWhen::After) && self.row.side == Side::Batch;
        assert_eq!(self.copied("near0"), lost, "{name}");
        // The source goes on meanwhile: newer versions of what waits.
        for sequence in [2, 3] {
            self.seed(sequence, self.near());
        }
        let before = waits(&bridge.log()).len();
        eventually(&format!("{name}: another wait"), || waits(&bridge.log()).len() > before).await;
        let fired = self.fired();
        self.pair.accounts.clear_faults();
        eventually(&format!("{name}: all is copied"), || self.pair.is_equal()).await;
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(0), "{name}: {}", ended.log);
        assert_eq!(self.pair.letters(), [], "{name}");
        assert_eq!(out_of_order(self.pair.received()), [], "{name}");
        let waits = waits(&ended.log);
        for pair in waits.windows(2) {
            let waited = pair[1].duration_since(pair[0]).unsigned_abs();
            assert!(waited >= pause, "{name}: {waited:?}: {}", ended.log);
        }
        // Only a part of the last attempt may have got the fault.
        let requests = fired / waits.len() as u64;
        match self.row.requests {
            MANY => assert!(requests >= 4, "{name}: {requests} requests: {}", ended.log),
            expected => assert_eq!(requests, expected, "{name}: {fired} requests: {}", ended.log),
        }
        let warnings = lines_at(&ended.log, "WARN").concat();
        assert_eq!(warnings.is_empty(), self.row.says.is_empty(), "{name}: {}", ended.log);
        assert!(warnings.contains(self.row.says), "{name}: {}", ended.log);
    }

    async fn becomes_a_letter(self) {
        let name = self.name();
        self.seed_all();
        self.arm();
        let ended = Bridge::catch_up(&self.config).await;
        assert_eq!(ended.code(), Some(0), "{name}: {}", ended.log);
        let letters = self.pair.letters();
        let [letter] = letters.as_slice() else { panic!("{name}: {letters:?}") };
        assert_eq!(letter.source_id, "near0", "{name}");
        assert!(letter.document.is_some(), "{name}");
        assert!(letter.cause.contains(self.row.says), "{name}: {}", letter.cause);
        assert_eq!(self.fired(), self.row.requests, "{name}");
        assert_eq!(self.pair.copied_ids().len(), FAR, "{name}");
    }

    async fn goes_singly(self) {
        let name = self.name();
        self.seed_all();
        self.arm();
        let ended = Bridge::catch_up(&self.config).await;
        assert_eq!(ended.code(), Some(0), "{name}: {}", ended.log);
        assert!(self.pair.is_equal(), "{name}: {}", ended.log);
        assert_eq!(self.pair.letters(), [], "{name}");
        assert_eq!(self.fired(), self.row.requests, "{name}");
        assert_eq!(lines_at(&ended.log, "WARN"), [""; 0], "{name}");
    }

    async fn parks(self) {
        let name = self.name();
        let mut bridge = self.run().await;
        eventually(&format!("{name}: parked"), || bridge.log().contains(" parked ")).await;
        self.seed(1, [("late".to_owned(), self.far.clone())]);
        eventually(&format!("{name}: the others go on"), || self.copied("late")).await;
        assert!(bridge.is_running(), "{name}: {}", bridge.log());
        assert_eq!(self.fired(), self.row.requests, "{name}: {}", bridge.log());
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(65), "{name}: {}", ended.log);
        assert!(lines_at(&ended.log, "ERROR")[0].contains(self.row.says), "{name}: {}", ended.log);
        assert!(!self.copied("near0"), "{name}");
        assert_eq!(self.pair.letters(), [], "{name}");
    }
}

/// The times at which the bridge logged a wait.
fn waits(log: &str) -> Vec<jiff::Timestamp> {
    let waits = log.lines().filter(|line| line.contains(" has to wait "));
    waits.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_treated_as_the_table_says() {
    let turns = Arc::new(Semaphore::new(CONCURRENCY));
    let mut trials = JoinSet::new();
    for row in table() {
        let turns = Arc::clone(&turns);
        trials.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            Trial::start(row).await.goes_as_told().await;
        });
    }
    let mut failed = 0;
    while let Some(ended) = trials.join_next().await {
        failed += usize::from(ended.is_err());
    }
    assert_eq!(failed, 0, "rows failed, see above");
}

/// The index of a code in the classification table.
fn place(status: u16, sub_status: u32) -> Option<usize> {
    let row = row_of(status, sub_status)?;
    TABLE.iter().position(|known| known == row)
}

#[test]
fn every_row_of_the_classification_is_tried_and_told_to_operators() {
    let tried: Vec<_> = table().iter().map(|row| place(row.status, row.sub_status)).collect();
    let text = include_str!("../../docs/faults.md");
    for (number, row) in TABLE.iter().enumerate() {
        let elsewhere = ELSEWHERE.iter().any(|(status, _)| *status == row.status);
        assert!(elsewhere != tried.contains(&Some(number)), "{row} is tried: {}", !elsewhere);
        assert!(text.contains(&format!("`{row}`")), "docs/faults.md lacks {row}");
    }
}
