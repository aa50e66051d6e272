//! Which version of which source document the target holds, and what a change may do to it.

use std::hash::{DefaultHasher, Hash, Hasher};

use cosmos_bridge_sink::{Change, Operation};

use crate::OnCollision;

/// A version of a source document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceVersion {
    document: u64,
    /// Log sequence number, and place among the changes of one transaction.
    number: Option<(i64, u32)>,
    /// Seconds since the Unix epoch.
    committed_at: Option<i64>,
}

/// What a change may do to a target document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Write,
    /// The target is later already, or the delete is of another source document.
    Superseded,
    /// The document was written from another source document, and the change may take its place.
    Takeover,
    /// The document was written from another source document, and the change is older.
    Collision,
    /// As above, and the change must not take its place.
    Refused,
    /// As above, and the feed range waits for an operator.
    Held,
}

impl SourceVersion {
    pub(crate) fn of(change: &Change) -> Self {
        let origin = &change.origin;
        Self {
            document: hash(&(&origin.container, &origin.partition_key, &origin.id)),
            number: origin.lsn.map(|lsn| (lsn, origin.nth)),
            committed_at: origin.committed_at,
        }
    }

    /// Whether `change` may replace or delete the document of this version.
    pub(crate) fn judge(self, change: &Change, on_collision: OnCollision) -> Verdict {
        let new = Self::of(change);
        if new.document == self.document {
            return if new.is_older_than(self) { Verdict::Superseded } else { Verdict::Write };
        }
        match (&change.operation, on_collision) {
            // The copy of this source document is gone already.
            (Operation::Delete { .. }, _) => Verdict::Superseded,
            (Operation::Upsert { .. }, OnCollision::DeadLetter) => Verdict::Refused,
            (Operation::Upsert { .. }, OnCollision::Error) => Verdict::Held,
            (Operation::Upsert { .. }, OnCollision::Newest) => {
                let times = new.committed_at.zip(self.committed_at);
                let is_older = times.is_some_and(|(new, old)| new < old);
                if is_older { Verdict::Collision } else { Verdict::Takeover }
            }
        }
    }

    /// True only if number and time agree: numbers can start again after a merge or a restore, and
    /// clocks differ between regions.
    fn is_older_than(self, other: Self) -> bool {
        self.number.zip(other.number).is_some_and(|(one, other)| one < other)
            && self.committed_at.zip(other.committed_at).is_some_and(|(one, other)| one <= other)
    }
}

pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cosmos_bridge_sink::Change;

    use super::{SourceVersion, Verdict};
    use crate::OnCollision::{self, DeadLetter, Error, Newest};
    use crate::fixtures::{delete, upsert};

    fn with(mut change: Change, lsn: Option<i64>, nth: u32, committed_at: Option<i64>) -> Change {
        let origin = Arc::make_mut(&mut change.origin);
        (origin.lsn, origin.nth, origin.committed_at) = (lsn, nth, committed_at);
        change
    }

    #[test]
    fn a_version_is_older_only_if_number_and_time_agree() {
        let held = with(upsert("a", 0), Some(5), 1, Some(50));
        for (lsn, nth, committed_at, expected) in [
            (Some(4), 0, Some(49), Verdict::Superseded),
            (Some(4), 0, Some(50), Verdict::Superseded),
            (Some(5), 0, Some(50), Verdict::Superseded),
            (Some(5), 1, Some(50), Verdict::Write),
            (Some(6), 0, Some(50), Verdict::Write),
            // Numbers began again; clocks differ.
            (Some(4), 0, Some(51), Verdict::Write),
            (Some(6), 0, Some(49), Verdict::Write),
            (None, 0, Some(49), Verdict::Write),
            (Some(4), 0, None, Verdict::Write),
        ] {
            for change in [upsert("a", 0), delete("a", 0)] {
                let change = with(change, lsn, nth, committed_at);
                let verdict = SourceVersion::of(&held).judge(&change, DeadLetter);
                assert_eq!(verdict, expected, "{:?}", change.origin);
            }
        }
    }

    #[test]
    fn a_copy_of_another_source_document_is_kept_replaced_or_reported() {
        let held = SourceVersion::of(&with(upsert("a", 0), Some(5), 0, Some(50)));
        let other = |committed_at| with(upsert("b", 0), Some(1), 0, committed_at);
        let deleted = |committed_at| with(delete("b", 0), Some(1), 0, committed_at);
        let cases: [(Change, OnCollision, Verdict); 9] = [
            (other(Some(51)), Newest, Verdict::Takeover),
            (other(Some(50)), Newest, Verdict::Takeover),
            (other(Some(49)), Newest, Verdict::Collision),
            (other(None), Newest, Verdict::Takeover),
            (other(Some(51)), DeadLetter, Verdict::Refused),
            (other(Some(49)), DeadLetter, Verdict::Refused),
            (other(Some(51)), Error, Verdict::Held),
            (deleted(Some(51)), Newest, Verdict::Superseded),
            (deleted(Some(51)), DeadLetter, Verdict::Superseded),
        ];
        for (change, on_collision, expected) in cases {
            let verdict = held.judge(&change, on_collision);
            assert_eq!(verdict, expected, "{on_collision:?} {change:?}");
        }
    }
}
