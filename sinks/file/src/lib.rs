//! Writes changes as JSON Lines into files, or to the standard output.
//!
//! A change is delivered when its line is on the disk. A line that was not finished, by a crash or a
//! full disk, is taken away before the next one is written: what is in a file is whole lines.

mod connection;
mod message;
mod settings;
mod sink;

pub use settings::{Output, Settings};
pub use sink::FileSink;
