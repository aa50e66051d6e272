//! The counters of one sink of one pipeline.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use cosmos_bridge_sink::LogThrottle;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tracing::{info, warn};

use super::counter_by::CounterBy;
use super::history::HistoryLog;
use super::ledger_meter::LedgerMeter;
use super::letter_log::LetterLog;
use super::rounding::tenths;
use crate::model::{DeadLetter, Stage};

/// What one sink of one pipeline got, what it has in its buffer, and what was read again for it alone.
#[derive(Debug, Default)]
pub struct PipelineSinkMetrics {
    pub pipeline: String,
    pub sink: String,
    /// Changes that are durable in the sink.
    pub delivered: Counter,
    /// Changes stored as dead letters since the start of the process.
    pub dead_letters: CounterBy<Stage>,
    /// Dead letters that are stored now, also by earlier runs.
    letters_stored: AtomicU64,
    letter_log: LetterLog,
    pub history_log: HistoryLog,
    /// The size of the sink's buffer in bytes, the bytes in it now, and the most there ever were.
    buffer_limit: AtomicUsize,
    buffered: AtomicUsize,
    max_buffered: AtomicUsize,
    /// Feed ranges in which the sink is detached from the shared reader, and those of them that a
    /// separate reader reads again.
    detached: AtomicUsize,
    catching_up: AtomicUsize,
    /// Changes, requests and request units that were read for this sink alone.
    pub reread: Counter,
    pub reread_requests: Counter,
    pub reread_charge: Counter<f64, AtomicU64>,
    /// From the first feed range that was detached to the last that was attached again.
    detachment: Mutex<Detachment>,
    /// Copies that sweeps have looked at, those that they have deleted, and their request units.
    pub swept: Counter,
    pub sweep_deletes: Counter,
    pub sweep_charge: Counter<f64, AtomicU64>,
    /// Feed ranges that were copied again because the source had lost their history.
    pub resyncs: Counter,
    /// 1 while a sweep is due or runs.
    sweep_due: AtomicUsize,
    /// Pages that waited for the sink.
    waits: Mutex<LogThrottle>,
    /// What became of the changes that were read for the sink.
    pub ledger: LedgerMeter,
}

#[derive(Debug, Default)]
struct Detachment {
    throttle: LogThrottle,
    start: Option<Start>,
}

/// The counters at the start of a detachment.
#[derive(Clone, Copy, Debug)]
struct Start {
    at: Instant,
    reread: u64,
    requests: u64,
    charge: f64,
}

/// The state of a sink that is detached from the shared reader in at least one feed range.
#[derive(Clone, Debug, PartialEq)]
pub struct Straggler {
    pub pipeline: String,
    pub sink: String,
    pub ranges: usize,
    pub catching_up: usize,
    pub lag_seconds: u64,
    pub buffered_bytes: usize,
    /// Changes and request units, since the start of the process.
    pub reread: u64,
    pub reread_charge: f64,
}

