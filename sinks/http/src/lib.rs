//! Posts changes to an HTTP endpoint: a function, a workflow, a topic, a webhook of one's own.
//!
//! A change is delivered when the endpoint has answered with a success. Events are `CloudEvents` in
//! the protocol's binding, one or several in a request, or plain JSON.

mod classify;
mod connection;
mod message;
mod settings;
mod sink;

pub use classify::{Class, TABLE, classify};
pub use settings::{Invalid, Settings};
pub use sink::HttpSink;
