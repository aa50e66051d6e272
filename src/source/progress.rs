//! Whether a pipeline has caught up: decided here, and published.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::model::RangeProgress;

/// The feed ranges of a pipeline, and whether each has caught up.
pub(super) struct PipelineProgress {
    ranges: Mutex<Ranges>,
    caught_up: watch::Sender<bool>,
}

#[derive(Default)]
struct Ranges {
    next: u64,
    /// By number.
    caught_up: BTreeMap<u64, bool>,
    has_ended: bool,
}

impl Default for PipelineProgress {
    fn default() -> Self {
        Self { ranges: Mutex::default(), caught_up: watch::Sender::new(false) }
    }
}

impl PipelineProgress {
    /// True while every feed range has caught up, and once the pipeline has ended.
    pub(super) fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.subscribe()
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
            ranges.caught_up.insert(next, false);
            ranges.next += 1;
        }
        if let Some(old) = old {
            ranges.caught_up.remove(&old);
        }
        self.publish(&ranges);
        let reporter = |number| RangeReporter {
            number,
            was_caught_up: false,
            range: watch::Sender::new(RangeProgress::new(sinks)),
            pipeline: Arc::clone(self),
        };
        numbers.into_iter().map(reporter).collect()
    }

    /// Nothing of the pipeline runs any more.
    pub(super) fn end(&self) {
        let mut ranges = self.lock();
        ranges.has_ended = true;
        self.publish(&ranges);
    }

    fn set(&self, number: u64, is_caught_up: bool) {
        let mut ranges = self.lock();
        if let Some(range) = ranges.caught_up.get_mut(&number) {
            *range = is_caught_up;
        }
        self.publish(&ranges);
    }

    fn publish(&self, ranges: &Ranges) {
        let all = ranges.caught_up.values().all(|is_caught_up| *is_caught_up);
        let is_caught_up = ranges.has_ended || (!ranges.caught_up.is_empty() && all);
        self.caught_up
            .send_if_modified(|before| std::mem::replace(before, is_caught_up) != is_caught_up);
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        self.ranges.lock()
    }
}

/// Publishes the progress of one feed range.
pub(super) struct RangeReporter {
    number: u64,
    was_caught_up: bool,
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
        let mut is_caught_up = false;
        self.range.send_modify(|progress| {
            write(progress);
            is_caught_up = progress.is_caught_up;
        });
        if is_caught_up != self.was_caught_up {
            self.was_caught_up = is_caught_up;
            self.pipeline.set(self.number, is_caught_up);
        }
    }
}
