//! Reads the change feed, one feed range at a time.

mod change;

pub use change::{Event, SourceChange};
