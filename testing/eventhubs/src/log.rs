//! The events of one partition in memory.

use std::collections::VecDeque;

use crate::message::Sent;

/// One event with its offset and sequence number.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: i64,
    pub(crate) offset: u64,
    pub(crate) enqueued_ms: i64,
    pub(crate) sent: Sent,
}

/// The newest events; older ones are removed, as at the end of a hub's retention.
#[derive(Debug)]
pub(crate) struct Log {
    events: VecDeque<Stored>,
    retained: usize,
    next_sequence: i64,
    next_offset: u64,
    last_enqueued_ms: i64,
}

impl Log {
    pub(crate) fn new(retained: usize) -> Self {
        let events = VecDeque::new();
        Self { events, retained, next_sequence: 0, next_offset: 0, last_enqueued_ms: 0 }
    }

    /// Appends an event that takes `bytes` of the log: offsets have gaps, sequence numbers none.
    pub(crate) fn push(&mut self, sent: Sent, enqueued_ms: i64, bytes: u64) {
        let (sequence, offset) = (self.next_sequence, self.next_offset);
        self.events.push_back(Stored { sequence, offset, enqueued_ms, sent });
        self.next_sequence += 1;
        self.next_offset += bytes;
        self.last_enqueued_ms = enqueued_ms;
        while self.events.len() > self.retained {
            self.events.pop_front();
        }
    }

    pub(crate) fn next_sequence(&self) -> i64 {
        self.next_sequence
    }

    pub(crate) fn last_enqueued_ms(&self) -> i64 {
        self.last_enqueued_ms
    }

    pub(crate) fn first_sequence(&self) -> i64 {
        self.events.front().map_or(self.next_sequence, |event| event.sequence)
    }

    pub(crate) fn last(&self) -> Option<&Stored> {
        self.events.back()
    }

    /// The sequence number of the first event for which `wanted` holds; of the next one that will
    /// come if it holds for none.
    pub(crate) fn first_where(&self, wanted: impl Fn(&Stored) -> bool) -> i64 {
        let found = self.events.iter().find(|event| wanted(event));
        found.map_or(self.next_sequence, |event| event.sequence)
    }

    pub(crate) fn read(&self, from: i64, count: usize) -> Vec<Stored> {
        let skipped = usize::try_from(from - self.first_sequence()).unwrap_or(0);
        self.events.iter().skip(skipped).take(count).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Log;
    use crate::message::Sent;

    #[test]
    fn sequence_numbers_go_on_where_old_events_went() {
        let mut log = Log::new(2);
        for _ in 0..3 {
            log.push(Sent { annotations: vec![], rest: Bytes::new() }, 5, 100);
        }
        let read: Vec<_> =
            log.read(0, 10).iter().map(|event| (event.sequence, event.offset)).collect();
        assert_eq!(read, [(1, 100), (2, 200)]);
        assert_eq!(log.read(2, 10).len(), 1);
        assert_eq!(log.read(3, 10).len(), 0);
        assert_eq!((log.first_sequence(), log.next_sequence()), (1, 3));
        assert_eq!(log.first_where(|event| event.offset > 100), 2);
        assert_eq!(log.first_where(|event| event.offset > 200), 3);
    }
}
