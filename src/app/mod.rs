//! The application: builds the pipelines of a configuration, runs them, and reloads the configuration.

mod backfill;
mod build;
mod closing;
mod conflict_log;
mod error;
mod key_paths;
mod letters;
mod loops;
mod mirrors;
mod previous_images;
mod reload;
mod reloading_sink;
mod run;
mod secrets;
mod sinks;
mod targets;

pub use backfill::{Backfill, BackfillProgress, BackfillRequest, Counted, PassEnd};
pub use error::RunError;
pub use letters::LetterReplay;
pub use loops::LoopError;
pub use previous_images::{ImageEffect, ImageNotice};
pub use reload::Reloader;
pub use reloading_sink::ReloadingSink;
pub use run::{Bridge, End, Findings, Until};
pub use targets::{ChoiceError, TargetChoices};
