//! How a task of a feed range ended.

use super::event::Event;
use crate::deliver::WriteBatch;
use crate::model::Fate;
use crate::state::Conflict;

/// A task that ended.
#[derive(Debug)]
pub(super) enum Done {
    Written { sink: usize, batch: WriteBatch, fates: Vec<Option<Fate>> },
    DeadLettersStored { sink: usize, pages: Vec<u64> },
    WriteGivenUp { sink: usize },
    PositionsStored,
    PositionsLost(Conflict),
    StoreGivenUp,
}

impl Done {
    /// The sink that was written to, or whose dead letters were stored.
    pub(super) fn sink(&self) -> Option<usize> {
        match self {
            Self::Written { sink, .. }
            | Self::DeadLettersStored { sink, .. }
            | Self::WriteGivenUp { sink } => Some(*sink),
            _ => None,
        }
    }
}

impl From<Done> for Event {
    fn from(done: Done) -> Self {
        match done {
            Done::Written { sink, batch, fates } => Self::Written { sink, batch, fates },
            Done::DeadLettersStored { sink, pages } => Self::DeadLettersStored { sink, pages },
            Done::WriteGivenUp { sink } => Self::WriteGivenUp { sink },
            Done::PositionsStored => Self::PositionsStored,
            Done::PositionsLost(conflict) => Self::PositionsLost(conflict),
            Done::StoreGivenUp => Self::StoreGivenUp,
        }
    }
}
