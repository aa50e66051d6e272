//! Tells logs and metrics what the state machine decided.

use tracing::{debug, error};

use super::event::{Notice, Why};
use crate::cosmos::CosmosError;
use crate::model::FeedRange;
use crate::observe::{Parked, PipelineSinkMetrics};
use crate::source::pipeline::Pipeline;

/// Of one feed range.
pub(in crate::source) struct Notices<'p> {
    pub(in crate::source) pipeline: &'p Pipeline,
    pub(in crate::source) range: &'p FeedRange,
}

impl Notices<'_> {
    pub(super) fn give(&self, notice: Notice) {
        let pipeline = &self.pipeline.settings.name;
        let range = self.range;
        match notice {
            Notice::Follows { sink } => self.meter(sink).range_attached(),
            Notice::FellBehind { sink, lsn, held, why } => {
                let name = self.name(sink);
                let error = match why {
                    Why::BufferFull | Why::TooSlow => self.pipeline.sinks[sink].delivery.error(),
                    Why::StartsBehind | Why::Parked => None,
                };
                debug!(pipeline, sink = name, %range, lsn, held, ?why, "the sink falls behind");
                let why = match why {
                    Why::StartsBehind => "it starts behind the others",
                    Why::BufferFull => "its memory is used up",
                    Why::TooSlow => "it is less than a quarter as fast as the others",
                    Why::Parked => "it is parked",
                };
                self.meter(sink).range_detached(&range.to_string(), lsn, why, error.as_deref());
            }
            Notice::Awaited { sink } => self.meter(sink).page_waits(&range.to_string()),
            Notice::ReadsAgain { sink } => self.meter(sink).range_catching_up(),
            Notice::StopsReadingAgain { sink } => self.meter(sink).range_stopped_catching_up(),
            Notice::Rejoined { sink, lsn } => {
                self.meter(sink).range_rejoined();
                debug!(pipeline, sink = self.name(sink), %range, lsn, "the sink has caught up");
            }
            Notice::Unbalanced { sink, more } => {
                self.meter(sink).unbalanced(&range.to_string(), more);
            }
            Notice::Parked { sink, fault } => self.park(sink, &fault),
        }
    }

    /// The range, or one sink of it, waits for an operator.
    pub(in crate::source) fn park(&self, sink: Option<usize>, fault: &CosmosError) {
        let sink = sink.map(|sink| self.name(sink));
        let untouched = || "Positions and target are untouched.".to_owned();
        let hint = fault.hint().unwrap_or_else(untouched);
        let (pipeline, range) = (&self.pipeline.settings.name, self.range);
        error!(pipeline, sink, %range, error = %fault, hint, "parked");
        let (range, sink) = (range.to_string(), sink.map(str::to_owned));
        self.pipeline.meter.park(Parked { range, sink, error: fault.to_string() });
    }

    fn meter(&self, sink: usize) -> &PipelineSinkMetrics {
        self.pipeline.sinks[sink].buffer.meter()
    }

    fn name(&self, sink: usize) -> &str {
        self.pipeline.sinks[sink].delivery.sink.name()
    }
}
