//! Where positions are stored, and which writes a store must reject.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::error::StateError;
use crate::model::{FeedRange, LedgerEntry, Position, SourceIdentity, StoredPosition};

/// The outcome of a write of positions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum PositionWrite {
    /// Every position of the write is stored and survives the loss of power.
    Stored,
    /// Nothing was written: the writer does not own these positions any more, or never did.
    Lost(Conflict),
}

/// Why a store rejects a write of positions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("no position of sink `{sink}` is stored for range {range}: the range was replaced")]
    Replaced { sink: String, range: FeedRange },
    #[error(
        "the position of sink `{sink}` in range {range} would move back from {stored} to {offered}"
    )]
    Backwards { sink: String, range: FeedRange, stored: String, offered: String },
    #[error("the positions changed after the plan was made")]
    Replanned,
}

/// What is stored of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPipeline {
    /// Those of all sinks; none before the first start.
    pub positions: Vec<StoredPosition>,
    /// When the pipeline first started, in whole seconds.
    pub first_start: Timestamp,
    /// This is the first start.
    pub is_new: bool,
    /// By sink, the moment of which its stored positions are known to have everything, in seconds since the
    /// epoch.
    pub current_at: BTreeMap<String, i64>,
}

/// What is known of the sweeps of a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredSweep {
    /// How often its history was lost, and how many of these losses a sweep has repaired since.
    pub resyncs: i64,
    pub swept: i64,
    /// When a sweep last ended, or a schedule began; in seconds since the epoch.
    pub finished_at: Option<i64>,
}

/// Stores how far each sink has each feed range. It stores; it does not decide, except that it rejects
/// writes that would lose progress. The checks and the write are one transaction.
///
/// When a call returns [`PositionWrite::Stored`], what it wrote survives the loss of power.
#[async_trait]
pub trait PositionStore: Send + Sync {
    /// What is stored of the pipeline. At its first start, its source and the time are stored.
    async fn open(
        &self,
        pipeline: &str,
        source: &SourceIdentity,
    ) -> Result<StoredPipeline, StateError>;

    /// Replaces the positions of the sinks in `planned`, in the whole container. Other sinks keep
    /// what they have: they are not configured at the moment.
    ///
    /// Rejected unless the stored positions of these sinks are still those in `read`, which the plan
    /// was made from.
    async fn plan(
        &self,
        pipeline: &str,
        read: &[StoredPosition],
        planned: &[StoredPosition],
    ) -> Result<PositionWrite, StateError>;

    /// Records how far sinks have every change of a range: all of these positions, or none. With each, the
    /// ledger since the last position of that sink and range is added to what is stored, unless the position is
    /// stored already: that is a write that is repeated.
    ///
    /// Rejected by the rules of [`advance_conflict`].
    async fn advance(
        &self,
        pipeline: &str,
        positions: &[StoredPosition],
        ledgers: &[LedgerEntry],
    ) -> Result<PositionWrite, StateError>;

    /// Replaces the positions in `range` by those of its parts. Sinks without a position among the
    /// parts keep what they have. The ledgers of the range and `ledgers` are added to those of the past.
    ///
    /// Rejected by the rules of [`divide_conflict`].
    async fn divide(
        &self,
        pipeline: &str,
        range: &FeedRange,
        parts: &[StoredPosition],
        ledgers: &[LedgerEntry],
    ) -> Result<PositionWrite, StateError>;

    /// The ledgers of all sinks and feed ranges, since the first start.
    async fn ledgers(&self, pipeline: &str) -> Result<Vec<LedgerEntry>, StateError>;

    /// Stores, by sink, the moment of which its stored positions are known to have everything, in seconds
    /// since the epoch.
    async fn store_current(
        &self,
        pipeline: &str,
        current_at: &BTreeMap<String, i64>,
    ) -> Result<(), StateError>;

    /// Replaces the positions of sinks in a range, also by earlier ones, because the source has no history
    /// after them any more. With that, a sweep of these sinks is due.
    async fn resync(
        &self,
        pipeline: &str,
        range: &FeedRange,
        positions: &[StoredPosition],
    ) -> Result<PositionWrite, StateError>;

    /// By sink, what is known of its sweeps.
    async fn sweeps(&self, pipeline: &str) -> Result<BTreeMap<String, StoredSweep>, StateError>;

    /// Stores the losses that are repaired, and when a sweep ended.
    async fn note_swept(
        &self,
        pipeline: &str,
        sink: &str,
        swept: i64,
        finished_at: i64,
    ) -> Result<(), StateError>;
}

