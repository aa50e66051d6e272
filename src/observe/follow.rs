//! How one sink follows what a pipeline reads for all of its sinks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::meter::{parts, units};
use super::reminders::LogThrottle;
use crate::model::Stage;

/// One sink of one pipeline: what it got, what it holds in memory, and what is read again for it alone.
#[derive(Debug, Default)]
pub struct PipelineSinkMetrics {
    pub pipeline: String,
    pub sink: String,
    /// Changes that are durable.
    pub delivered: AtomicU64,
    /// Changes kept because they cannot be written, by [`Stage`].
    letters: [AtomicU64; 3],
    /// Bytes it may hold.
    limit: AtomicUsize,
    /// Bytes held now, and the most that ever were.
    spooled: AtomicUsize,
    most_spooled: AtomicUsize,
    /// Feed ranges that go without the shared reader, and those of them that are read again.
    behind: AtomicUsize,
    catching_up: AtomicUsize,
    /// What was read for this sink alone.
    pub reread: AtomicU64,
    pub reread_requests: AtomicU64,
    reread_charge: AtomicU64,
    /// From the first feed range that fell behind to the last that caught up.
    spell: Mutex<Spell>,
}

#[derive(Debug, Default)]
struct Spell {
    reminders: LogThrottle,
    began: Option<Began>,
}

#[derive(Clone, Copy, Debug)]
struct Began {
    at: Instant,
    reread: u64,
    requests: u64,
    charge: f64,
}

/// One look at a sink that goes its own way in at least one feed range.
#[derive(Clone, Debug, PartialEq)]
pub struct Straggler {
    pub pipeline: String,
    pub sink: String,
    pub ranges: usize,
    pub catching_up: usize,
    pub lag_seconds: u64,
    pub spooled: usize,
    /// Changes and request units, since the start.
    pub reread: u64,
    pub reread_charge: f64,
}

