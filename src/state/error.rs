//! Why the state cannot be used.

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
}

impl StateError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        match self {
            Self::File { .. } => "The folder must exist and be writable.".to_owned(),
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
        }
    }
}
