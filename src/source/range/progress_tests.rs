//! When a range counts as caught up, what observers see of it, and when its positions are stored.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cosmos_bridge_cosmos::Answer;
use tokio::time::advance;

use super::event::{Effect, Event, Exit, Notice};
use super::exit::AHEAD_PATIENCE;
use super::played::{Played, SECOND, SHARED};
use crate::cosmos::CosmosError;
use crate::model::{Fate, FeedRange, Position};
use crate::source::reader::{ReaderEnd, ReaderId};

#[tokio::test(start_paused = true)]
async fn lag_is_zero_only_after_an_answer_that_nothing_is_newer_with_nothing_in_flight() {
    let mut range = Played::new(&[10]);
    advance(3 * SECOND).await;
    assert_eq!(range.seen(), (false, 3, None), "before the first answer");

    range.meter.head_lsn.store(40, Relaxed);
    range.on(Event::PageAnswered { reader: SHARED });
    assert_eq!(range.seen(), (false, 3, Some(30)), "a page is read");
    let effects = range.page(40, false);
    assert_eq!(range.seen(), (false, 60, Some(30)), "it is being written");
    let batch = effects.into_iter().find_map(|effect| match effect {
        Effect::Write { batch, .. } => Some(batch),
        _ => None,
    });
    let effects = range.on(Event::Written {
        sink: 0,
        batch: batch.unwrap(),
        fates: vec![Some(Fate::Delivered)],
    });
    assert!(matches!(&effects[..], [Effect::StorePositions(_), ..]), "{effects:?}");
    assert_eq!(range.seen(), (false, 60, Some(30)), "it is being stored");
    range.on(Event::PositionsStored);
    // It would be 0 if only what is read and not safe counted.
    assert_eq!(range.seen(), (false, 60, Some(1)), "it is stored, and more may come");

    range.page(40, true);
    assert_eq!(range.seen(), (true, 0, Some(0)), "304");
    assert!(range.meter.is_caught_up());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_and_not_routed_yet_is_in_flight() {
    let mut range = Played::new(&[10]);
    range.meter.head_lsn.store(10, Relaxed);
    range.page(10, true);
    assert_eq!(range.seen(), (true, 0, Some(0)));
    advance(5 * SECOND).await;
    range.on(Event::PageAnswered { reader: SHARED });
    assert_eq!(range.seen(), (false, 5, Some(1)));
    range.on(Event::Tick);
    assert!(!range.seen().0, "the page has not arrived");
    range.page(11, false);
    assert!(!range.seen().0, "it is not written");
}

#[tokio::test(start_paused = true)]
async fn an_error_takes_it_back_until_the_next_answer() {
    let mut range = Played::new(&[10]);
    range.meter.head_lsn.store(10, Relaxed);
    range.page(10, true);
    advance(SECOND).await;
    range.on(Event::ReadFailed { reader: SHARED });
    advance(8 * SECOND).await;
    assert_eq!(range.seen(), (false, 9, Some(1)));
    assert_eq!(range.sights()[0].since_progress, 9 * SECOND);
    assert!(!range.meter.is_caught_up());
    range.page(10, true);
    assert_eq!(range.seen(), (true, 0, Some(0)));
    assert_eq!(range.sights()[0].since_progress, Duration::ZERO);
    assert!(range.meter.is_caught_up());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_parked_is_not_waited_for_and_not_caught_up() {
    let mut range = Played::new(&[500, 10]);
    range.meter.head_lsn.store(500, Relaxed);
    range.page(500, true);
    assert!(range.seen().0 && !range.meter.is_caught_up(), "the other catches up");
    let answer = Answer { status: 400, message: "too old".to_owned(), ..Answer::default() };
    let fault = CosmosError { attempt: "reading".to_owned(), answer };
    let reader = ReaderId::Own { sink: 1, number: 2 };
    range.on(Event::ReaderEnded { reader, end: ReaderEnd::Parked(fault) });
    assert!(range.meter.is_caught_up());
    advance(7 * SECOND).await;
    let sights = range.sights();
    assert!(sights[0].is_caught_up && !sights[1].is_caught_up && sights[1].is_parked);
    assert_eq!(sights[1].lag, 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_position_ahead_of_the_feed_is_never_caught_up_and_parks_the_range() {
    let mut range = Played::new(&[100]);
    range.meter.head_lsn.store(100, Relaxed);
    range.head_lsn = Some(50);
    range.page(100, true);
    assert!(!range.meter.is_caught_up(), "what answered has less");
    advance(AHEAD_PATIENCE.saturating_sub(SECOND)).await;
    range.page(100, true);
    assert!(!range.meter.is_caught_up());
    // It was a replica that lagged.
    range.head_lsn = Some(100);
    range.page(100, true);
    assert!(range.meter.is_caught_up());
    range.head_lsn = Some(50);
    for _ in 0..3 {
        let effects = range.page(100, true);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Finish(_))), "{effects:?}");
        assert!(!range.meter.is_caught_up());
        advance(AHEAD_PATIENCE / 3).await;
    }
    let effects = range.page(100, true);
    let is_told = |effect: &Effect| matches!(effect, Effect::Notice(Notice::Parked { sink: None, fault }) if fault.is_about_position());
    assert!(effects.iter().any(is_told), "{effects:?}");
    let stops = |effect: &Effect| matches!(effect, Effect::StopReader { reader: SHARED });
    assert!(effects.iter().any(stops), "{effects:?}");
    // The range ends once its last position is stored.
    let mut effects = range.on(Event::PositionsStored);
    effects.extend(range.on(Event::ReaderEnded { reader: SHARED, end: ReaderEnd::Stopped }));
    let is_parked = |effect: &Effect| matches!(effect, Effect::Finish(Exit::Parked(fault)) if fault.is_about_position());
    assert!(effects.iter().any(is_parked), "{effects:?}");
}

#[tokio::test(start_paused = true)]
async fn only_the_sink_is_parked_whose_position_is_ahead_of_the_feed() {
    let mut range = Played::new(&[100, 95]);
    range.meter.head_lsn.store(97, Relaxed);
    range.head_lsn = Some(97);
    range.page(97, true);
    assert!(!range.meter.is_caught_up());
    advance(AHEAD_PATIENCE).await;
    let effects = range.page(97, true);
    let is_parked =
        |effect: &Effect| matches!(effect, Effect::Notice(Notice::Parked { sink: Some(0), .. }));
    assert!(effects.iter().any(is_parked), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Finish(_))), "{effects:?}");
    assert!(range.meter.is_caught_up(), "the other is");
}

