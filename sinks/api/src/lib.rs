//! The contract between cosmos-bridge and the targets that it writes to.
//!
//! A [`Sink`] makes one attempt and returns one [`Outcome`] for each [`Change`] of a write. The
//! bridge waits, retries and stores positions.
//!
//! Sinks share [`Answers`] for the outcomes of one write, [`SharedConnection`] for a connection that
//! is opened when it is needed, [`Class`] for what an error of the target means, and [`EventLog`] for log
//! lines that may be repeated.

mod answers;
mod change;
mod class;
mod connect;
mod document;
mod json_scan;
mod json_text;
mod log_throttle;
mod mutex;
mod path;
mod secret;
mod sink;
mod size;
mod template;
mod text;
mod trace;

pub use answers::{Answers, EARLIER_CHANGE};
pub use change::{
    Change, ContainerName, DocumentId, Expiry, KeyValue, OldCopies, Operation, Origin,
    PartitionKey, Place, SYSTEM_PROPERTIES,
};
pub use class::Class;
pub use connect::SharedConnection;
pub use document::{Document, Fields};
pub use json_text::{Element, elements, elements_of, members};
pub use log_throttle::{Due, Episode, EventLog, LogThrottle};
pub use mutex::Mutex;
pub use path::{Path, PathError};
pub use secret::{NoToken, Secret, Token, TokenSource};
pub use sink::{
    Cause, Grouping, Limits, Outcome, RequestUnits, Sink, SinkError, SinkErrorKind, Wait, Written,
};
pub use size::{document_bytes, document_memory};
pub use template::{Piece, Property, Template, TemplateError, Unrenderable};
pub use text::{is_exact_whole, json_text, kind, may_be_rounded, number, plain_text};
pub use trace::Trace;
