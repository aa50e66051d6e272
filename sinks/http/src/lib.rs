//! Posts changes to an HTTP endpoint: a function, a workflow, a topic, or your own webhook.
//!
//! A change is delivered when the endpoint has answered with a success status. A request holds one or
//! several events, as `CloudEvents` in the HTTP binding or as plain JSON.

mod classify;
mod connection;
mod content;
mod earlier_attempts;
mod message;
mod open;
mod options;
mod settings;
mod sink;

pub use classify::{TABLE, classify};
pub use content::Invalid;
pub use options::HttpOptions;
pub use settings::Settings;
pub use sink::HttpSink;
