//! `[sinks.file.<name>]`: JSON Lines in files, or on the standard output.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::{ContentMode, Format};

use super::super::defaults;
use super::super::reader::Value;
use super::as_usize;
use super::events::{format, tells_of_deletes};

/// `[sinks.file.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSink {
    /// The file that is written to; `None` is the standard output.
    pub path: Option<PathBuf>,
    /// A file that has reached this size is closed and given a name of its own.
    pub rotate_bytes: usize,
    /// So is one that was begun so long ago.
    pub rotate_after: Option<Duration>,
    pub format: Format,
}

pub(super) fn read(value: &Value<'_>) -> Option<FileSink> {
    let table = value.table("a table", "")?;
    let path = table.required("path", "Write a file, or \"-\" for the standard output.");
    let path = path.and_then(|path| match path.filled()?.as_str() {
        "-" => Some(None),
        _ => path.file().map(Some),
    });
    let rotate_bytes = table.or("rotate_bytes", as_usize(defaults::ROTATE_BYTES), |bytes| {
        bytes.size(&defaults::ROTATE_SIZES)
    });
    let rotate_after =
        table.maybe("rotate_after", |after| after.duration(&defaults::ROTATE_INTERVALS));
    // There are no headers that a binary event could be in.
    let format = format(&table, &[ContentMode::Structured])
        .and_then(|format| tells_of_deletes(value, format));
    table.finish();
    Some(FileSink {
        path: path?,
        rotate_bytes: rotate_bytes?,
        rotate_after: rotate_after?,
        format: format?,
    })
}
