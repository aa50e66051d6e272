//! The changes for which reading may wait for a slow sink. A function of values.

/// A backlog is what the feed held at one moment: when reading began, or when it fell far behind after it had been
/// at the end. Changes that come later are live, also if reading never gets to the end of the feed: nothing waits
/// among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Backlog {
    /// Nothing was read yet.
    #[default]
    Unknown,
    /// Everything up to this log sequence number.
    UpTo(i64),
    /// It was read, and the end of the feed was not reached since.
    Read,
    /// The end of the feed was reached.
    AtEnd,
}

impl Backlog {
    /// Changes of the backlog that follow a page, in log sequence numbers: the page ends at `here`, and the newest
    /// change of the feed was `head`. `None` if the page is live.
    pub(super) fn left(self, here: i64, head: i64, window: usize) -> Option<u64> {
        let left = match self {
            Self::Unknown => head,
            Self::UpTo(end) => end,
            Self::AtEnd if is_far(here, head, window) => head,
            Self::AtEnd | Self::Read => return None,
        };
        Some(u64::try_from(left.saturating_sub(here)).unwrap_or(0))
    }

    /// Once such a page was taken.
    pub(super) fn after(self, here: i64, head: i64, window: usize) -> Self {
        match self {
            Self::UpTo(end) if here < end => self,
            _ if here >= head => Self::AtEnd,
            Self::Unknown => Self::UpTo(head),
            Self::AtEnd if is_far(here, head, window) => Self::UpTo(head),
            Self::AtEnd => Self::AtEnd,
            Self::UpTo(_) | Self::Read => Self::Read,
        }
    }
}

fn is_far(here: i64, head: i64, window: usize) -> bool {
    u64::try_from(head.saturating_sub(here)).is_ok_and(|behind| behind > window as u64)
}

#[cfg(test)]
mod tests {
    use super::Backlog::{self, AtEnd, Read, Unknown, UpTo};

    #[test]
    fn a_backlog_is_what_was_there_when_reading_began_or_fell_far_behind() {
        // The state, where the page ends, the newest change, what is left of the backlog, and the next state.
        let cases: [(Backlog, i64, i64, Option<u64>, Backlog); 14] = [
            (Unknown, 100, 9_000, Some(8_900), UpTo(9_000)),
            (Unknown, 100, 100, Some(0), AtEnd),
            // Live changes do not make it longer.
            (UpTo(9_000), 200, 9_500, Some(8_800), UpTo(9_000)),
            // Its last page belongs to it.
            (UpTo(9_000), 9_050, 9_900, Some(0), Read),
            (UpTo(9_000), 9_000, 9_000, Some(0), AtEnd),
            // What comes faster than it is read is no backlog, however much it is.
            (Read, 9_100, 90_000, None, Read),
            (Read, 9_100, 9_100, None, AtEnd),
            (AtEnd, 9_200, 9_300, None, AtEnd),
            (AtEnd, 9_200, 10_200, None, AtEnd),
            // A load of many changes at once.
            (AtEnd, 9_200, 10_201, Some(1_001), UpTo(10_201)),
            (AtEnd, 9_200, 50_000, Some(40_800), UpTo(50_000)),
            (AtEnd, 9_200, 9_200, None, AtEnd),
            // Numbers of another kind.
            (UpTo(9_000), 10_000, 9_500, Some(0), AtEnd),
            (AtEnd, 10_000, 9_500, None, AtEnd),
        ];
        for (state, here, head, left, next) in cases {
            assert_eq!(state.left(here, head, 1_000), left, "{state:?} {here} {head}");
            assert_eq!(state.after(here, head, 1_000), next, "{state:?} {here} {head}");
        }
    }
}
