//! Records the spans of delivery.

use std::collections::HashMap;
use std::sync::Arc;

use cosmos_bridge_event::{Identity, SpanKey};
use cosmos_bridge_sink::{Cause, Change, Outcome};
use jiff::Timestamp;

use super::Traces;
use super::destination::Destination;
use super::span::{Span, Step, Written};
use crate::config::Sink;

/// Records the delivery of changes to one sink.
#[derive(Debug)]
pub struct WriteTracer {
    traces: Arc<Traces>,
    destination: Arc<Destination>,
    key: SpanKey,
}

/// The spans of the changes of one batch.
#[derive(Debug)]
pub struct WriteSpans<'w> {
    /// With the start of the spans; `None` if tracing is off.
    tracer: Option<(&'w WriteTracer, Timestamp)>,
    /// The number of attempts of deferred changes, and the cause of the last one; by span id.
    deferred: HashMap<[u8; 8], (u32, Cause)>,
}

impl WriteTracer {
    pub fn new(traces: Arc<Traces>, name: &str, sink: &Sink) -> Self {
        let destination = Arc::new(Destination::of(name, sink));
        Self { traces, destination, key: SpanKey::writing(name) }
    }
}

impl<'w> WriteSpans<'w> {
    pub fn begin(tracer: Option<&'w WriteTracer>) -> Self {
        let tracer = tracer.map(|tracer| (tracer, Timestamp::now()));
        Self { tracer, deferred: HashMap::new() }
    }

    /// Counts one attempt with this change. `cause` is the cause of a retry.
    pub fn count(&mut self, change: &Change, outcome: &Outcome, cause: Cause) {
        let (Some(trace), Some((tracer, start))) = (change.origin.trace, self.tracer) else {
            return;
        };
        let identity = Identity::of(change);
        let id = identity.span(tracer.key);
        if matches!(outcome, Outcome::Deferred { .. }) {
            let (times, last) = self.deferred.entry(id).or_insert((0, cause));
            (*times, *last) = (*times + 1, cause);
            return;
        }
        let deferred = self.deferred.remove(&id);
        tracer.traces.record(Span {
            trace: trace.id,
            id,
            parent: Some(trace.read),
            start,
            end: Timestamp::now(),
            operation: change.operation.name(),
            step: Step::Written(Written {
                destination: Arc::clone(&tracer.destination),
                event: identity.id(),
                attempts: 1 + deferred.map_or(0, |(times, _)| times),
                waited_for: deferred.map(|(_, cause)| cause),
                rejected: matches!(outcome, Outcome::Rejected { .. }),
            }),
        });
    }
}
