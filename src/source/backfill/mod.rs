//! Sends a part of the data again: a pipeline of its own, which keeps its positions in memory, reads a selection of
//! what exists, and ends.

mod refusals;
mod selected_feed;
mod selection;
mod sent;
mod tally;

use super::coordinator::{PipelineError, planned};
use super::pipeline::Pipeline;

pub use refusals::{Refusal, Refusals};
pub use selected_feed::SelectedFeeds;
pub use selection::{Selection, Wanted};
pub use sent::SentDocuments;
pub use tally::Tally;

/// Stores where the feed ranges of a pipeline stand now: it begins there, whenever it runs.
///
/// # Errors
///
/// The account or the state cannot be used.
pub async fn begin_now(pipeline: &Pipeline) -> Result<(), PipelineError> {
    planned(pipeline).await.map(drop)
}
