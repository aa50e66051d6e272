//! What happens to a feed range, and what has to be done about it.

use super::shared_pages::ReadRoom;
use crate::cosmos::CosmosError;
use crate::deliver::WriteBatch;
use crate::model::{DeadLetter, Fate, Ledger, Position};
use crate::source::reader::{ReaderEnd, ReaderId};
use crate::source::routed::RoutedPage;
use crate::state::Conflict;

/// What happened.
#[derive(Debug)]
pub(in crate::source) enum Event {
    /// The range starts.
    Started,
    /// A reader got a page; [`Event::PageArrived`] follows once it is routed. Not sent for an answer
    /// that nothing is newer.
    PageAnswered {
        reader: ReaderId,
    },
    /// A reader got an error. It tries again.
    ReadFailed {
        reader: ReaderId,
    },
    /// A reader waits for room in its window.
    WindowFull {
        reader: ReaderId,
    },
    PageArrived {
        reader: ReaderId,
        page: Box<RoutedPage>,
        room: ReadRoom,
    },
    /// The reader's last event.
    ReaderEnded {
        reader: ReaderId,
        end: ReaderEnd,
    },
    /// Every change of the batch is delivered or a stored dead letter.
    Written {
        sink: usize,
        batch: WriteBatch,
        /// In the order of the batch; `None` where the sink said nothing.
        fates: Vec<Option<Fate>>,
    },
    /// The route's dead letters are stored: one change of each of these pages.
    DeadLettersStored {
        sink: usize,
        pages: Vec<u64>,
    },
    /// A write or dead letters were given up before they were done, because of a stop.
    WriteGivenUp {
        sink: usize,
    },
    /// The answers to [`Effect::StorePositions`].
    PositionsStored,
    PositionsLost(Conflict),
    /// The state failed, and a stop was asked for.
    StoreGivenUp,
    /// The writes of an earlier range that this one is a part of have ended.
    EarlierWritesEnded {
        sink: usize,
    },
    /// Time has passed, or another range has freed room.
    Tick,
    StopAsked,
}

/// What has to be done.
#[derive(Debug)]
pub(in crate::source) enum Effect {
    StartReader {
        reader: ReaderId,
        from: Position,
    },
    StopReader {
        reader: ReaderId,
    },
    FreeReadRoom {
        reader: ReaderId,
        room: ReadRoom,
    },
    Write {
        sink: usize,
        batch: WriteBatch,
    },
    /// Of one page: `pages` holds its number for each letter.
    StoreDeadLetters {
        sink: usize,
        letters: Vec<DeadLetter>,
        pages: Vec<u64>,
    },
    /// Cancels what waits to be written for this sink.
    Abandon {
        sink: usize,
    },
    /// At most one is under way.
    StorePositions(Vec<Checkpoint>),
    Notice(Notice),
    /// The range has ended. Writes of abandoned sinks may be under way.
    Finish(Exit),
}

/// How far one sink has everything, and the ledger of what it got since its last position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Checkpoint {
    pub(in crate::source) sink: usize,
    pub(in crate::source) position: Position,
    pub(in crate::source) ledger: Ledger,
}

/// What observers have to know.
#[derive(Debug)]
pub(in crate::source) enum Notice {
    /// The sink follows the shared reader from the start.
    Follows {
        sink: usize,
    },
    FellBehind {
        sink: usize,
        lsn: Option<i64>,
        held: usize,
        why: Why,
    },
    /// A page of the shared reader waits for the sink.
    Awaited {
        sink: usize,
    },
    /// Its own reader starts, or stops.
    ReadsAgain {
        sink: usize,
    },
    StopsReadingAgain {
        sink: usize,
    },
    /// It follows the shared reader again.
    Rejoined {
        sink: usize,
        lsn: Option<i64>,
    },
    /// The conservation ledger of a sink does not balance, by so many changes more than before; negative if
    /// there are too many.
    Unbalanced {
        sink: usize,
        more: i64,
    },
    /// One sink, or all of them.
    Parked {
        sink: Option<usize>,
        fault: CosmosError,
    },
}

/// Why a sink does not follow the shared reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Why {
    StartsBehind,
    BufferFull,
    /// Its buffer is full too, and the others have waited for it long enough.
    TooSlow,
    Parked,
}

/// How a range ended.
#[derive(Debug)]
pub(in crate::source) enum Exit {
    /// Asked to stop; everything that was safe is stored.
    Stopped,
    /// The range was divided.
    Divided {
        /// The positions of every sink in each part.
        parts: Vec<(usize, Position)>,
        /// Of sinks, what they got with the page at which the range was divided.
        ledgers: Vec<(usize, Ledger)>,
    },
    /// Needs operator action.
    Parked(CosmosError),
    /// Its positions belong to another owner.
    Lost(Conflict),
}

/// What the state machine adds effects to.
#[derive(Debug, Default)]
pub(in crate::source) struct Effects(pub(in crate::source) Vec<Effect>);

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.push(Effect::Notice(notice));
    }
}
