//! Traces of changes: one span for reading a change, and one for its delivery to each sink. docs/traces.md
//! describes all spans.
//!
//! The reader decides from the id of the trace whether a change is traced; the decision travels with the change
//! ([`cosmos_bridge_sink::Trace`]). Spans are put into a queue without waiting; [`Exporter`] sends them. Only
//! `otlp.rs` names the crates of OpenTelemetry.

mod collector;
mod destination;
mod error;
mod export;
mod otlp;
mod read;
mod sample;
mod span;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use tokio::sync::mpsc;

use self::collector::Collector;
use self::sample::Sample;
use self::span::Span;
use crate::config;
use crate::identity::Identities;
use crate::observe::{DropReason, TraceMeter};

pub use error::TracesError;
pub use export::{ExportTask, Exporter};
pub use read::{PageSpans, ReadSpan, ReadTracer};
pub use write::{WriteSpans, WriteTracer};

/// The length of the queue: about four megabytes, and ten seconds at a thousand spans per second.
const QUEUE: usize = 8192;

/// Records the spans of the traced changes.
#[derive(Debug)]
pub struct Traces {
    sample: Sample,
    queue: mpsc::Sender<Span>,
    meter: Arc<TraceMeter>,
}

impl Traces {
    /// Returns the recorder and the exporter, which has to be started.
    ///
    /// # Errors
    ///
    /// A secret or a file that the configuration names cannot be read.
    pub async fn open(
        config: &config::Traces,
        meter: Arc<TraceMeter>,
        identities: Arc<Identities>,
    ) -> Result<(Arc<Self>, Exporter), TracesError> {
        let collector = Collector::new(config, identities).await?;
        let (queue, spans) = mpsc::channel(QUEUE);
        let exporter =
            Exporter::new(spans, collector, config.service_name.clone(), Arc::clone(&meter));
        Ok((Arc::new(Self { sample: Sample::of(config.sample), queue, meter }), exporter))
    }

    fn record(&self, span: Span) {
        self.meter.recorded.inc();
        if self.queue.try_send(span).is_err() {
            self.meter.dropped.add(DropReason::QueueFull, 1);
        }
    }
}
