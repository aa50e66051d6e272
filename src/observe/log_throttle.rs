//! Decides when a lasting condition is logged again. Contains no texts and no clock.

use std::time::Duration;

use tokio::time::Instant;

/// From the first line to the first reminder; each further interval is twice as long.
const FIRST: Duration = Duration::from_secs(30);

/// The longest interval between reminders: the last hour of a log contains one.
const LONGEST: Duration = Duration::from_hours(1);

/// After this long without an occurrence, the next one is logged as new. A condition that returns
/// earlier and then lasts this long is logged too, however far away the next reminder is.
const QUIET: Duration = Duration::from_mins(10);

/// A condition that comes and goes, logged at growing intervals while it lasts.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    episode: Option<Episode>,
    last_logged: Option<Instant>,
    /// From `last_logged` to the next line.
    interval: Duration,
    last_occurrence: Option<Instant>,
}

/// The condition, from its first occurrence to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episode {
    pub(crate) since: Instant,
    pub(crate) occurrences: u64,
    pub(crate) is_logged: bool,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self { episode: None, last_logged: None, interval: FIRST, last_occurrence: None }
    }
}

impl LogThrottle {
    /// Counts an occurrence. Returns the episode if a line is due; its `is_logged` is false if this is
    /// its first line.
    pub(crate) fn on_occurrence(&mut self, now: Instant) -> Option<Episode> {
        let is_quiet = self.last_occurrence.is_none_or(|last| now - last >= QUIET);
        if self.episode.is_none() && is_quiet {
            *self = Self::default();
        }
        self.last_occurrence = Some(now);
        let new = Episode { since: now, occurrences: 0, is_logged: false };
        let episode = self.episode.get_or_insert(new);
        episode.occurrences += 1;
        let is_due = self.last_logged.is_none_or(|last| now - last >= self.interval);
        let is_overdue = !episode.is_logged && now - episode.since >= QUIET;
        if !is_due && !is_overdue {
            return None;
        }
        let before = *episode;
        episode.is_logged = true;
        if self.last_logged.is_some() {
            self.interval = (self.interval * 2).min(LONGEST);
        }
        self.last_logged = Some(now);
        Some(before)
    }

    /// Ends the episode if the next occurrence would be a new one.
    pub(crate) fn end_if_quiet(&mut self, now: Instant) {
        if self.last_occurrence().is_some_and(|last| now - last >= QUIET) {
            self.end();
        }
    }

    /// Ends the episode and returns it, if there is one.
    pub(crate) fn end(&mut self) -> Option<Episode> {
        self.episode.take()
    }

    /// When the current episode began.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.episode.map(|episode| episode.since)
    }

    /// The last occurrence of the current episode.
    pub(crate) fn last_occurrence(&self) -> Option<Instant> {
        self.episode.and(self.last_occurrence)
    }
}
