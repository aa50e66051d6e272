//! Which copies have to go. Values in, values out.

use std::collections::HashSet;

use cosmos_bridge_cosmos::{SourceDocument, SourceVersion};
use cosmos_bridge_sink::Place;

use crate::cosmos::{Looked, SweptCopy};

/// After this time since its source document was committed, a copy cannot be newer than a region that
/// answers, however that lags, and whatever log sequence numbers say: they start again after a merge.
pub(super) const SETTLED: i64 = 24 * 3600;

/// What a copy is to a sweep.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Of this document of the source.
    Of(Place, SourceVersion),
    /// It has a record, and nothing in it tells of which document: it may be of another container, or a
    /// route changes the id or a key field of the source. It stays.
    Unknown,
    /// Nothing was copied there: it stays.
    NoCopy,
}

/// The record holds a number that is made of the source's names, key and id. So the copy itself has to have the
/// key and the id, and only if they give that number is it known that it is a copy of this source.
pub(super) fn kind_of(copy: &SweptCopy, number: impl Fn(&Place) -> SourceDocument) -> Kind {
    let Some(version) = copy.stored.version else { return Kind::NoCopy };
    let id = copy.stored.id.clone();
    let place = Place { id, partition_key: copy.source_key.clone() };
    if number(&place) == version.document() { Kind::Of(place, version) } else { Kind::Unknown }
}

/// The copies whose source documents no replica that was asked has. They are only candidates: what was asked
/// may be older than the copy.
pub(super) fn missing<C>(
    copies: Vec<(C, Place, SourceVersion)>,
    existing: &[SourceDocument],
) -> Vec<(C, Place, SourceVersion)> {
    let existing: HashSet<_> = existing.iter().copied().collect();
    let is_missing =
        |(_, _, version): &(C, Place, SourceVersion)| !existing.contains(&version.document());
    copies.into_iter().filter(is_missing).collect()
}

/// Whether the source document of a copy is certainly gone: a quorum of a region does not have it, and that
/// region is not behind the version that was copied. `now` in seconds since the epoch.
///
/// The copy was seen before the answer, and is deleted only if it is still what was seen. So a document that
/// is created after the answer is safe: its copy either changed what was seen, or is written afterwards.
pub(super) fn is_gone(copied: &SourceVersion, looked: &Looked, now: i64) -> bool {
    if looked.exists {
        return false;
    }
    let is_as_new = looked.lsn.zip(copied.lsn()).is_some_and(|(answer, copy)| answer >= copy);
    is_as_new || copied.committed_at().is_some_and(|at| now - at >= SETTLED)
}
