//! Whether a pipeline has caught up, and whether it has reached its end: decided here, and published.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::model::RangeProgress;

/// The feed ranges of a pipeline, and whether each has caught up.
pub(super) struct PipelineProgress {
    ranges: Mutex<Ranges>,
    caught_up: watch::Sender<bool>,
    at_end: watch::Sender<bool>,
}

#[derive(Default)]
struct Ranges {
    next: u64,
    /// By number.
    known: BTreeMap<u64, Known>,
    /// Sinks that have to be swept before the pipeline has caught up.
    sweeps: usize,
    has_ended: bool,
}

/// What is known of one feed range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    is_caught_up: bool,
    is_at_end: bool,
}

impl Default for PipelineProgress {
    fn default() -> Self {
        let no = || watch::Sender::new(false);
        Self { ranges: Mutex::default(), caught_up: no(), at_end: no() }
    }
}

impl PipelineProgress {
    /// True while every feed range has caught up and no sink has to be swept, and once the pipeline has ended.
    pub(super) fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.subscribe()
    }

    /// Completes once every feed range has all that is before the end of the pipeline, and no sink has to be swept.
    pub(super) async fn at_end(&self) {
        // The sender lives as long as `self`.
        self.at_end.subscribe().wait_for(|is_at_end| *is_at_end).await.ok();
    }

    /// Puts `count` new ranges in the place of an old one, in one step: at no moment are there neither.
    pub(super) fn replace(
        self: &Arc<Self>,
        old: Option<u64>,
        count: usize,
        sinks: usize,
    ) -> Vec<RangeReporter> {
        let mut ranges = self.lock();
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            numbers.push(ranges.next);
            let next = ranges.next;
            ranges.known.insert(next, Known::default());
            ranges.next += 1;
        }
        if let Some(old) = old {
            ranges.known.remove(&old);
        }
        self.publish(&ranges);
        let reporter = |number| RangeReporter {
            number,
            published: Known::default(),
            range: watch::Sender::new(RangeProgress::new(sinks)),
            pipeline: Arc::clone(self),
        };
        numbers.into_iter().map(reporter).collect()
    }

    /// The pipeline has not caught up while any sink has to be swept.
    pub(super) fn set_sweeps(&self, sinks: usize) {
        let mut ranges = self.lock();
        ranges.sweeps = sinks;
        self.publish(&ranges);
    }

    /// The range is read again from an earlier position.
    pub(super) fn reopen(&self, number: u64) {
        self.set(number, Known::default());
    }

    /// Nothing of the pipeline runs any more.
    pub(super) fn end(&self) {
        let mut ranges = self.lock();
        ranges.has_ended = true;
        self.publish(&ranges);
    }

    fn set(&self, number: u64, known: Known) {
        let mut ranges = self.lock();
        if let Some(range) = ranges.known.get_mut(&number) {
            *range = known;
        }
        self.publish(&ranges);
    }

    fn publish(&self, ranges: &Ranges) {
        let all = |is_so: fn(&Known) -> bool| {
            ranges.sweeps == 0 && !ranges.known.is_empty() && ranges.known.values().all(is_so)
        };
        let set = |to: &watch::Sender<bool>, now: bool| {
            to.send_if_modified(|before| std::mem::replace(before, now) != now);
        };
        set(&self.caught_up, ranges.has_ended || all(|range| range.is_caught_up));
        set(&self.at_end, all(|range| range.is_at_end));
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        self.ranges.lock()
    }
}

/// Publishes the progress of one feed range.
pub(super) struct RangeReporter {
    number: u64,
    published: Known,
    range: watch::Sender<RangeProgress>,
    pipeline: Arc<PipelineProgress>,
}

impl RangeReporter {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// For observers of the range.
    pub(super) fn subscribe(&self) -> watch::Receiver<RangeProgress> {
        self.range.subscribe()
    }

    /// Publishes what `write` writes down.
    pub(super) fn report(&mut self, write: impl FnOnce(&mut RangeProgress)) {
        let mut known = Known::default();
        self.range.send_modify(|progress| {
            write(progress);
            let RangeProgress { is_caught_up, has_ended: is_at_end, .. } = *progress;
            known = Known { is_caught_up, is_at_end };
        });
        if known != self.published {
            self.published = known;
            self.pipeline.set(self.number, known);
        }
    }
}
