//! What a file sink is told.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::Encoder;

/// How to write, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    pub output: Output,
    pub encoder: Encoder,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// This process's standard output.
    Standard,
    File {
        /// The file that is written to.
        path: PathBuf,
        /// A file that has reached this size is closed and given a name of its own.
        rotate_bytes: u64,
        /// So is one that was begun so long ago.
        rotate_after: Option<Duration>,
    },
}
