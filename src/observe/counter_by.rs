//! Counters by the value of a label.

use prometheus_client::metrics::counter::Counter;

use crate::model::Label;

/// One counter for each value of a label, all present from the start.
#[derive(Debug)]
pub struct CounterBy<L>(Vec<(L, Counter)>);

impl<L: Label> CounterBy<L> {
    pub fn add(&self, label: L, count: u64) {
        for (_, counter) in self.0.iter().filter(|(known, _)| *known == label) {
            counter.inc_by(count);
        }
    }

    pub fn get(&self, label: L) -> u64 {
        self.iter().find(|(known, _)| *known == label).map_or(0, |(_, count)| count)
    }

    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> {
        self.0.iter().map(|(label, counter)| (*label, counter.get()))
    }
}

impl<L: Label> Default for CounterBy<L> {
    fn default() -> Self {
        Self(L::ALL.iter().map(|label| (*label, Counter::default())).collect())
    }
}
