//! Which changes a backfill sends. A function of the change, except that it notes what was selected.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use cosmos_bridge_sink::Origin;

use super::sent::SentDocuments;
use crate::cosmos::{Page, Unreadable};
use crate::model::{Event, SourceChange};
use crate::route::Condition;

/// Which changes are wanted.
pub enum Wanted {
    /// Documents that were committed at `from` or later, in seconds since the epoch, and that fulfil the
    /// condition.
    Interval { from: Option<i64>, condition: Option<Condition> },
    /// Changes of documents that were sent before.
    Sent(Arc<SentDocuments>),
}

/// Selects changes, counts and notes them.
pub struct Selection {
    pub wanted: Wanted,
    /// What was committed at this time or later is left to the reader of the pages, in seconds since the epoch.
    pub until: AtomicI64,
    /// What was selected is noted here.
    pub sent: Option<Arc<SentDocuments>>,
    /// Changes that were selected. What is read twice counts twice.
    pub selected: AtomicU64,
}

impl Selection {
    pub fn new(wanted: Wanted, until: i64, sent: Option<Arc<SentDocuments>>) -> Self {
        let (until, selected) = (until.into(), AtomicU64::new(0));
        Self { wanted, until, sent, selected }
    }

    /// Leaves what is not wanted out of a page. What cannot be decided is unreadable.
    pub(super) fn apply(&self, page: &mut Page) {
        let read = page.changes.len() + page.unreadable.len();
        let mut undecided = Vec::new();
        page.changes.retain_mut(|change| match self.wants(change) {
            Ok(is_wanted) => is_wanted,
            Err(cause) => {
                undecided.push(unreadable(change, &cause));
                false
            }
        });
        page.unreadable.retain(|unreadable| self.is_in_reach(&unreadable.origin) != Some(false));
        page.unreadable.extend(undecided);
        let is_interval = matches!(self.wanted, Wanted::Interval { .. });
        for unreadable in &mut page.unreadable {
            // Told for every sink, also for one that wants no snapshot.
            unreadable.origin.is_snapshot = is_interval;
        }
        let kept = page.changes.len() + page.unreadable.len();
        page.left_out += read - kept;
        let origins = page.changes.iter().map(|change| &*change.origin);
        let selected = origins.filter(|origin| !self.is_late(origin));
        let mut count = page.unreadable.iter().filter(|one| !self.is_late(&one.origin)).count();
        for origin in selected {
            count += 1;
            if let Some(sent) = &self.sent {
                sent.insert(origin);
            }
        }
        self.selected.fetch_add(count as u64, Relaxed);
    }

    fn is_late(&self, origin: &Origin) -> bool {
        origin.committed_at.is_some_and(|at| at >= self.until.load(Relaxed))
    }

    /// Whether the change may be wanted, judged by its origin; `None` if the document decides.
    fn is_in_reach(&self, origin: &Origin) -> Option<bool> {
        if self.is_late(origin) {
            return Some(true);
        }
        match &self.wanted {
            Wanted::Interval { from, condition } => {
                let is_early = origin.committed_at.zip(*from).is_some_and(|(at, from)| at < from);
                if is_early { Some(false) } else { condition.is_none().then_some(true) }
            }
            Wanted::Sent(sent) => Some(sent.may_hold(origin)),
        }
    }

    fn wants(&self, change: &mut SourceChange) -> Result<bool, String> {
        let is_wanted = match (self.is_in_reach(&change.origin), &self.wanted) {
            (None, Wanted::Interval { condition: Some(condition), .. }) => {
                condition.holds(change)?
            }
            (is_wanted, _) => is_wanted.unwrap_or(true),
        };
        if is_wanted && matches!(self.wanted, Wanted::Interval { .. }) {
            Arc::make_mut(&mut change.origin).is_snapshot = true;
        }
        Ok(is_wanted)
    }
}

fn unreadable(change: &SourceChange, cause: &str) -> Unreadable {
    let document = match &change.event {
        Event::Upsert { current, .. } => current.text(),
        Event::Delete { .. } => Vec::new(),
    };
    let (origin, operation) = ((*change.origin).clone(), change.event.name());
    Unreadable { cause: format!("--where: {cause}"), origin, operation, document }
}

#[cfg(test)]
mod tests;
