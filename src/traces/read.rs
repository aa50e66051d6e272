//! What the source tells.

use std::sync::Arc;

use cosmos_bridge_event::{Identity, SpanKey};
use cosmos_bridge_sink::{ContainerName, Origin, Trace};
use jiff::Timestamp;

use super::Traces;
use super::span::{Done, Read, Source, Span};

/// Tells how the changes of one pipeline are read.
#[derive(Debug)]
pub struct Reads {
    traces: Arc<Traces>,
    source: Arc<Source>,
    key: SpanKey,
    /// Of the sinks, for what is read for one of them alone.
    alone: Vec<(Arc<str>, SpanKey)>,
}

/// The spans of one page.
#[derive(Debug)]
pub struct PageSpans<'r> {
    reads: &'r Reads,
    key: SpanKey,
    alone: Option<Arc<str>>,
    range: Arc<str>,
    began: Timestamp,
}

/// One change of it that is traced.
#[derive(Debug)]
#[must_use]
pub struct ReadSpan {
    trace: Trace,
    operation: &'static str,
    lsn: Option<i64>,
    committed_at: Option<i64>,
}

impl Reads {
    /// `sinks` are in the order of the pipeline's.
    pub fn new(
        traces: Arc<Traces>,
        pipeline: &str,
        container: ContainerName,
        sinks: &[&str],
    ) -> Self {
        let alone = |sink: &&str| (Arc::from(*sink), SpanKey::reading(pipeline, Some(sink)));
        Self {
            traces,
            source: Arc::new(Source { pipeline: pipeline.to_owned(), container }),
            key: SpanKey::reading(pipeline, None),
            alone: sinks.iter().map(alone).collect(),
        }
    }

    /// For a page of a feed range that is asked for now, for all sinks or for one `only`.
    pub fn page(&self, range: &impl ToString, only: Option<usize>) -> PageSpans<'_> {
        let alone = only.and_then(|sink| self.alone.get(sink));
        PageSpans {
            reads: self,
            key: alone.map_or(self.key, |(_, key)| *key),
            alone: alone.map(|(name, _)| Arc::clone(name)),
            range: Arc::from(range.to_string()),
            began: Timestamp::now(),
        }
    }
}

impl PageSpans<'_> {
    /// Decides whether a change is traced, and has the change carry its trace.
    pub fn begin(&self, origin: &mut Arc<Origin>, operation: &'static str) -> Option<ReadSpan> {
        let identity = Identity::as_read(origin, operation);
        let id = identity.bytes();
        if !self.reads.traces.sample.takes(id) {
            return None;
        }
        let trace = Trace { id, read: identity.span(self.key) };
        Arc::make_mut(origin).trace = Some(trace);
        let Origin { lsn, committed_at, .. } = **origin;
        Some(ReadSpan { trace, operation, lsn, committed_at })
    }

    /// The change is routed: so many changes go to sinks, and so many routes could not map it.
    pub fn end(&self, span: &ReadSpan, deliveries: usize, unroutable: usize) {
        self.reads.traces.tell(Span {
            trace: span.trace.id,
            id: span.trace.read,
            parent: None,
            began: self.began,
            ended: Timestamp::now(),
            operation: span.operation,
            done: Done::Read(Read {
                source: Arc::clone(&self.reads.source),
                range: Arc::clone(&self.range),
                alone: self.alone.clone(),
                lsn: span.lsn,
                committed_at: span.committed_at,
                deliveries,
                unroutable,
            }),
        });
    }
}
