//! Why a command failed, with exit codes and hints.

use std::io;

use super::arguments::LetterName;
use crate::app::RunError;
use crate::exit_code;
use crate::state::{LetterError, StateError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum DlqError {
    #[error(transparent)]
    Run(Box<RunError>),
    #[error("another process uses the state file `{0}`")]
    Busy(String),
    #[error("there is no dead letter {0}")]
    Unknown(LetterName),
    #[error("discarding needs a filter, or --all")]
    NoFilter,
    #[error("discarding {0} dead letters needs an answer, and there is no terminal to ask")]
    NoTerminal(u64),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl DlqError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Busy(_) => exit_code::STATE,
            Self::NoFilter | Self::NoTerminal(_) => exit_code::USAGE,
            Self::Unknown(_) => exit_code::MISSING,
            Self::Output(_) => exit_code::FAILED,
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Run(error) => return error.hint(),
            Self::Busy(_) => {
                "Stop the bridge first: `replay` and `discard` change its state file.".to_owned()
            }
            Self::Unknown(_) => {
                "`cosmos-bridge dlq list` shows the numbers, and with --json the hashes.".to_owned()
            }
            Self::NoFilter => "`cosmos-bridge dlq discard --help` shows the filters.".to_owned(),
            Self::NoTerminal(_) => "Add --yes.".to_owned(),
            Self::Output(_) => return None,
        })
    }
}

impl From<StateError> for DlqError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Busy { file } => Self::Busy(file),
            error => Self::Run(Box::new(error.into())),
        }
    }
}

impl From<RunError> for DlqError {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

impl From<LetterError> for DlqError {
    fn from(error: LetterError) -> Self {
        match error {
            LetterError::State(error) => error.into(),
            LetterError::Output(error) => error.into(),
        }
    }
}
