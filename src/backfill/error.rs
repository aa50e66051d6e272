//! Why a backfill failed, with exit codes and hints.

use std::io;
use std::time::Duration;

use crate::app::RunError;
use crate::exit_code;

/// Why a backfill failed.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    #[error(transparent)]
    Run(Box<RunError>),
    #[error("{}", .0.join("\n"))]
    Usage(Vec<String>),
    #[error("work in flight did not finish within {} s", .0.as_secs())]
    StopTimeout(Duration),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl BackfillError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Usage(_) => exit_code::USAGE,
            Self::StopTimeout(_) => exit_code::STOP_TIMEOUT,
            Self::Output(_) => exit_code::FAILED,
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Usage(_) => Some("`cosmos-bridge backfill --help` shows the options.".to_owned()),
            Self::StopTimeout(_) => {
                Some("Give the command again: a repetition is harmless.".to_owned())
            }
            Self::Output(_) => None,
        }
    }
}

impl From<RunError> for BackfillError {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}
