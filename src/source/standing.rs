//! Where a sink stands to the shared read of its feed range. Values in, values out.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::config::{SlowSinks, Start};
use crate::model::Position;

/// Whose pages a sink gets.
#[derive(Debug)]
pub(super) enum Standing {
    /// Those of the reader that all share.
    Attached,
    /// None: it goes on with what it holds.
    Behind(Behind),
    /// Those of a reader of its own.
    CatchingUp(OwnReader),
    /// None any more: going on needs a person.
    Parked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Until it has worked down half of the bytes it held, which shows that its sink is alive.
    Draining { held: usize },
    /// It held nothing of this range: until its sink, which had given back so many bytes, gives back
    /// more, of whatever range.
    Elsewhere { freed: usize },
    /// Until the shared reader meets the split that its own one has met.
    BeforeSplit,
}

/// A sink's own reader; dismissed when dropped.
#[derive(Debug)]
pub(super) struct OwnReader {
    /// Tells its pages from those of an earlier one.
    pub(super) epoch: u64,
    pub(super) window: Arc<Semaphore>,
    pub(super) task: AbortHandle,
}

impl Drop for OwnReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Standing {
    pub(super) fn is_attached(&self) -> bool {
        matches!(self, Self::Attached)
    }

    pub(super) fn is_parked(&self) -> bool {
        matches!(self, Self::Parked)
    }

    pub(super) fn waits_for_split(&self) -> bool {
        matches!(self, Self::Behind(Behind::BeforeSplit))
    }

    /// Whether pages of this epoch's own reader are awaited.
    pub(super) fn reads(&self, epoch: u64) -> bool {
        matches!(self, Self::CatchingUp(reader) if reader.epoch == epoch)
    }
}

impl Behind {
    /// Whether reading on is of use for a sink that holds so many bytes of this range, and that has
    /// given back so many of whatever range.
    pub(super) fn may_read(self, held: usize, freed: usize) -> bool {
        match self {
            Self::Draining { held: then } => held <= then / 2,
            Self::Elsewhere { freed: then } => freed > then,
            Self::BeforeSplit => false,
        }
    }
}

/// Whether a reader that got to `own` has nothing left to read that the one at `shared` has.
pub(super) fn has_reached(own: &Position, shared: &Position) -> bool {
    match (own.lsn(), shared.lsn()) {
        (Some(own), Some(shared)) => own >= shared,
        _ => own.etag.is_some() && own.etag == shared.etag,
    }
}

/// How the sinks of a feed range begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineUp {
    /// Where the shared reader begins.
    pub(super) from: Position,
    /// Which sinks it reads for; the others catch up by themselves.
    pub(super) attached: Vec<bool>,
}

/// Lines up sinks that stand at these positions, all of one range; there is at least one.
///
/// Whoever is at most `window` behind the first is waited for: to read that again is cheaper than
/// two readers. With [`SlowSinks::HoldAll`] everybody is. Positions that cannot be compared are
/// never read by one reader, because it would have to begin before both.
pub(super) fn line_up(leaf: &[Position], start: &Start, slow: SlowSinks, window: usize) -> LineUp {
    let lsn = |slice: &Position| match (&slice.etag, start) {
        (None, Start::Beginning) => Some(0),
        _ => slice.lsn(),
    };
    let reach = match slow {
        SlowSinks::FallBehind => i64::try_from(window).unwrap_or(i64::MAX),
        SlowSinks::HoldAll => i64::MAX,
    };
    let Some(first) = leaf.iter().filter_map(lsn).max() else {
        let attached = leaf.iter().map(|slice| slice.etag == leaf[0].etag).collect();
        return LineUp { from: leaf[0].clone(), attached };
    };
    let is_near =
        |slice: &Position| lsn(slice).is_some_and(|lsn| first.saturating_sub(lsn) <= reach);
    let near = leaf.iter().filter(|slice| is_near(slice));
    let from = near.min_by_key(|slice| lsn(slice)).unwrap_or(&leaf[0]).clone();
    LineUp { from, attached: leaf.iter().map(is_near).collect() }
}

