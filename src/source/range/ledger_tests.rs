//! What the state machine of a feed range says of changes that get lost.

use tokio::time::advance;

use super::event::{Effect, Event, Notice};
use super::played::{Played, SECOND, SHARED};
use crate::deliver::WriteBatch;
use crate::model::{Fate, Ledger};
use crate::source::reader::ReaderEnd;

fn missing(effects: &[Effect]) -> i64 {
    let more = |effect: &Effect| match effect {
        Effect::Notice(Notice::Unbalanced { more, .. }) => Some(*more),
        _ => None,
    };
    effects.iter().filter_map(more).sum()
}

fn batch(effects: Vec<Effect>) -> WriteBatch {
    let batch = |effect| match effect {
        Effect::Write { batch, .. } => Some(batch),
        _ => None,
    };
    effects.into_iter().find_map(batch).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_change_that_does_not_come_to_its_sink_is_missing_at_once() {
    let mut range = Played::new(&[10, 10]);
    // A page with a change for each of two sinks, of which it has one.
    (range.sinks, range.lost) = (2, 1);
    assert_eq!(missing(&range.page(11, false)), 1);
    range.lost = 0;
    // The difference is reported once.
    assert_eq!(missing(&range.page(12, false)), 0);
    assert_eq!(missing(&range.on(Event::Tick)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_sink_says_nothing_of_it_is_missing() {
    for (fates, lost) in [
        (vec![Some(Fate::Delivered)], 0),
        (vec![Some(Fate::Superseded)], 0),
        (vec![Some(Fate::DeadLetter)], 0),
        (vec![None], 1),
        (vec![], 1),
        (vec![Some(Fate::Delivered), Some(Fate::Delivered)], 0),
    ] {
        let mut range = Played::new(&[10]);
        advance(2 * SECOND).await;
        let effects = range.page(11, false);
        assert_eq!(missing(&effects), 0);
        let batch = batch(effects);
        let effects = range.on(Event::Written { sink: 0, batch, fates: fates.clone() });
        assert_eq!(missing(&effects), lost, "{fates:?}");
        let stored = effects.into_iter().find_map(|effect| match effect {
            Effect::StorePositions(mut checkpoints) => checkpoints.pop(),
            _ => None,
        });
        assert_eq!(stored.unwrap().ledger.open(), lost, "{fates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_leaves_to_the_next_start_is_in_no_ledger() {
    let mut range = Played::new(&[10]);
    // The window is 10: the last of these waits.
    for lsn in 11..=21 {
        assert_eq!(missing(&range.page(lsn, false)), 0);
    }
    let ledger = |range: &Played| range.state.ledgers().next().unwrap();
    assert_eq!(ledger(&range), (Ledger { read: 11, ..Ledger::default() }, 11));
    assert_eq!(missing(&range.on(Event::StopAsked)), 0);
    range.on(Event::ReaderEnded { reader: SHARED, end: ReaderEnd::Stopped });
    assert_eq!(ledger(&range), (Ledger { read: 10, ..Ledger::default() }, 10));
}
