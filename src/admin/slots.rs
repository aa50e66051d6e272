//! Which connections are open at the admin address, and which is closed to make room. No network, no clock.

use std::cmp::Reverse;
use std::net::IpAddr;

/// Connections at one time. Probes and scrapers need a handful.
pub(super) const SLOTS: usize = 32;

/// The open connections, of which there are never more than [`SLOTS`]. A further connection is always taken,
/// so that a probe of an orchestrator is answered although other clients hold all connections.
#[derive(Debug)]
pub(super) struct Slots<C> {
    /// The oldest first.
    open: Vec<Slot<C>>,
    next: u64,
}

#[derive(Debug)]
struct Slot<C> {
    number: u64,
    peer: IpAddr,
    /// The head of its request has been read.
    has_asked: bool,
    connection: C,
}

impl<C> Default for Slots<C> {
    fn default() -> Self {
        Self { open: Vec::new(), next: 0 }
    }
}

impl<C> Slots<C> {
    /// Takes a connection. Returns its number, and the connection that has to be closed for it, with its
    /// peer.
    pub(super) fn take(&mut self, peer: IpAddr, connection: C) -> (u64, Option<(IpAddr, C)>) {
        let closed = (self.open.len() >= SLOTS).then(|| self.victim(peer)).flatten();
        let closed = closed.map(|at| self.open.remove(at)).map(|slot| (slot.peer, slot.connection));
        let number = self.next;
        self.next += 1;
        self.open.push(Slot { number, peer, has_asked: false, connection });
        (number, closed)
    }

    /// The head of the connection's request has been read.
    pub(super) fn asked(&mut self, number: u64) {
        if let Some(slot) = self.open.iter_mut().find(|slot| slot.number == number) {
            slot.has_asked = true;
        }
    }

    /// The connection is closed.
    pub(super) fn release(&mut self, number: u64) {
        self.open.retain(|slot| slot.number != number);
    }

    /// The connection to close for one of `newcomer`: of the peer with the most connections, so that a peer
    /// that opens many pushes out its own; of those one without a request; of those the oldest.
    fn victim(&self, newcomer: IpAddr) -> Option<usize> {
        let connections = |peer: IpAddr| {
            let open = self.open.iter().filter(|slot| slot.peer == peer).count();
            open + usize::from(peer == newcomer)
        };
        let rank = |(at, slot): &(usize, &Slot<C>)| {
            (connections(slot.peer), !slot.has_asked, Reverse(*at))
        };
        self.open.iter().enumerate().max_by_key(rank).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{SLOTS, Slots};

    fn peer(name: char) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(u32::from(name)).unwrap()])
    }

    /// Rows: connections in the order in which they are opened, as a peer and whether it has sent its request
    /// (upper case); the peer of a further connection; and which one is closed for it, from 0.
    #[test]
    fn the_connection_that_is_closed_is_the_oldest_silent_one_of_the_busiest_peer() {
        let row = |parts: &[(&str, usize)]| {
            parts.iter().map(|(text, times)| text.repeat(*times)).collect::<String>()
        };
        for (what, open, newcomer, expected) in [
            ("there is room", row(&[("a", SLOTS - 1)]), 'b', None),
            ("all are silent", row(&[("a", SLOTS)]), 'a', Some(0)),
            ("the oldest has asked", row(&[("A", 3), ("a", SLOTS - 3)]), 'a', Some(3)),
            ("all have asked and read nothing", row(&[("A", SLOTS)]), 'a', Some(0)),
            ("a probe has just connected", row(&[("p", 1), ("A", SLOTS - 1)]), 'a', Some(1)),
            ("the others are a scraper's", row(&[("S", 2), ("a", SLOTS - 2)]), 'p', Some(2)),
            ("two peers", row(&[("a", SLOTS / 2), ("b", SLOTS / 2)]), 'b', Some(SLOTS / 2)),
        ] {
            let mut slots = Slots::default();
            for (at, name) in open.chars().enumerate() {
                let (number, closed) = slots.take(peer(name.to_ascii_lowercase()), at);
                assert_eq!(closed, None, "{what}");
                if name.is_ascii_uppercase() {
                    slots.asked(number);
                }
            }
            let (_, closed) = slots.take(peer(newcomer), SLOTS);
            assert_eq!(closed.map(|(_, at)| at), expected, "{what}");
            assert!(slots.open.len() <= SLOTS, "{what}");
        }
    }

    #[test]
    fn a_connection_that_is_closed_makes_room() {
        let mut slots = Slots::default();
        let numbers: Vec<_> = (0..SLOTS).map(|at| slots.take(peer('a'), at).0).collect();
        slots.release(numbers[7]);
        assert_eq!(slots.take(peer('a'), 99).1, None);
        assert_eq!(slots.take(peer('a'), 100).1, Some((peer('a'), 0)));
        // It was closed to make room before it ended by itself.
        slots.release(numbers[0]);
        assert_eq!(slots.open.len(), SLOTS);
    }
}