#[cfg(test)]
mod tests {
    use super::{Behind, LineUp, has_reached, line_up};
    use crate::config::{SlowSinks, Start};
    use crate::model::{FeedRange, Position};

    fn slice(etag: &str) -> Position {
        let etag = (!etag.is_empty()).then(|| etag.to_owned());
        Position { range: FeedRange::whole(), etag }
    }

    #[test]
    fn sinks_that_are_close_together_share_a_reader() {
        type Case<'a> = (&'a Start, SlowSinks, &'a [&'a str], &'a str, &'a [u8]);
        use SlowSinks::{FallBehind, HoldAll};
        let time = Start::Time(jiff::Timestamp::UNIX_EPOCH);
        let from = |start: &Start, slow, leaf: &[&str]| {
            let leaf: Vec<_> = leaf.iter().map(|etag| slice(etag)).collect();
            let LineUp { from, attached } = line_up(&leaf, start, slow, 100);
            let attached: Vec<_> = attached.into_iter().map(u8::from).collect();
            (from.etag.unwrap_or_default(), attached)
        };
        let beginning = &Start::Beginning;
        let cases: &[Case<'_>] = &[
            (beginning, FallBehind, &[""], "", &[1]),
            (beginning, FallBehind, &["", ""], "", &[1, 1]),
            (beginning, FallBehind, &["500", "400", "399"], "400", &[1, 1, 0]),
            (beginning, HoldAll, &["500", "400", "399"], "399", &[1, 1, 1]),
            // A new sink, of a container with much or with little in it.
            (beginning, FallBehind, &["500", ""], "500", &[1, 0]),
            (beginning, FallBehind, &["99", ""], "", &[1, 1]),
            (beginning, HoldAll, &["500", ""], "", &[1, 1]),
            // Nobody knows what a time is as a number.
            (&time, FallBehind, &["99", ""], "99", &[1, 0]),
            (&time, HoldAll, &["99", ""], "99", &[1, 0]),
            (&time, FallBehind, &["", ""], "", &[1, 1]),
            (&Start::Now, FallBehind, &["", ""], "", &[1, 1]),
            // Positions that are no numbers.
            (beginning, HoldAll, &["a", "b", "a"], "a", &[1, 0, 1]),
            (beginning, FallBehind, &["7", "b"], "7", &[1, 0]),
        ];
        for (start, slow, leaf, etag, attached) in cases {
            let expected = ((*etag).to_owned(), attached.to_vec());
            assert_eq!(from(start, *slow, leaf), expected, "{start:?} {slow:?} {leaf:?}");
        }
    }

    #[test]
    fn a_reader_has_reached_another_at_its_position_or_behind_it() {
        let cases = [
            ("7", "7", true),
            ("8", "7", true),
            ("6", "7", false),
            ("a", "a", true),
            ("a", "b", false),
            ("", "", false),
            ("", "7", false),
            ("7", "", false),
        ];
        for (own, shared, reached) in cases {
            assert_eq!(has_reached(&slice(own), &slice(shared)), reached, "{own} {shared}");
        }
    }

    #[test]
    fn a_sink_is_read_for_once_it_has_shown_that_it_is_alive() {
        let cases = [
            (Behind::Draining { held: 0 }, 0, 0, true),
            (Behind::Draining { held: 100 }, 51, 49, false),
            (Behind::Draining { held: 100 }, 50, 50, true),
            (Behind::Elsewhere { freed: 7 }, 0, 7, false),
            (Behind::Elsewhere { freed: 7 }, 0, 8, true),
            (Behind::BeforeSplit, 0, 8, false),
        ];
        for (behind, held, freed, may) in cases {
            assert_eq!(behind.may_read(held, freed), may, "{behind:?} {held} {freed}");
        }
    }
}
