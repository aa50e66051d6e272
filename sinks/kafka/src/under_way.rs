//! The messages in flight, by document.

use std::sync::{Arc, MutexGuard};

use cosmos_bridge_sink::{Change, ContainerName, Mutex, PartitionKey};

use crate::delivery::Ticket;
use crate::pending::Pending;

/// The owned form of [`cosmos_bridge_sink::DocumentId`].
pub(crate) type DocumentKey = (Arc<ContainerName>, PartitionKey, String);

/// Messages in flight whose changes were deferred.
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Mutex<Pending<DocumentKey, Sent>>);

/// A message that was given to the client.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) ticket: Ticket,
    /// The number of the session. Messages of another session were given up.
    pub(crate) session: u64,
    /// True if an earlier write sent it.
    pub(crate) is_earlier: bool,
}

impl Deliveries {
    pub(crate) fn pending(&self) -> MutexGuard<'_, Pending<DocumentKey, Sent>> {
        self.0.lock()
    }
}

pub(crate) fn key(change: &Change) -> DocumentKey {
    (Arc::clone(&change.origin.container), change.partition_key.clone(), change.id.clone())
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_sink::{KeyValue, Operation, Origin};

    use super::*;
    use crate::delivery::Batch;

    fn change(container: &str, key: &str, id: &str) -> Change {
        let name = |text: &str| text.to_owned();
        let partition_key = PartitionKey(vec![KeyValue::String(name(key))]);
        let (account, database) = (name("source"), name("shop"));
        let container =
            ContainerName { account, database, container: name(container), rid: name("rid") };
        Change {
            id: name(id),
            partition_key: partition_key.clone(),
            operation: Operation::Delete { expired: false },
            previous: None,
            origin: Arc::new(Origin {
                container: Arc::new(container),
                id: name(id),
                partition_key,
                lsn: None,
                committed_at: None,
                nth: 0,
                expiry: None,
                is_snapshot: false,
                trace: None,
            }),
            old_copies: cosmos_bridge_sink::OldCopies::None,
        }
    }

    #[test]
    fn a_document_is_one_of_its_container() {
        let held = change("orders", "north", "7");
        let cases = [
            (change("orders", "north", "7"), true),
            (change("offers", "north", "7"), false),
            (change("orders", "south", "7"), false),
            (change("orders", "north", "8"), false),
        ];
        for (other, is_document) in cases {
            assert_eq!(held.document_id() == other.document_id(), is_document, "{other:?}");
            let deliveries = Deliveries::default();
            let ticket = Arc::new(Batch::of(1)).ticket();
            let sent = Sent { ticket, session: 0, is_earlier: false };
            deliveries.pending().put_back(key(&held), vec![(1, sent)]);
            // Another message of the document discards the pending ones.
            assert!(deliveries.pending().take(&key(&other), 2).is_none());
            assert_eq!(deliveries.pending().holds(&key(&held)), !is_document, "{other:?}");
        }
    }
}
