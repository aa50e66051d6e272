//! Decides when a lasting condition or a repeated event is logged again. Contains no texts.

use std::time::Duration;

use tokio::time::Instant;

use crate::mutex::Mutex;

/// From the first line to the first reminder; each further interval is twice as long.
const FIRST: Duration = Duration::from_secs(30);

/// The longest interval between reminders: the last hour of a log contains one.
const LONGEST: Duration = Duration::from_hours(1);

/// After this long without an occurrence, the next one is logged as new. A condition that returns
/// earlier and then lasts this long is logged too, however far away the next reminder is.
const QUIET: Duration = Duration::from_mins(10);

/// A condition that comes and goes, logged at growing intervals while it lasts.
#[derive(Debug)]
pub struct LogThrottle {
    episode: Option<Episode>,
    last_logged: Option<Instant>,
    /// From `last_logged` to the next line.
    interval: Duration,
    last_occurrence: Option<Instant>,
    /// Occurrences since `last_logged`, of all episodes.
    not_logged: u64,
}

/// The condition, from its first occurrence to its end.
#[derive(Clone, Copy, Debug)]
pub struct Episode {
    pub since: Instant,
    pub occurrences: u64,
    pub is_logged: bool,
    /// Occurrences since the last line, also of earlier episodes, that have no line of their own.
    pub not_logged: u64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self {
            episode: None,
            last_logged: None,
            interval: FIRST,
            last_occurrence: None,
            not_logged: 0,
        }
    }
}

impl LogThrottle {
    /// Counts an occurrence. Returns the episode if a line is due; its `is_logged` is false if this is
    /// its first line.
    pub fn on_occurrence(&mut self, now: Instant) -> Option<Episode> {
        let is_quiet = self.last_occurrence.is_none_or(|last| now - last >= QUIET);
        if self.episode.is_none() && is_quiet {
            *self = Self { not_logged: self.not_logged, ..Self::default() };
        }
        self.last_occurrence = Some(now);
        let new = Episode { since: now, occurrences: 0, is_logged: false, not_logged: 0 };
        let episode = self.episode.get_or_insert(new);
        episode.occurrences += 1;
        let is_due = self.last_logged.is_none_or(|last| now - last >= self.interval);
        let is_overdue = !episode.is_logged && now - episode.since >= QUIET;
        if !is_due && !is_overdue {
            self.not_logged += 1;
            return None;
        }
        let before = Episode { not_logged: std::mem::take(&mut self.not_logged), ..*episode };
        episode.is_logged = true;
        if self.last_logged.is_some() {
            self.interval = (self.interval * 2).min(LONGEST);
        }
        self.last_logged = Some(now);
        Some(before)
    }

    /// Ends the episode if the next occurrence would be a new one.
    pub fn end_if_quiet(&mut self, now: Instant) {
        if self.last_occurrence().is_some_and(|last| now - last >= QUIET) {
            self.end();
        }
    }

    /// Ends the episode and returns it, if there is one.
    pub fn end(&mut self) -> Option<Episode> {
        self.episode.take()
    }

    /// When the current episode began.
    pub fn since(&self) -> Option<Instant> {
        self.episode.map(|episode| episode.since)
    }

    /// The last occurrence of the current episode.
    pub fn last_occurrence(&self) -> Option<Instant> {
        self.episode.and(self.last_occurrence)
    }
}

/// A line that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The events since the last line, which have none; `None` instead of 0, so that the field is absent.
    pub not_logged: Option<u64>,
}

/// Events that may be repeated at any rate, for one kind of log line: the first is logged, then one at each
/// growing interval. An event after a quiet time is logged as the first.
#[derive(Debug, Default)]
pub struct EventLog(Mutex<LogThrottle>);

impl EventLog {
    /// Counts an event. `Some` if its line is due.
    pub fn due(&self) -> Option<Due> {
        let now = Instant::now();
        let mut throttle = self.0.lock();
        throttle.end_if_quiet(now);
        let episode = throttle.on_occurrence(now)?;
        Some(Due { not_logged: Some(episode.not_logged).filter(|events| *events > 0) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::EventLog;

    /// Rows: events, milliseconds between them, the pause after them in minutes, and what their lines say:
    /// seconds since the start, and the events without a line.
    #[tokio::test(start_paused = true)]
    async fn repeated_events_are_a_few_lines_that_count_the_others() {
        let start = Instant::now();
        let log = EventLog::default();
        let mut counted = 0;
        for (events, every, pause, expected) in [
            (1, 0, 5, vec![(0, None)]),
            // Not new yet, and the interval is over.
            (1, 0, 10, vec![(300, None)]),
            (5000, 20, 9, vec![(900, None), (930, Some(1499)), (990, Some(2999))]),
            // The next line is due at the interval of the last one, and counts what came before.
            (2, 1000, 10, vec![(1540, Some(499))]),
            // The others of the last row are counted in the first line after a quiet time.
            (1, 0, 0, vec![(2142, Some(1))]),
        ] {
            let mut lines = Vec::new();
            for _ in 0..events {
                if let Some(super::Due { not_logged }) = log.due() {
                    lines.push((start.elapsed().as_secs(), not_logged));
                    counted += 1 + not_logged.unwrap_or(0);
                }
                advance(Duration::from_millis(every)).await;
            }
            advance(Duration::from_mins(pause)).await;
            assert_eq!(lines, expected, "{events} events");
        }
        assert_eq!(counted, 1 + 1 + 5000 + 2 + 1);
    }
}
