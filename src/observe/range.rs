//! How far the sinks of a feed range are, and since when.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::history::{Known, current_at};
use crate::model::{RangeProgress, SinkProgress};

/// Minimum lag reported while a sink is not caught up.
const LEAST: Duration = Duration::from_millis(1);

/// One feed range, as observers see it.
#[derive(Debug)]
pub struct RangeMeter {
    /// As log lines have it.
    pub range: String,
    /// Log sequence numbers: where this run began, and the newest there is; -1 while unknown.
    pub start_lsn: AtomicI64,
    pub head_lsn: AtomicI64,
    began: Instant,
    /// By sink: when the position with which the range was opened had everything, in seconds since the
    /// epoch. Empty where that is not known: then it is the time of the opening.
    opened: Vec<i64>,
    began_at: i64,
    progress: watch::Receiver<RangeProgress>,
}

/// One sink of one feed range at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkStatus {
    /// The last answer was that nothing is newer, and nothing is in flight.
    pub is_caught_up: bool,
    pub is_parked: bool,
    /// Zero exactly if it is caught up.
    pub lag: Duration,
    /// Log sequence numbers between what is stored and what is newest; zero exactly if it is caught
    /// up. `None` before the first answer.
    pub documents: Option<u64>,
    pub since_stored: Duration,
    pub since_progress: Duration,
}

impl RangeMeter {
    /// Shows what `progress` publishes.
    pub fn new(range: impl Into<String>, progress: watch::Receiver<RangeProgress>) -> Self {
        Self {
            range: range.into(),
            start_lsn: AtomicI64::new(-1),
            head_lsn: AtomicI64::new(-1),
            began: Instant::now(),
            opened: Vec::new(),
            began_at: jiff::Timestamp::now().as_second(),
            progress,
        }
    }

    /// The same, with the moments of which the positions of the sinks have everything.
    #[must_use]
    pub fn opened_at(self, opened: Vec<i64>) -> Self {
        Self { opened, ..self }
    }

    /// By sink: the last moment of which its position is known to have everything. Both in seconds since
    /// the epoch.
    pub fn current_at(&self, now: i64) -> Vec<i64> {
        let progress = self.progress.borrow();
        let ago = |at: Instant| now - i64::try_from(at.elapsed().as_secs()).unwrap_or(0);
        let known = |(sink, progress): (usize, &SinkProgress)| Known {
            opened: self.opened.get(sink).copied().unwrap_or(self.began_at),
            is_copying: progress.is_copying,
            oldest: progress.oldest,
            accepted: progress.accepted,
            had_all: progress.had_all.map(ago),
        };
        progress.sinks.iter().enumerate().map(known).map(current_at).collect()
    }

    /// Whether what existed may still be read for a sink; not if it waits for an operator.
    pub fn is_copying(&self, sink: usize) -> bool {
        let progress = self.progress.borrow();
        let sink = progress.sinks.get(sink).copied().unwrap_or_default();
        !sink.is_parked && (sink.is_copying || progress.answered_at.is_none())
    }

    /// Every sink is caught up except parked sinks.
    pub fn is_caught_up(&self) -> bool {
        self.progress.borrow().is_caught_up
    }

    /// Up to which log sequence number everything is stored in every sink; -1 if unknown.
    pub fn safe_lsn(&self) -> i64 {
        let progress = self.progress.borrow();
        progress.sinks.iter().filter_map(|sink| sink.stored_lsn).min().unwrap_or(-1)
    }

    /// Its sinks, in the order of the pipeline; `now` in seconds since the epoch.
    pub fn sink_statuses(&self, now: i64) -> Vec<SinkStatus> {
        let moment = Instant::now();
        let (start, head) = (self.start_lsn.load(Relaxed), self.head_lsn.load(Relaxed));
        let progress = self.progress.borrow();
        let answered = progress.answered_at;
        let status = |sink: &SinkProgress| {
            let is_caught_up = sink.is_caught_up;
            let since =
                |at: Option<Instant>| moment.saturating_duration_since(at.unwrap_or(self.began));
            let lag = if is_caught_up { Duration::ZERO } else { self.lag(sink, now).max(LEAST) };
            let behind = head - sink.stored_lsn.unwrap_or(start);
            let behind = if is_caught_up { 0 } else { behind.max(1) };
            let moved = if is_caught_up { answered } else { sink.moved_at };
            SinkStatus {
                is_caught_up,
                is_parked: sink.is_parked,
                lag,
                documents: u64::try_from(behind).ok().filter(|_| head >= 0),
                since_stored: since(sink.stored_at),
                since_progress: since(moved.max(sink.had_all)),
            }
        };
        progress.sinks.iter().map(status).collect()
    }

    /// The lag of a sink that is not caught up.
    fn lag(&self, sink: &SinkProgress, now: i64) -> Duration {
        let age = |at: i64| Duration::from_secs(u64::try_from(now - at).unwrap_or(0));
        if let Some(oldest) = sink.oldest {
            return age(oldest);
        }
        // Nothing known is missing: the lag is the age of what is known.
        let had_all = sink.had_all.map(|at| at.elapsed());
        let accepted = sink.accepted.map(age);
        had_all.into_iter().chain(accepted).min().unwrap_or_else(|| self.began.elapsed())
    }
}

/// A range whose progress a test writes, to show it to observers.
#[cfg(test)]
pub(crate) struct ScriptedRange {
    pub(crate) meter: std::sync::Arc<RangeMeter>,
    progress: watch::Sender<RangeProgress>,
}

#[cfg(test)]
impl ScriptedRange {
    /// With one sink, before the first answer.
    pub(crate) fn new() -> Self {
        let progress = watch::Sender::new(RangeProgress::new(1));
        let meter = RangeMeter::new("[,FF)", progress.subscribe());
        Self { meter: std::sync::Arc::new(meter), progress }
    }

    /// The feed was answered.
    pub(crate) fn answered(&self) {
        self.progress.send_modify(|progress| {
            progress.answered_at = Some(Instant::now());
            let sink = &mut progress.sinks[0];
            sink.is_caught_up = sink.oldest.is_none();
            progress.is_caught_up = sink.is_caught_up;
        });
    }

    /// The feed answered with an error.
    pub(crate) fn failed(&self) {
        self.progress.send_modify(|progress| {
            progress.is_caught_up = false;
            progress.sinks[0].is_caught_up = false;
        });
    }

    pub(crate) fn sink(&self, sink: SinkProgress) {
        self.progress.send_modify(|progress| {
            let had_all = sink.had_all.or(progress.sinks[0].had_all);
            progress.sinks[0] = SinkProgress { had_all, ..sink };
            progress.is_caught_up = sink.is_caught_up;
        });
    }
}