impl PipelineSinkMetrics {
    pub fn new(pipeline: &str, sink: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), sink: sink.to_owned(), ..Self::default() }
    }

    pub fn set_buffer_limit(&self, bytes: usize) {
        self.buffer_limit.store(bytes, Relaxed);
    }

    pub fn buffer_limit(&self) -> usize {
        self.buffer_limit.load(Relaxed)
    }

    pub fn set_buffered(&self, bytes: usize) {
        self.buffered.store(bytes, Relaxed);
        self.max_buffered.fetch_max(bytes, Relaxed);
    }

    /// Bytes in the buffer now.
    pub fn buffered(&self) -> usize {
        self.buffered.load(Relaxed)
    }

    /// The most bytes that were ever in the buffer.
    pub fn max_buffered(&self) -> usize {
        self.max_buffered.load(Relaxed)
    }

    /// Feed ranges in which the sink is detached from the shared reader.
    pub fn ranges_detached(&self) -> usize {
        self.detached.load(Relaxed)
    }

    /// The detached feed ranges that are being read again for this sink.
    pub fn ranges_catching_up(&self) -> usize {
        self.catching_up.load(Relaxed)
    }

    /// Sets the number of dead letters that are stored at the start.
    pub fn set_letters_stored(&self, letters: u64) {
        self.letters_stored.store(letters, Relaxed);
    }

    pub fn letters_stored(&self) -> u64 {
        self.letters_stored.load(Relaxed)
    }

    /// Counts a dead letter that was stored, and logs it now and then; `is_new` if it was not stored
    /// before.
    pub(super) fn kept(&self, letter: &DeadLetter, is_new: bool) {
        self.dead_letters.add(letter.stage, 1);
        self.letters_stored.fetch_add(is_new.into(), Relaxed);
        self.letter_log.kept(letter);
    }

    /// Counts a page that was read for this sink alone.
    pub fn count_reread(&self, changes: usize, charge: f64) {
        self.reread.inc_by(changes as u64);
        self.reread_requests.inc();
        self.reread_charge.inc_by(charge);
    }

    /// The ledger of a feed range does not balance, by so many changes more than before.
    pub fn unbalanced(&self, range: &str, more: i64) {
        self.ledger.unbalanced(&self.pipeline, &self.sink, range, more);
    }

    /// Warns at the start if changes of earlier runs are missing.
    pub fn log_missing(&self) {
        let missing = self.ledger.status().missing;
        if missing != 0 {
            let (pipeline, sink) = (&self.pipeline, &self.sink);
            let hint = "`cosmos-bridge ledger --accept` takes note of it, once source and target are compared.";
            warn!(
                pipeline,
                sink,
                missing,
                hint,
                "in earlier runs changes were read, and nothing tells what became of them"
            );
        }
    }

    /// Counts the copies of a page, those that were deleted, and the request units of both.
    pub fn count_swept(&self, ids: u64, deleted: u64, charge: f64) {
        self.swept.inc_by(ids);
        self.sweep_deletes.inc_by(deleted);
        self.sweep_charge.inc_by(charge);
    }

    pub fn set_sweep_due(&self, is_due: bool) {
        self.sweep_due.store(usize::from(is_due), Relaxed);
    }

    /// A sweep is due or runs.
    pub fn is_sweep_due(&self) -> bool {
        self.sweep_due.load(Relaxed) > 0
    }

    /// A page of a feed range waits for the sink.
    pub fn page_waits(&self, range: &str) {
        let mut waits = self.waits.lock();
        let episode = waits.on_occurrence(Instant::now());
        // Each page is an event of its own.
        waits.end();
        if let Some(episode) = episode {
            let (pipeline, sink) = (&self.pipeline, &self.sink);
            let not_logged = Some(episode.not_logged).filter(|others| *others > 0);
            info!(
                pipeline,
                sink,
                range,
                not_logged,
                "reading waits for the sink, so that the rest is not read again for it"
            );
        }
    }

    /// The sink is detached from the shared reader in a feed range, and continues from `lsn`. `error`
    /// is the sink's current write error, if there is one.
    pub fn range_detached(&self, range: &str, lsn: Option<i64>, why: &str, error: Option<&str>) {
        let mut detachment = self.detachment.lock();
        if self.detached.fetch_add(1, Relaxed) > 0 {
            return;
        }
        detachment.start.get_or_insert_with(|| Start {
            at: Instant::now(),
            reread: self.reread.get(),
            requests: self.reread_requests.get(),
            charge: self.reread_charge.get(),
        });
        if let Some(episode) = detachment.throttle.on_occurrence(Instant::now()) {
            let (pipeline, sink) = (&self.pipeline, &self.sink);
            let not_logged = Some(episode.not_logged).filter(|others| *others > 0);
            warn!(
                pipeline,
                sink,
                range,
                lsn,
                why,
                error,
                not_logged,
                "the sink is behind; it now reads separately so that other sinks are not delayed"
            );
        }
    }

    /// A reader of the sink's own starts in a detached feed range.
    pub fn range_catching_up(&self) {
        self.catching_up.fetch_add(1, Relaxed);
    }

    pub fn range_stopped_catching_up(&self) {
        self.catching_up.fetch_sub(1, Relaxed);
    }

    /// A detached feed range shares the reader again.
    pub fn range_rejoined(&self) {
        self.range_closed();
        self.range_attached();
    }

    /// A detached feed range is closed. Its parts, or the next start, begin with a state of their own.
    pub fn range_closed(&self) {
        self.detached.fetch_sub(1, Relaxed);
    }

    /// A feed range shares the reader.
    pub fn range_attached(&self) {
        let mut detachment = self.detachment.lock();
        if self.detached.load(Relaxed) > 0 {
            return;
        }
        let Some(start) = detachment.start.take() else { return };
        if detachment.throttle.end().is_none_or(|episode| !episode.is_logged) {
            return;
        }
        let (pipeline, sink) = (&self.pipeline, &self.sink);
        info!(
            pipeline,
            sink,
            read_again = self.reread.get() - start.reread,
            requests = self.reread_requests.get() - start.requests,
            ru = tenths(self.reread_charge.get() - start.charge),
            after_seconds = tenths(start.at.elapsed().as_secs_f64()),
            "the sink has caught up with the others"
        );
    }

    /// `None` if the sink shares the reader in every feed range.
    pub fn straggler(&self, lag_seconds: u64) -> Option<Straggler> {
        let ranges = self.ranges_detached();
        (ranges > 0).then(|| Straggler {
            pipeline: self.pipeline.clone(),
            sink: self.sink.clone(),
            ranges,
            catching_up: self.ranges_catching_up(),
            lag_seconds,
            buffered_bytes: self.buffered(),
            reread: self.reread.get(),
            reread_charge: self.reread_charge.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::lines::Lines;
    use super::PipelineSinkMetrics;

    #[tokio::test(start_paused = true)]
    async fn pages_that_wait_for_hours_are_a_handful_of_lines() {
        let log = Lines::of(async {
            let meter = PipelineSinkMetrics::new("orders", "archive");
            for _ in 0..3600 {
                meter.page_waits("[,3F)");
                advance(Duration::from_secs(1)).await;
            }
        });
        insta::assert_snapshot!(log.await, @r#"
        INFO reading waits for the sink, so that the rest is not read again for it pipeline="orders" sink="archive" range="[,3F)"
        INFO reading waits for the sink, so that the rest is not read again for it pipeline="orders" sink="archive" range="[,3F)" not_logged=29
        INFO reading waits for the sink, so that the rest is not read again for it pipeline="orders" sink="archive" range="[,3F)" not_logged=59
        INFO reading waits for the sink, so that the rest is not read again for it pipeline="orders" sink="archive" range="[,3F)" not_logged=119
        INFO reading waits for the sink, so that the rest is not read again for it pipeline="orders" sink="archive" range="[,3F)" not_logged=239
        INFO reading waits for the sink, so that the rest is not read again for it pipeline="orders" sink="archive" range="[,3F)" not_logged=479
        INFO reading waits for the sink, so that the rest is not read again for it pipeline="orders" sink="archive" range="[,3F)" not_logged=959
        "#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_falls_behind_in_many_ranges_is_logged_once_and_once_when_it_is_back() {
        let log = Lines::of(async {
            let meter = PipelineSinkMetrics::new("orders", "archive");
            meter.range_attached();
            for range in ["[,3F)", "[3F,FF)"] {
                meter.range_detached(range, Some(7), "its memory is used up", Some("refused"));
            }
            assert_eq!(meter.straggler(3).map(|straggler| straggler.ranges), Some(2));
            meter.range_catching_up();
            meter.count_reread(100, 2.5);
            meter.range_stopped_catching_up();
            advance(Duration::from_secs(90)).await;
            meter.range_rejoined();
            // The other range was split; one of its parts starts behind the others.
            meter.range_closed();
            meter.range_detached("[3F,7F)", Some(9), "it starts behind", None);
            meter.range_rejoined();
            assert_eq!(meter.straggler(0), None);
            // A sink that is detached and attached by turns does not fill the log.
            for _ in 0..101 {
                meter.range_detached("[,3F)", None, "its memory is used up", None);
                advance(Duration::from_secs(1)).await;
                meter.range_rejoined();
            }
        });
        insta::assert_snapshot!(log.await, @r#"
        WARN the sink is behind; it now reads separately so that other sinks are not delayed pipeline="orders" sink="archive" range="[,3F)" lsn=7 why="its memory is used up" error="refused"
        WARN the sink is behind; it now reads separately so that other sinks are not delayed pipeline="orders" sink="archive" range="[3F,7F)" lsn=9 why="it starts behind"
        INFO the sink has caught up with the others pipeline="orders" sink="archive" read_again=100 requests=1 ru=2.5 after_seconds=90.0
        WARN the sink is behind; it now reads separately so that other sinks are not delayed pipeline="orders" sink="archive" range="[,3F)" why="its memory is used up" not_logged=60
        INFO the sink has caught up with the others pipeline="orders" sink="archive" read_again=0 requests=0 ru=0.0 after_seconds=1.0
        "#);
    }
}
