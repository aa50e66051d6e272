//! Traces of changes: one span tells how a change was read, and one for each sink what became of it
//! there. docs/traces.md has them all.
//!
//! Whether a change is traced is decided where it is read, from its trace's id, and travels with it
//! ([`cosmos_bridge_sink::Trace`]). Whoever has a span to tell puts it into a queue and never waits;
//! [`Exporter`] sends what is in it. Only `otlp.rs` names the crates of OpenTelemetry.

mod collector;
mod destination;
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
use crate::identity::{Identities, ReadError};
use crate::observe::{Lost, TraceMeter};

pub use export::{Exporter, Exporting};
pub use read::{PageSpans, ReadSpan, Reads};
pub use write::{WriteSpans, Writes};

/// Spans that may wait: some four megabytes, and ten seconds at a thousand a second.
const QUEUE: usize = 8192;

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("a secret of `traces.headers` cannot be used: {0}")]
    Secret(#[source] ReadError),
    #[error("a value of `traces.headers` holds what HTTP does not allow there")]
    Header,
    #[error("the file of `traces.ca_file` cannot be used: {0}")]
    Authority(String),
    #[error("the connection for traces cannot be set up: {0}")]
    Setup(String),
    #[error("the collector of traces does not answer as it should: {0}")]
    Collector(String),
}

impl TracesError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Secret(error) => return error.hint(),
            Self::Header => "Put one line of plain text there.",
            Self::Authority(_) => "Write a file in PEM form; its path is relative to the file's.",
            Self::Setup(_) => "Look whether this machine has certificates of authorities.",
            Self::Collector(_) => "Look whether `traces.endpoint` is that of OTLP over HTTP.",
        };
        hint.to_owned()
    }
}

/// Takes the spans of the changes that are traced.
#[derive(Debug)]
pub struct Traces {
    sample: Sample,
    queue: mpsc::Sender<Span>,
    meter: Arc<TraceMeter>,
}

impl Traces {
    /// What takes spans and what sends them, which has to be started.
    ///
    /// # Errors
    ///
    /// A secret or a file that the configuration names cannot be used.
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

    fn tell(&self, span: Span) {
        self.meter.count_recorded();
        if self.queue.try_send(span).is_err() {
            self.meter.count_lost(Lost::QueueFull, 1);
        }
    }
}
