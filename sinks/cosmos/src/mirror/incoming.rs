//! A change of a mirrored container, as the rules see it.

use cosmos_bridge_sink::{Change as SinkChange, OldCopies, Operation};

use super::record::Stored;
use super::sink::MirrorSink;
use super::version::{Change, Order};

/// What comes in, with its documents.
pub(super) struct Incoming {
    pub(super) change: Change,
    pub(super) after: Option<Stored>,
    pub(super) before: Option<Stored>,
}

impl MirrorSink {
    /// `None` if the feed does not tell what has to be known.
    pub(super) fn incoming(&self, change: &SinkChange) -> Option<Incoming> {
        let (place, origin) = (self.place(change), &change.origin);
        let order = Order { lsn: origin.lsn?, nth: origin.nth, committed_at: origin.committed_at? };
        self.note_time(order.committed_at);
        let before = change.previous.as_deref().and_then(|document| place.read(document));
        let (after, expired) = match &change.operation {
            Operation::Upsert { document } => {
                let mut document = (**document).clone();
                // A feed without previous images adds the number to the document.
                if document.get("_lsn").is_some_and(|lsn| lsn.as_i64() == origin.lsn) {
                    document.remove("_lsn");
                }
                let ends = origin.expiry.and_then(|expiry| expiry.at);
                (Some(place.read(&document)?), ends.is_some_and(|at| at <= self.time()))
            }
            Operation::Delete { expired } => (None, *expired),
        };
        let is_new = after.is_some() && change.old_copies == OldCopies::Nowhere;
        let version = |stored: &Option<Stored>| stored.as_ref().map(|one| one.version.clone());
        let change = Change {
            knows_before: before.is_some() || is_new,
            before: version(&before),
            after: version(&after),
            order,
            expired,
        };
        Some(Incoming { change, after, before })
    }
}
