//! Records the spans of reading.

use std::sync::Arc;

use cosmos_bridge_event::{Identity, SpanKey};
use cosmos_bridge_sink::{ContainerName, Origin, Trace};
use jiff::Timestamp;

use super::Traces;
use super::span::{Read, Source, Span, Step};

/// Records how the changes of one pipeline are read.
#[derive(Debug)]
pub struct ReadTracer {
    traces: Arc<Traces>,
    source: Arc<Source>,
    key: SpanKey,
    /// For pages that are read for one sink alone, by sink.
    sinks: Vec<(Arc<str>, SpanKey)>,
}

/// The spans of one page.
#[derive(Debug)]
pub struct PageSpans<'r> {
    tracer: &'r ReadTracer,
    key: SpanKey,
    /// The sink that the page is read for, if not for all.
    read_for: Option<Arc<str>>,
    range: Arc<str>,
    start: Timestamp,
}

/// One traced change of a page.
#[derive(Debug)]
#[must_use]
pub struct ReadSpan {
    trace: Trace,
    operation: &'static str,
    lsn: Option<i64>,
    committed_at: Option<i64>,
}

impl ReadTracer {
    /// `sinks` are in the order of the pipeline.
    pub fn new(
        traces: Arc<Traces>,
        pipeline: &str,
        container: ContainerName,
        sinks: &[&str],
    ) -> Self {
        let with_key = |sink: &&str| (Arc::from(*sink), SpanKey::reading(pipeline, Some(sink)));
        Self {
            traces,
            source: Arc::new(Source { pipeline: pipeline.to_owned(), container }),
            key: SpanKey::reading(pipeline, None),
            sinks: sinks.iter().map(with_key).collect(),
        }
    }

    /// Starts the spans of a page that is requested now, for all sinks or for the sink `only`.
    pub fn page(&self, range: &impl ToString, only: Option<usize>) -> PageSpans<'_> {
        let read_for = only.and_then(|sink| self.sinks.get(sink));
        PageSpans {
            tracer: self,
            key: read_for.map_or(self.key, |(_, key)| *key),
            read_for: read_for.map(|(name, _)| Arc::clone(name)),
            range: Arc::from(range.to_string()),
            start: Timestamp::now(),
        }
    }
}

impl PageSpans<'_> {
    /// Decides whether a change is traced, and adds the trace to the change.
    pub fn begin(&self, origin: &mut Arc<Origin>, operation: &'static str) -> Option<ReadSpan> {
        let identity = Identity::as_read(origin, operation);
        let id = identity.bytes();
        if !self.tracer.traces.sample.contains(id) {
            return None;
        }
        let trace = Trace { id, read: identity.span(self.key) };
        Arc::make_mut(origin).trace = Some(trace);
        let Origin { lsn, committed_at, .. } = **origin;
        Some(ReadSpan { trace, operation, lsn, committed_at })
    }

    /// Ends the span of a routed change: `deliveries` changes go to sinks, `unroutable` routes could not map it.
    pub fn end(&self, span: &ReadSpan, deliveries: usize, unroutable: usize) {
        self.tracer.traces.record(Span {
            trace: span.trace.id,
            id: span.trace.read,
            parent: None,
            start: self.start,
            end: Timestamp::now(),
            operation: span.operation,
            step: Step::Read(Read {
                source: Arc::clone(&self.tracer.source),
                range: Arc::clone(&self.range),
                read_for: self.read_for.clone(),
                lsn: span.lsn,
                committed_at: span.committed_at,
                deliveries,
                unroutable,
            }),
        });
    }
}
