//! What the delivery to one sink tells.

use std::collections::HashMap;
use std::sync::Arc;

use cosmos_bridge_event::{Identity, SpanKey};
use cosmos_bridge_sink::{Cause, Change, Outcome};
use jiff::Timestamp;

use super::Traces;
use super::destination::Destination;
use super::span::{Done, Span, Written};
use crate::config::Sink;

/// Tells what becomes of changes in one sink.
#[derive(Debug)]
pub struct Writes {
    traces: Arc<Traces>,
    destination: Arc<Destination>,
    key: SpanKey,
}

/// The spans of changes that are offered together, from now on.
#[derive(Debug)]
pub struct WriteSpans<'w> {
    writes: Option<(&'w Writes, Timestamp)>,
    /// How often those were offered, by their spans, that were not taken at once; and why not.
    deferred: HashMap<[u8; 8], (u32, Cause)>,
}

impl Writes {
    pub fn new(traces: Arc<Traces>, name: &str, sink: &Sink) -> Self {
        let destination = Arc::new(Destination::of(name, sink));
        Self { traces, destination, key: SpanKey::writing(name) }
    }
}

impl<'w> WriteSpans<'w> {
    pub fn begin(writes: Option<&'w Writes>) -> Self {
        let writes = writes.map(|writes| (writes, Timestamp::now()));
        Self { writes, deferred: HashMap::new() }
    }

    /// One attempt was made with this change; `cause` is why it has to be made again.
    pub fn count(&mut self, change: &Change, outcome: &Outcome, cause: Cause) {
        let (Some(trace), Some((writes, began))) = (change.origin.trace, self.writes) else {
            return;
        };
        let identity = Identity::of(change);
        let id = identity.span(writes.key);
        if matches!(outcome, Outcome::Deferred { .. }) {
            let (times, last) = self.deferred.entry(id).or_insert((0, cause));
            (*times, *last) = (*times + 1, cause);
            return;
        }
        let deferred = self.deferred.remove(&id);
        writes.traces.tell(Span {
            trace: trace.id,
            id,
            parent: Some(trace.read),
            began,
            ended: Timestamp::now(),
            operation: change.operation.name(),
            done: Done::Written(Written {
                destination: Arc::clone(&writes.destination),
                event: identity.id(),
                attempts: 1 + deferred.map_or(0, |(times, _)| times),
                waited: deferred.map(|(_, cause)| cause),
                rejected: matches!(outcome, Outcome::Rejected { .. }),
            }),
        });
    }
}
