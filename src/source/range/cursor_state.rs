//! How a sink follows the shared reader of its feed range, and how sinks start. Values in, values out.

use crate::config::{SlowSinks, Start};
use crate::model::Position;

/// Which reader a sink gets its pages from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CursorState {
    /// From the shared reader.
    Following,
    /// From none: it works on what it holds until it has shown that its sink makes progress.
    Draining(SignOfLife),
    /// From its own reader, which has this number.
    CatchingUp { reader: u64 },
    /// From none: its own reader has met a split that the shared reader has not reached yet.
    AwaitingSplit,
    /// From none any more: needs operator action.
    Parked,
}

/// What shows that a sink makes progress, so that it is worth reading for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignOfLife {
    /// It has worked off half of the bytes that it held of this range.
    HalfDone { held: usize },
    /// It held nothing of this range: the sink has freed more than `freed` bytes, in any range.
    ///
    /// `freed` comes from the same look at the buffer that found it full. So the bytes that fill it are
    /// freed later, and the number grows.
    Freed { freed: u64 },
}

impl CursorState {
    pub(super) fn is_following(self) -> bool {
        self == Self::Following
    }

    /// Whether it gets its pages from its own reader with this number.
    pub(super) fn reads(self, number: u64) -> bool {
        self == Self::CatchingUp { reader: number }
    }
}

impl SignOfLife {
    /// `held`: bytes of this range; `freed`: bytes that the sink has freed so far, in any range.
    pub(super) fn is_shown(self, held: usize, freed: u64) -> bool {
        match self {
            Self::HalfDone { held: then } => held <= then / 2,
            Self::Freed { freed: then } => freed > then,
        }
    }
}

/// Whether a reader at `own` has nothing left to read that the reader at `shared` has read.
pub(super) fn has_reached(own: &Position, shared: &Position) -> bool {
    let has_read = match (own.lsn(), shared.lsn()) {
        (Some(own), Some(shared)) => own >= shared,
        _ => own.etag.is_some() && own.etag == shared.etag,
    };
    has_read && can_follow(own, shared)
}

/// Whether a sink at `own`, which has what the reader at `shared` has read, can be given what that reads on.
///
/// While what existed is read, up to a moment, only those that read up to the same moment can; and those that
/// have read all changes up to it. Another one would miss deletes between the two moments: if not at once then
/// after a crash, when it reads again from its stored position.
fn can_follow(own: &Position, shared: &Position) -> bool {
    own.stream_from == shared.stream_from
        || own.stream_from.is_none()
            && shared.stream_from.is_some()
            && own.lsn() >= shared.changes_after_lsn()
}

/// How the sinks of a feed range start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StartPlan {
    /// Where the shared reader starts.
    pub(super) from: Position,
    /// Which sinks follow it; the others catch up by themselves.
    pub(super) follows: Vec<bool>,
}

/// Plans the start of sinks at these positions, all of one range; there is at least one.
///
/// Sinks that are at most `window` behind the furthest start with the shared reader: to read that part
/// again is cheaper than two readers. With [`SlowSinks::HoldAll`] all of them do. Positions that cannot
/// be compared are never read by one reader, because it would have to start before both.
pub(super) fn plan_start(
    positions: &[Position],
    start: &Start,
    slow: SlowSinks,
    window: usize,
) -> StartPlan {
    let lsn = |position: &Position| match (&position.etag, start) {
        (None, Start::Beginning) => Some(0),
        _ => position.lsn(),
    };
    let reach = match slow {
        SlowSinks::FallBehind => i64::try_from(window).unwrap_or(i64::MAX),
        SlowSinks::HoldAll => i64::MAX,
    };
    let Some(furthest) = positions.iter().filter_map(lsn).max() else {
        let follows = positions.iter().map(|p| p.etag == positions[0].etag).collect();
        return StartPlan { from: positions[0].clone(), follows };
    };
    let is_near = |position: &Position| {
        lsn(position).is_some_and(|lsn| furthest.saturating_sub(lsn) <= reach)
    };
    let near = positions.iter().filter(|position| is_near(position));
    let from = near.min_by_key(|position| lsn(position)).unwrap_or(&positions[0]).clone();
    let follows = |position| is_near(position) && can_follow(position, &from);
    StartPlan { follows: positions.iter().map(follows).collect(), from }
}

#[cfg(test)]
mod tests {
    use super::{SignOfLife, StartPlan, has_reached, plan_start};
    use crate::config::{SlowSinks, Start};
    use crate::model::{FeedRange, Position};

