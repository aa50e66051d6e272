//! `[sinks.file.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::LineOptions;
use cosmos_bridge_options::{Kind, duration, file, options, size, text_of};

const KIB: u64 = 1024;
const TIB: u64 = KIB * KIB * KIB * KIB;

options! {
    /// JSON Lines in a file, written to disk before a position is stored.
    pub struct FileOptions {
        /// The file; "-" is the standard output.
        path: Output = required("Write a file, or \"-\" for the standard output."), output();
        /// A file of this size is renamed to events-20260131T000000Z.jsonl, and a new one is started.
        // Text tools still open such a file without delay.
        rotate_bytes: u64 = "256 MiB", size(64 * KIB..=TIB);
        /// A file of this age is renamed in the same way.
        // A file per second is a folder that nothing can list.
        rotate_after: Option<Duration> =
            optional, duration(Duration::from_secs(1)..=Duration::from_hours(24 * 31)), example "1h";
        events: LineOptions = flatten;
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// This process's standard output.
    Standard,
    File(PathBuf),
}

fn output() -> impl Kind<Output = Output> {
    text_of("a file, or \"-\"", |value, text| match text.as_str() {
        "-" => Some(Output::Standard),
        _ => file().read(value).map(Output::File),
    })
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_options::from_toml;

    use super::{FileOptions, Output};

    #[test]
    fn a_dash_alone_is_the_standard_output() {
        for (written, is_standard) in [("-", true), ("events.jsonl", false), ("./-", false)] {
            let options: FileOptions = from_toml(&format!("path = '{written}'")).unwrap();
            assert_eq!(options.path == Output::Standard, is_standard, "{written}");
        }
    }
}
