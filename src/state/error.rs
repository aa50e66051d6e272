//! Why the state cannot be used.

use std::io;

use rusqlite::ErrorCode;

use super::targets::ChangedTarget;
use crate::exit_code;
use crate::model::TargetDifference;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot use the state file `{file}`: {source}")]
    File { file: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("another process uses the state file `{file}`")]
    Busy { file: String },
    #[error("the state file `{file}` was written by a newer version ({version})")]
    Newer { file: String, version: i64 },
    #[error("the state file `{file}` was written by an older version ({version})")]
    Older { file: String, version: i64 },
    #[error("there is no state file `{file}`")]
    None { file: String },
    #[error("positions are stored for {stored}, and the configuration says {configured}")]
    OtherSource { pipeline: String, stored: String, configured: String },
    #[error(
        "container `{container}` was deleted and created again: its positions mean nothing any more"
    )]
    Recreated { pipeline: String, container: String },
    #[error("{}", one_line(.0))]
    OtherTarget(Vec<ChangedTarget>),
}

impl StateError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        match self {
            Self::File { source, .. } => file_hint(source.as_ref()).to_owned(),
            Self::Busy { .. } => {
                "Stop the other process, or configure a different state file.".to_owned()
            }
            Self::Newer { .. } => "Use the newer version of cosmos-bridge.".to_owned(),
            Self::Older { .. } => {
                "Start the bridge once: it brings the file to its version.".to_owned()
            }
            Self::None { .. } => {
                "The bridge creates it at its first start. Name the file in [state].".to_owned()
            }
            Self::OtherSource { pipeline, .. } => format!(
                "Give the pipeline a new name to start afresh, or restore what `{pipeline}` read."
            ),
            Self::Recreated { pipeline, .. } => format!(
                "Nothing was read from the new container. To copy it from its start, give pipeline \
                 `{pipeline}` a new name."
            ),
            Self::OtherTarget(changed) => choices(changed),
        }
    }

    /// The exit code of a start that fails with this error.
    pub fn exit_code(&self) -> u8 {
        let is_recreated =
            |changed: &ChangedTarget| changed.difference == TargetDifference::Recreated;
        match self {
            Self::Recreated { .. } => exit_code::PARKED,
            Self::OtherTarget(changed) if changed.iter().all(is_recreated) => exit_code::PARKED,
            Self::OtherSource { .. } | Self::OtherTarget(_) => exit_code::CONFIG,
            Self::File { .. }
            | Self::Busy { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::None { .. } => exit_code::STATE,
        }
    }
}

/// What to do about a file that cannot be used.
fn file_hint(error: &(dyn std::error::Error + Send + Sync + 'static)) -> &'static str {
    let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    // Of a transaction, only the text is left.
    if error.to_string().contains("disk is full") {
        return "Make room on the disk.";
    }
    match (code, kind) {
        (Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt), _) => {
            "The file is damaged. Restore a copy of it and of its `-wal` and `-shm`. Without a copy, move \
             all three away: the bridge starts from the beginning, and its dead letters are lost."
        }
        (Some(ErrorCode::DiskFull), _) | (_, Some(io::ErrorKind::StorageFull)) => {
            "Make room on the disk."
        }
        (_, Some(io::ErrorKind::IsADirectory)) => "[state] file must name a file, not a folder.",
        _ => "The folder must exist, and the file and its folder must be writable.",
    }
}

fn one_line(changed: &[ChangedTarget]) -> String {
    changed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn choices(changed: &[ChangedTarget]) -> String {
    let mut sinks: Vec<_> = changed.iter().map(|changed| changed.sink.as_str()).collect();
    sinks.sort_unstable();
    sinks.dedup();
    let flags = |flag: &str| {
        let flags = sinks.iter().map(|sink| format!("{flag} {sink}"));
        flags.collect::<Vec<_>>().join(" ")
    };
    format!(
        "Nothing was read or written. To copy everything from the configured start into the present \
         target, use `run {}`. If that target already has what was copied so far, continue with \
         `run {}`. Otherwise restore what the name referred to.",
        flags("--start-over"),
        flags("--adopt")
    )
}

#[cfg(test)]
mod tests {
    use super::{StateError, file_hint, io};
    use crate::exit_code;
    use crate::model::{TargetDifference, TargetIdentity};
    use crate::state::ChangedTarget;

    #[test]
    fn a_start_that_the_state_refuses_has_the_exit_code_of_its_reason() {
        let text = |text: &str| text.to_owned();
        let file = || text("bridge.db");
        let changed = |difference| ChangedTarget {
            pipeline: text("orders"),
            sink: text("copy"),
            stored: TargetIdentity::container("a", "d", "c", "1"),
            current: TargetIdentity::container("a", "d", "c", "2"),
            difference,
        };
        let [recreated, other] =
            [TargetDifference::Recreated, TargetDifference::Other].map(changed);
        let source = || Box::new(io::Error::from(io::ErrorKind::StorageFull));
        let cases = [
            (StateError::File { file: file(), source: source() }, exit_code::STATE),
            (StateError::Busy { file: file() }, exit_code::STATE),
            (StateError::Newer { file: file(), version: 9 }, exit_code::STATE),
            (StateError::Older { file: file(), version: 1 }, exit_code::STATE),
            (StateError::None { file: file() }, exit_code::STATE),
            (
                StateError::OtherSource {
                    pipeline: text("orders"),
                    stored: text("a/d/c"),
                    configured: text("a/d/e"),
                },
                exit_code::CONFIG,
            ),
            (
                StateError::Recreated { pipeline: text("orders"), container: text("a/d/c") },
                exit_code::PARKED,
            ),
            (StateError::OtherTarget(vec![recreated.clone()]), exit_code::PARKED),
            (StateError::OtherTarget(vec![other.clone()]), exit_code::CONFIG),
            (StateError::OtherTarget(vec![recreated, other]), exit_code::CONFIG),
        ];
        for (error, code) in cases {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_has_the_remedy_of_its_cause() {
        let sqlite = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let hint = |error: Box<dyn std::error::Error + Send + Sync>| file_hint(&*error);
        let cases = [
            (hint(sqlite(rusqlite::ffi::SQLITE_NOTADB).into()), "The file is damaged."),
            (hint(sqlite(rusqlite::ffi::SQLITE_CORRUPT).into()), "The file is damaged."),
            (hint(sqlite(rusqlite::ffi::SQLITE_FULL).into()), "Make room on the disk."),
            (hint(io::Error::from(io::ErrorKind::StorageFull).into()), "Make room on the disk."),
            (hint("database or disk is full".into()), "Make room on the disk."),
            (hint(io::Error::from(io::ErrorKind::IsADirectory).into()), "[state] file must name"),
            (hint(sqlite(rusqlite::ffi::SQLITE_READONLY).into()), "The folder must exist"),
            (
                hint(io::Error::from(io::ErrorKind::PermissionDenied).into()),
                "The folder must exist",
            ),
        ];
        for (at, (hint, begins)) in cases.iter().enumerate() {
            assert!(hint.starts_with(begins), "{at}: {hint}");
        }
    }
}
