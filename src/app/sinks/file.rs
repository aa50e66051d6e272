//! JSON Lines in files, or on the standard output.

use std::sync::Arc;

use cosmos_bridge_event::Oversize;
use cosmos_bridge_file::{FileSink, Output, Settings};
use cosmos_bridge_sink::Sink;

use super::encoder;
use crate::config::{self, Events};

pub(super) fn open(name: &str, sink: &config::FileSink) -> Arc<dyn Sink> {
    let settings = Settings {
        output: match &sink.path {
            Some(path) => Output::File {
                path: path.clone(),
                rotate_bytes: sink.rotate_bytes as u64,
                rotate_after: sink.rotate_after,
            },
            None => Output::Standard,
        },
        // A line may be as long as it likes.
        encoder: encoder(name, Events { format: sink.format, oversize: Oversize::DeadLetter }),
    };
    Arc::new(FileSink::new(name, settings))
}