    /// `ETAG`, or `ETAG from ETAG` of what existed at the start.
    fn position(text: &str) -> Position {
        let (etag, stream_from) =
            text.split_once(" from ").map_or((text, None), |(etag, from)| (etag, Some(from)));
        let etag = (!etag.is_empty()).then(|| etag.to_owned());
        let stream_from = stream_from.map(str::to_owned);
        Position { stream_from, ..Position::of(FeedRange::whole(), etag) }
    }

    fn text(position: &Position) -> String {
        let etag = position.etag.clone().unwrap_or_default();
        position.stream_from.as_ref().map_or(etag.clone(), |from| format!("{etag} from {from}"))
    }

    #[test]
    fn sinks_that_are_close_together_share_a_reader() {
        type Case<'a> = (&'a Start, SlowSinks, &'a [&'a str], &'a str, &'a [u8]);
        use SlowSinks::{FallBehind, HoldAll};
        let time = Start::Time(jiff::Timestamp::UNIX_EPOCH);
        let plan = |start: &Start, slow, positions: &[&str]| {
            let positions: Vec<_> = positions.iter().map(|etag| position(etag)).collect();
            let StartPlan { from, follows } = plan_start(&positions, start, slow, 100);
            let follows: Vec<_> = follows.into_iter().map(u8::from).collect();
            (text(&from), follows)
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
            // The number of a time is unknown.
            (&time, FallBehind, &["99", ""], "99", &[1, 0]),
            (&time, HoldAll, &["99", ""], "99", &[1, 0]),
            (&time, FallBehind, &["", ""], "", &[1, 1]),
            (&Start::Now, FallBehind, &["", ""], "", &[1, 1]),
            // Positions that are no numbers.
            (beginning, HoldAll, &["a", "b", "a"], "a", &[1, 0, 1]),
            (beginning, FallBehind, &["7", "b"], "7", &[1, 0]),
            // What existed, and then the changes.
            (beginning, FallBehind, &[" from 900", " from 900"], " from 900", &[1, 1]),
            (beginning, FallBehind, &["900", " from 900"], "900", &[1, 0]),
            (beginning, FallBehind, &["900", "850 from 900"], "850 from 900", &[1, 1]),
            (beginning, FallBehind, &["95", "90", " from 90"], " from 90", &[1, 1, 1]),
            // It would miss deletes between 40 and 90, or between 70 and 90.
            (beginning, FallBehind, &["40", " from 90"], " from 90", &[0, 1]),
            (beginning, FallBehind, &["7 from 70", "5 from 90"], "5 from 90", &[0, 1]),
            (beginning, HoldAll, &["500", "7 from 900", "8 from 600"], "7 from 900", &[0, 1, 0]),
            (beginning, FallBehind, &["40", "45 from 90"], "40", &[1, 0]),
        ];
        for (start, slow, positions, from, follows) in cases {
            let expected = ((*from).to_owned(), follows.to_vec());
            assert_eq!(plan(start, *slow, positions), expected, "{start:?} {slow:?} {positions:?}");
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
            ("7 from 9", "7 from 9", true),
            ("8 from 9", "7 from 9", true),
            ("6 from 9", "7 from 9", false),
            // Deletes after 8 and up to 9 would be left out, or after a crash.
            ("7 from 8", "7 from 9", false),
            ("7 from 9", "7 from 8", false),
            ("8", "7 from 9", false),
            ("9", "7 from 9", true),
            ("7 from 9", "7", false),
            ("8", "7", true),
        ];
        for (own, shared, reached) in cases {
            assert_eq!(has_reached(&position(own), &position(shared)), reached, "{own} {shared}");
        }
    }

    #[test]
    fn a_sink_is_read_for_once_it_has_shown_that_it_makes_progress() {
        let cases = [
            (SignOfLife::HalfDone { held: 0 }, 0, 0, true),
            (SignOfLife::HalfDone { held: 100 }, 51, 49, false),
            (SignOfLife::HalfDone { held: 100 }, 50, 50, true),
            (SignOfLife::Freed { freed: 7 }, 0, 7, false),
            (SignOfLife::Freed { freed: 7 }, 0, 8, true),
        ];
        for (sign, held, freed, is_shown) in cases {
            assert_eq!(sign.is_shown(held, freed), is_shown, "{sign:?} {held} {freed}");
        }
    }
}
