//! Messages that the client still holds after their changes were deferred.
//!
//! The client never gives a message up, so a change that is offered again must not be sent again: it
//! waits for the message in flight. This is right only while no later message of the same document was
//! sent. Otherwise the change must be sent again, or a consumer would keep the older of two states.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// By document, in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct Pending<D, T> {
    documents: HashMap<D, VecDeque<(u64, T)>>,
}

impl<D, T> Default for Pending<D, T> {
    fn default() -> Self {
        Self { documents: HashMap::new() }
    }
}

impl<D: Hash + Eq + Clone, T> Pending<D, T> {
    pub(crate) fn holds(&self, document: &D) -> bool {
        self.documents.contains_key(document)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Takes the oldest message of a document if it has this digest. Any other digest means that the
    /// bridge went back to an earlier change: all messages of the document are discarded.
    pub(crate) fn take(&mut self, document: &D, digest: u64) -> Option<T> {
        let messages = self.documents.get_mut(document)?;
        let taken = match messages.front() {
            Some((oldest, _)) if *oldest == digest => messages.pop_front(),
            _ => {
                messages.clear();
                None
            }
        };
        if messages.is_empty() {
            self.documents.remove(document);
        }
        taken.map(|(_, message)| message)
    }

    /// Puts messages back. They are older than those that are still pending.
    pub(crate) fn put_back(&mut self, document: D, messages: Vec<(u64, T)>) {
        if messages.is_empty() {
            return;
        }
        let kept = self.documents.entry(document).or_default();
        for message in messages.into_iter().rev() {
            kept.push_front(message);
        }
    }

    /// Discards all messages of a document.
    pub(crate) fn forget(&mut self, document: &D) {
        self.documents.remove(document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was put back, what is offered, what is found of it.
    type Case = (&'static [u64], &'static [u64], &'static [Option<&'static str>]);

    #[test]
    fn a_change_waits_for_its_message_unless_the_document_went_on() {
        const MESSAGES: [&str; 4] = ["", "first", "second", "third"];
        let cases: [Case; 6] = [
            (&[1, 2], &[1, 2], &[Some("first"), Some("second")]),
            (&[1, 2], &[1], &[Some("first")]),
            // More than before: what is new is sent after what is under way.
            (&[1], &[1, 2], &[Some("first"), None]),
            // Back to an earlier change: all is sent again, in order.
            (&[2, 3], &[1, 2, 3], &[None, None, None]),
            (&[1, 3], &[1, 2, 3], &[Some("first"), None, None]),
            (&[], &[1], &[None]),
        ];
        for (kept, offered, found) in cases {
            let mut pending = Pending::default();
            let messages = kept.iter().map(|n| (*n, MESSAGES[usize::try_from(*n).unwrap()]));
            pending.put_back("document", messages.collect());
            pending.put_back("another", vec![(1, "its own")]);
            let taken: Vec<_> = offered.iter().map(|n| pending.take(&"document", *n)).collect();
            assert_eq!(taken, found, "{kept:?} {offered:?}");
            assert_eq!(pending.take(&"another", 1), Some("its own"));
        }
    }

    #[test]
    fn what_is_put_back_is_older_than_what_was_left() {
        let mut pending = Pending::default();
        pending.put_back("document", vec![(1, "a"), (2, "b")]);
        let first = pending.take(&"document", 1).unwrap();
        pending.put_back("document", vec![(1, first)]);
        assert_eq!(pending.take(&"document", 1), Some("a"));
        assert_eq!(pending.take(&"document", 2), Some("b"));
        assert!(pending.is_empty());
    }
}
