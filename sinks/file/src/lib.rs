//! Writes changes as JSON Lines into files, or to the standard output.
//!
//! A change is delivered when its line is on the disk. An incomplete line, left by a crash or a full
//! disk, is removed before the next line is written, so a file holds complete lines only.

mod connection;
mod message;
mod open;
mod options;
mod sink;
mod whole_lines;

pub use options::{FileOptions, Output};
pub use sink::FileSink;