impl PipelineSinkMetrics {
    pub fn new(pipeline: &str, sink: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), sink: sink.to_owned(), ..Self::default() }
    }

    pub fn count_letter(&self, stage: Stage) {
        self.letters[stage as usize].fetch_add(1, Relaxed);
    }

    /// Changes kept because they cannot be written.
    pub fn dead_letters(&self) -> u64 {
        self.letters.iter().map(|letters| letters.load(Relaxed)).sum()
    }

    /// The same by the stage that gave them up.
    pub fn letters(&self) -> impl Iterator<Item = (Stage, u64)> {
        let count = |stage: Stage| (stage, self.letters[stage as usize].load(Relaxed));
        [Stage::Read, Stage::Route, Stage::Sink].into_iter().map(count)
    }

    /// How many bytes it may hold.
    pub fn may_spool(&self, bytes: usize) {
        self.limit.store(bytes, Relaxed);
    }

    pub fn spool_limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Bytes held now.
    pub fn in_spool(&self) -> usize {
        self.spooled.load(Relaxed)
    }

    /// Feed ranges that go without the shared reader.
    pub fn ranges_behind(&self) -> usize {
        self.behind.load(Relaxed)
    }

    /// Those of them that are read again.
    pub fn ranges_catching_up(&self) -> usize {
        self.catching_up.load(Relaxed)
    }

    pub fn spooled(&self, bytes: usize) {
        self.spooled.store(bytes, Relaxed);
        self.most_spooled.fetch_max(bytes, Relaxed);
    }

    /// The most bytes that were ever held.
    pub fn most_spooled(&self) -> usize {
        self.most_spooled.load(Relaxed)
    }

    pub fn count_reread(&self, changes: usize, charge: f64) {
        self.reread.fetch_add(changes as u64, Relaxed);
        self.reread_requests.fetch_add(1, Relaxed);
        self.reread_charge.fetch_add(parts(charge), Relaxed);
    }

    /// Request units.
    pub fn reread_charge(&self) -> f64 {
        units(self.reread_charge.load(Relaxed))
    }

    /// A feed range goes on without the shared reader, from `lsn` on. `error` is what the sink fails
    /// with, if it does.
    pub fn fell_behind(&self, range: &str, lsn: Option<i64>, why: &str, error: Option<&str>) {
        let mut spell = self.spell.lock();
        if self.behind.fetch_add(1, Relaxed) > 0 {
            return;
        }
        spell.began.get_or_insert_with(|| Began {
            at: Instant::now(),
            reread: self.reread.load(Relaxed),
            requests: self.reread_requests.load(Relaxed),
            charge: self.reread_charge(),
        });
        if spell.reminders.happened(Instant::now()).is_some() {
            let (pipeline, sink) = (&self.pipeline, &self.sink);
            warn!(
                pipeline,
                sink,
                range,
                lsn,
                why,
                error,
                "the sink falls behind; it goes on alone from where it stands, and others do not wait"
            );
        }
    }

    pub fn reads_again(&self) {
        self.catching_up.fetch_add(1, Relaxed);
    }

    pub fn stops_reading_again(&self) {
        self.catching_up.fetch_sub(1, Relaxed);
    }

    /// A feed range that was behind shares the reader again.
    pub fn rejoined(&self) {
        self.gone();
        self.follows();
    }

    /// A feed range that was behind is given up; its parts, or the next start, begin anew.
    pub fn gone(&self) {
        self.behind.fetch_sub(1, Relaxed);
    }

    /// A feed range shares the reader.
    pub fn follows(&self) {
        let mut spell = self.spell.lock();
        if self.behind.load(Relaxed) > 0 {
            return;
        }
        let Some(began) = spell.began.take() else { return };
        if spell.reminders.over().is_none_or(|lasting| !lasting.is_told) {
            return;
        }
        let (pipeline, sink) = (&self.pipeline, &self.sink);
        info!(
            pipeline,
            sink,
            read_again = self.reread.load(Relaxed) - began.reread,
            requests = self.reread_requests.load(Relaxed) - began.requests,
            ru = ((self.reread_charge() - began.charge) * 10.0).round() / 10.0,
            after_seconds = began.at.elapsed().as_secs_f64(),
            "the sink has caught up with the others"
        );
    }

    /// `None` while it follows in every feed range.
    pub fn straggler(&self, lag_seconds: u64) -> Option<Straggler> {
        let ranges = self.behind.load(Relaxed);
        (ranges > 0).then(|| Straggler {
            pipeline: self.pipeline.clone(),
            sink: self.sink.clone(),
            ranges,
            catching_up: self.catching_up.load(Relaxed),
            lag_seconds,
            spooled: self.spooled.load(Relaxed),
            reread: self.reread.load(Relaxed),
            reread_charge: self.reread_charge(),
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
    async fn a_sink_that_falls_behind_in_many_ranges_is_told_once_and_once_when_it_is_back() {
        let told = Lines::of(async {
            let meter = PipelineSinkMetrics::new("orders", "archive");
            meter.follows();
            for range in ["[,3F)", "[3F,FF)"] {
                meter.fell_behind(range, Some(7), "its memory is used up", Some("refused"));
            }
            assert_eq!(meter.straggler(3).map(|behind| behind.ranges), Some(2));
            meter.reads_again();
            meter.count_reread(100, 2.5);
            meter.stops_reading_again();
            advance(Duration::from_secs(90)).await;
            meter.rejoined();
            // The other range was divided; one of its parts begins behind the others.
            meter.gone();
            meter.fell_behind("[3F,7F)", Some(9), "it starts behind", None);
            meter.rejoined();
            assert_eq!(meter.straggler(0), None);
            // A sink that comes and goes does not fill the log.
            for _ in 0..100 {
                meter.fell_behind("[,3F)", None, "its memory is used up", None);
                advance(Duration::from_millis(10)).await;
                meter.rejoined();
            }
        });
        insta::assert_snapshot!(told.await, @r#"
        WARN the sink falls behind; it goes on alone from where it stands, and others do not wait pipeline="orders" sink="archive" range="[,3F)" lsn=7 why="its memory is used up" error="refused"
        WARN the sink falls behind; it goes on alone from where it stands, and others do not wait pipeline="orders" sink="archive" range="[3F,7F)" lsn=9 why="it starts behind"
        INFO the sink has caught up with the others pipeline="orders" sink="archive" read_again=100 requests=1 ru=2.5 after_seconds=90.0
        "#);
    }
}
