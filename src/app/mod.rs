//! Puts everything together: builds what the configuration asks for, runs it, and reloads it.

mod build;
mod error;
mod reload;
mod reloading_sink;
mod run;
mod secrets;
mod sinks;

pub use error::RunError;
pub use reload::Reloader;
pub use reloading_sink::ReloadingSink;
pub use run::{Bridge, Until};
