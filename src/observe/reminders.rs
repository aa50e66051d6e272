//! When to tell again of something that lasts. Knows no words and no clock.

use std::time::Duration;

use tokio::time::Instant;

/// From the first line to the first reminder; each further one takes twice as long.
const FIRST: Duration = Duration::from_secs(30);

/// Between reminders, at most: whoever looks at the last hour of a log finds one.
const LONGEST: Duration = Duration::from_hours(1);

/// After so long without it, it is news again. What comes back sooner and then lasts as long is
/// told too, however late the next reminder would be.
const QUIET: Duration = Duration::from_mins(10);

/// Something that comes and goes, told at growing intervals while it does.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    lasting: Option<Lasting>,
    /// When it was last told.
    told: Option<Instant>,
    /// From then to the next time.
    interval: Duration,
    /// When it last happened.
    seen: Option<Instant>,
}

/// From when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting {
    pub(crate) since: Instant,
    /// How often it happened.
    pub(crate) times: u64,
    pub(crate) is_told: bool,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self { lasting: None, told: None, interval: FIRST, seen: None }
    }
}

impl LogThrottle {
    /// It happened. Returns what to tell, if that is due; `is_told` says whether it was told before.
    pub(crate) fn happened(&mut self, now: Instant) -> Option<Lasting> {
        let is_quiet = self.seen.is_none_or(|seen| now - seen >= QUIET);
        if self.lasting.is_none() && is_quiet {
            *self = Self::default();
        }
        self.seen = Some(now);
        let lasting = self.lasting.get_or_insert(Lasting { since: now, times: 0, is_told: false });
        lasting.times += 1;
        let is_due = self.told.is_none_or(|told| now - told >= self.interval);
        let is_overdue = !lasting.is_told && now - lasting.since >= QUIET;
        if !is_due && !is_overdue {
            return None;
        }
        let before = *lasting;
        lasting.is_told = true;
        if self.told.is_some() {
            self.interval = (self.interval * 2).min(LONGEST);
        }
        self.told = Some(now);
        Some(before)
    }

    /// It is over. Returns what it was, if it was.
    pub(crate) fn over(&mut self) -> Option<Lasting> {
        self.lasting.take()
    }

    /// From when it lasts.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.lasting.map(|lasting| lasting.since)
    }

    /// When it last happened, if it lasts.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.lasting.and(self.seen)
    }
}