/// The position of the only sink that is to be stored now.
fn to_store(effects: &[Effect]) -> Option<i64> {
    effects.iter().find_map(|effect| match effect {
        Effect::StorePositions(checkpoints) => checkpoints[0].position.lsn(),
        _ => None,
    })
}

/// Without a stored position, the next start would begin where it is configured to, and read all again. With
/// one, it would only repeat answers without a change.
#[tokio::test(start_paused = true)]
async fn the_first_position_is_stored_at_once_and_later_ones_without_a_change_after_a_minute() {
    let unread = Position::of(FeedRange::whole(), None);
    let mut first = Played::resuming(vec![unread]);
    assert_eq!(to_store(&first.page(10, true)), Some(10));
    assert_eq!(to_store(&first.on(Event::PositionsStored)), None);
    let mut ranges = [first, Played::new(&[10])];
    for second in 1..60 {
        advance(SECOND).await;
        for range in &mut ranges {
            // The log sequence number also grows with changes of other ranges.
            assert_eq!(to_store(&range.page(10 + second, true)), None, "{second} s");
            assert_eq!(to_store(&range.on(Event::Tick)), None, "{second} s");
        }
    }
    advance(SECOND).await;
    for range in &mut ranges {
        assert_eq!(to_store(&range.on(Event::Tick)), Some(69));
    }
}
