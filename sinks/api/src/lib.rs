//! The contract between cosmos-bridge and whatever it writes to.
//!
//! A [`Sink`] makes one attempt and answers once for every [`Change`] it was given. Waiting,
//! repeating and remembering are the bridge's work.

mod change;
mod sink;
mod size;

pub use change::{Change, ContainerName, Document, KeyValue, Operation, Origin, PartitionKey};
pub use sink::{Cause, Limits, Outcome, RequestUnits, Sink, SinkError, Wait, Written};
pub use size::{document_bytes, document_memory};
