//! The conservation ledger of one sink, over all feed ranges.

use cosmos_bridge_sink::LogThrottle;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::error;

use crate::model::Ledger;

/// What became of the changes that were read for one sink of one pipeline since its first start, as far as
/// positions are stored, and in this run also behind them.
#[derive(Debug, Default)]
pub struct LedgerMeter {
    counts: Mutex<Counts>,
    log: Mutex<LogThrottle>,
}

#[derive(Debug, Default)]
struct Counts {
    ledger: Ledger,
    in_flight: u64,
}

/// The ledger at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerStatus {
    pub ledger: Ledger,
    /// Changes and dead letters that are not safe yet.
    pub in_flight: u64,
    /// Changes that were read, are not in flight, and have no fate. Negative if there are too many. Other than 0
    /// in any case means a defect of the bridge, or of what it was told.
    pub missing: i64,
}

impl LedgerMeter {
    /// Adds what earlier runs have stored.
    pub fn resume(&self, stored: &Ledger) {
        self.counts.lock().ledger.add(stored);
    }

    /// Takes the ledger of a feed range, and its changes in flight, in the place of what was told of it before.
    pub fn replace(&self, before: (Ledger, usize), now: (Ledger, usize)) {
        let mut counts = self.counts.lock();
        counts.ledger.add(&now.0);
        counts.ledger.remove(&before.0);
        counts.in_flight = (counts.in_flight + now.1 as u64).saturating_sub(before.1 as u64);
    }

    /// A feed range has ended with changes in flight, which are read again.
    pub fn give_up(&self, in_flight: usize) {
        let mut counts = self.counts.lock();
        counts.ledger.read = counts.ledger.read.saturating_sub(in_flight as u64);
        counts.in_flight = counts.in_flight.saturating_sub(in_flight as u64);
    }

    pub fn status(&self) -> LedgerStatus {
        let Counts { ledger, in_flight } = *self.counts.lock();
        let missing = ledger.open() - i64::try_from(in_flight).unwrap_or(i64::MAX);
        LedgerStatus { ledger, in_flight, missing }
    }

    /// The ledger of a feed range does not balance, by so many changes more than before.
    pub(super) fn unbalanced(&self, pipeline: &str, sink: &str, range: &str, changes: i64) {
        let missing = self.status().missing;
        // A difference may also go, with a page that is read again.
        if changes < 0 && missing >= 0 {
            return;
        }
        let mut log = self.log.lock();
        let is_due = log.on_occurrence(Instant::now()).is_some();
        // Each is an event of its own.
        log.end();
        if !is_due {
            return;
        }
        let hint = HINT;
        if changes > 0 {
            error!(
                pipeline,
                sink,
                range,
                changes,
                missing,
                hint,
                "changes were read, and nothing tells what became of them"
            );
        } else {
            error!(
                pipeline,
                sink, range, changes, missing, hint, "more became of changes than was read"
            );
        }
    }
}

const HINT: &str = "This is a defect of the bridge: report it with the log. Compare source and target, and write \
                    what is missing again.";
