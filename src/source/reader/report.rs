//! What a reader reports to its worker.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::cosmos::CosmosError;
use crate::source::routed::RoutedPage;

/// A reader of the range. The number distinguishes it from earlier readers of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) enum ReaderId {
    /// The reader that all sinks share.
    Shared { number: u64 },
    /// The reader of one sink that catches up.
    Own { sink: usize, number: u64 },
}

impl ReaderId {
    /// The one sink that it reads for, if it is only one.
    pub(in crate::source) fn only(self) -> Option<usize> {
        match self {
            Self::Shared { .. } => None,
            Self::Own { sink, .. } => Some(sink),
        }
    }
}

/// How a reader ends.
#[derive(Debug)]
pub(in crate::source) enum ReaderEnd {
    /// After a stop, or behind a page that holds the parts of a divided range.
    Stopped,
    /// Needs operator action.
    Parked(CosmosError),
}

/// Permits that came with a page.
#[derive(Debug, Default)]
pub(in crate::source) struct PagePermits {
    pub(in crate::source) memory: Option<OwnedSemaphorePermit>,
    pub(in crate::source) window: Option<OwnedSemaphorePermit>,
}

/// What a reader reports to its worker.
pub(in crate::source) enum Report {
    /// A page was read. Not sent for an answer that nothing is newer. The reader routes the page after
    /// the sender is dropped: by then the range is no longer reported as caught up, however long
    /// routing takes.
    PageAnswered(oneshot::Sender<()>),
    /// The last request failed; it is repeated.
    ReadFailed,
    /// The next page waits for room in the window.
    WindowFull,
    Page(Box<RoutedPage>, PagePermits),
    /// The last report.
    Ended(ReaderEnd),
}
