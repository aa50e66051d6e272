//! The contract between cosmos-bridge and whatever it writes to.
//!
//! A [`Sink`] makes one attempt and answers once for every [`Change`] it was given. Waiting,
//! repeating and remembering are the bridge's work.

mod change;
mod path;
mod secret;
mod sink;
mod size;
mod template;
mod text;
mod trace;

pub use change::{Change, ContainerName, Document, KeyValue, Operation, Origin, PartitionKey};
pub use path::{Path, PathError};
pub use secret::{NoToken, Secret, Token, TokenSource};
pub use sink::{Cause, Grouping, Limits, Outcome, RequestUnits, Sink, SinkError, Wait, Written};
pub use size::{document_bytes, document_memory};
pub use template::{Piece, Property, Template, TemplateError, Unrenderable};
pub use text::{is_exact_whole, json_text, kind, may_be_rounded, number, plain_text};
pub use trace::Trace;
