use tokio::time::advance;

use super::LOOK_AGAIN;
use crate::source::range::event::Event;
use crate::source::range::played::Played;
use crate::source::sink_buffer::{BufferView, Held};

/// What a page of the tests takes of a buffer.
const PAGE: usize = 612;
const LIMIT: usize = 4 * PAGE;

/// A range with two sinks, and a backlog of a thousand changes for the first of them.
fn range() -> Played {
    let mut range = Played::new(&[10, 10]);
    range.head_lsn = Some(1_000);
    range
}

impl Played {
    /// What other ranges hold of the first sink's buffer, and wait for while they hold nothing.
    fn others(&mut self, in_use: usize, reserved: usize) {
        let own = self.held();
        let (in_use, freed) = (in_use + own.shared, own.freed);
        self.views[0].buffer = BufferView { limit: LIMIT, in_use, freed, reserved };
    }

    fn held(&self) -> Held {
        self.state.held().next().unwrap()
    }

    /// Whether the next page waits.
    fn waits(&mut self, lsn: i64) -> bool {
        self.page(lsn, false);
        self.state.holds_reader()
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_that_hold_nothing_come_first() {
    // Pages that this range holds; bytes that others hold, and wait for; whether the page waits.
    for (held, in_use, reserved, waits) in [
        (1, 0, 0, false),
        (1, PAGE, PAGE, false),
        (1, 2 * PAGE, PAGE, true),
        (1, 2 * PAGE, 0, false),
        (2, PAGE, PAGE, true),
        // A page larger than the buffer needs all of it.
        (1, 0, 2 * LIMIT, true),
        // It holds nothing itself.
        (0, 3 * PAGE, LIMIT, false),
        (0, 4 * PAGE, 0, true),
    ] {
        let mut range = range();
        for lsn in 0..held {
            range.others(0, 0);
            assert!(!range.waits(11 + lsn));
        }
        range.others(in_use, reserved);
        assert_eq!(range.waits(20), waits, "{held} {in_use} {reserved}");
        let is_first = held == 0 && waits;
        assert_eq!(range.held().reserved, if is_first { PAGE } else { 0 }, "{held} {in_use}");
    }
}

#[tokio::test(start_paused = true)]
async fn room_is_reserved_until_the_page_is_taken_or_forgotten() {
    let mut taken = range();
    taken.others(LIMIT, 0);
    assert!(taken.waits(11));
    assert_eq!(taken.held().reserved, PAGE);
    taken.others(3 * PAGE, PAGE);
    advance(LOOK_AGAIN).await;
    taken.on(Event::Tick);
    assert_eq!((taken.held().reserved, taken.held().shared), (0, PAGE));

    let mut stopped = range();
    stopped.others(LIMIT, 0);
    assert!(stopped.waits(11));
    stopped.on(Event::StopAsked);
    assert_eq!((stopped.held().reserved, stopped.held().shared), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_has_something_to_write_is_not_delayed() {
    for (in_use, is_delayed) in [(0, true), (PAGE / 10, true), (PAGE / 2, false), (PAGE, false)] {
        let mut range = range();
        range.others(LIMIT, 0);
        range.views[1].buffer.in_use = in_use;
        // The page has as much for the second sink, and that has room for it.
        range.sinks = 2;
        assert!(range.waits(11));
        assert_eq!(range.state.cursors[0].patience.delays, is_delayed, "{in_use}");
    }
}

/// Nothing waits for a turn at the end of the feed: a live page is taken if there is room.
#[tokio::test(start_paused = true)]
async fn a_live_page_waits_for_no_turn() {
    let mut range = range();
    range.others(0, 0);
    assert!(!range.waits(11));
    range.head_lsn = None;
    range.others(2 * PAGE, LIMIT);
    assert!(!range.waits(12));
    assert_eq!(range.held().shared, 2 * PAGE);
}
