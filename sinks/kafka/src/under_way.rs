//! Which messages of which documents are under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cosmos_bridge_sink::{Change, ContainerName, PartitionKey};

use crate::delivery::Ticket;
use crate::pending::Pending;

/// One sink may write for several containers, whose documents have nothing to do with each other
/// though key and id are equal.
pub(crate) type DocumentKey = (Arc<ContainerName>, PartitionKey, String);

/// Messages under way whose changes were deferred.
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Mutex<Pending<DocumentKey, Sent>>);

/// A message that the client was given.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) ticket: Ticket,
    /// The session's number: what another session holds was given up.
    pub(crate) session: u64,
    pub(crate) is_earlier: bool,
}

impl Deliveries {
    pub(crate) fn pending(&self) -> MutexGuard<'_, Pending<DocumentKey, Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn key(change: &Change) -> DocumentKey {
    (Arc::clone(&change.origin.container), change.partition_key.clone(), change.id.clone())
}

/// Whether both are of one document.
pub(crate) fn is_same(one: &Change, other: &Change) -> bool {
    one.id == other.id
        && one.partition_key == other.partition_key
        && one.origin.container == other.origin.container
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
        let container = ContainerName { account, database, container: name(container) };
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
                trace: None,
            }),
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
            assert_eq!(is_same(&held, &other), is_document, "{other:?}");
            let deliveries = Deliveries::default();
            let ticket = Arc::new(Batch::of(1)).ticket();
            let sent = Sent { ticket, session: 0, is_earlier: false };
            deliveries.pending().put_back(key(&held), vec![(1, sent)]);
            // Another message of the document forgets what is held of it.
            assert!(deliveries.pending().take(&key(&other), 2).is_none());
            assert_eq!(deliveries.pending().holds(&key(&held)), !is_document, "{other:?}");
        }
    }
}