/// Why `new` must not take the place of `stored`, which is the position of the same sink and range.
///
/// | stored | new | |
/// |---|---|---|
/// | no row | anything | rejected: the range was replaced, and its row must not come back |
/// | no position | anything | accepted |
/// | a position | no position | rejected: it would start again |
/// | a position among the changes | one in what existed before them | rejected: that would be read again |
/// | a number | a number | accepted if not smaller |
/// | the same text | | accepted: a write that is repeated |
/// | two texts, one of which is no number | | accepted: their order is unknown, and the only writer of a range stores positions in the order of the feed |
pub fn advance_conflict(stored: Option<&Position>, new: &StoredPosition) -> Option<Conflict> {
    let (sink, range) = (&new.sink, &new.position.range);
    let Some(stored) = stored else {
        return Some(Conflict::Replaced { sink: sink.clone(), range: range.clone() });
    };
    if !moves_back(stored, &new.position) {
        return None;
    }
    let text = |position: &Position| {
        let etag = position.etag.as_deref().unwrap_or("the start");
        let phase = if position.stream_from.is_some() { " of the documents before" } else { "" };
        format!("{etag}{phase}")
    };
    Some(Conflict::Backwards {
        sink: sink.clone(),
        range: range.clone(),
        stored: text(stored),
        offered: text(&new.position),
    })
}

/// Why `part` must not take the place of `stored`, which is the position of the same sink in the whole
/// range: as in [`advance_conflict`], so that a division that comes late brings nothing back.
pub fn divide_conflict(
    whole: &FeedRange,
    stored: Option<&Position>,
    part: &StoredPosition,
) -> Option<Conflict> {
    if stored.is_none() {
        return Some(Conflict::Replaced { sink: part.sink.clone(), range: whole.clone() });
    }
    advance_conflict(stored, part)
}

fn moves_back(stored: &Position, new: &Position) -> bool {
    if stored.etag.is_some() && stored.stream_from.is_none() && new.stream_from.is_some() {
        return true;
    }
    match (&stored.etag, &new.etag) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(stored), Some(new)) if stored == new => false,
        _ => stored.lsn().zip(new.lsn()).is_some_and(|(stored, new)| new < stored),
    }
}

#[cfg(test)]
mod tests {
    use super::{Conflict, advance_conflict};
    use crate::model::{FeedRange, Position, StoredPosition};

    /// `ETAG`, or `ETAG from ETAG` of what existed at the start.
    fn position(text: &str) -> Position {
        let (etag, stream_from) =
            text.split_once(" from ").map_or((text, None), |(etag, from)| (etag, Some(from)));
        let etag = (!etag.is_empty()).then(|| etag.to_owned());
        let stream_from = stream_from.map(str::to_owned);
        Position { stream_from, ..Position::of(FeedRange::whole(), etag) }
    }

    #[test]
    fn a_position_is_written_unless_it_moves_back_or_its_range_was_replaced() {
        let cases = [
            (None, "", "replaced"),
            (None, "7", "replaced"),
            (Some(""), "", "stored"),
            (Some(""), "7", "stored"),
            (Some(""), "abc", "stored"),
            (Some("7"), "", "back"),
            (Some("abc"), "", "back"),
            (Some("7"), "7", "stored"),
            (Some("7"), "8", "stored"),
            (Some("\"7\""), "\"10\"", "stored"),
            (Some("8"), "7", "back"),
            (Some("\"10\""), "\"9\"", "back"),
            (Some("\"10\""), "9", "back"),
            (Some("abc"), "abc", "stored"),
            (Some("abc"), "abd", "stored"),
            (Some("abd"), "abc", "stored"),
            (Some("7"), "abc", "stored"),
            (Some("abc"), "7", "stored"),
            // What existed, and then the changes after 9.
            (Some(""), " from 9", "stored"),
            (Some(" from 9"), "4 from 9", "stored"),
            (Some("4 from 9"), "3 from 9", "back"),
            (Some("4 from 9"), " from 9", "back"),
            (Some("4 from 9"), "9", "stored"),
            (Some("9"), "9 from 9", "back"),
            (Some("9"), " from 9", "back"),
        ];
        for (stored, new, expected) in cases {
            let new = StoredPosition { sink: "a".to_owned(), position: position(new) };
            let found = match advance_conflict(stored.map(position).as_ref(), &new) {
                None => "stored",
                Some(Conflict::Replaced { .. }) => "replaced",
                Some(Conflict::Backwards { .. }) => "back",
                Some(Conflict::Replanned) => "replanned",
            };
            assert_eq!(found, expected, "{stored:?} {new:?}");
        }
    }
}
