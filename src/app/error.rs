//! Errors of a run, with exit codes and hints.

use std::time::Duration;

use cosmos_bridge_sink::{SinkError, SinkErrorKind};
use tokio::task::JoinError;

use super::loops::LoopError;
use super::mirrors::MirrorError;
use super::targets::ChoiceError;
use crate::cosmos::{ConnectError, CosmosError};
use crate::exit_code;
use crate::identity::ReadError;
use crate::route::RouteError;
use crate::source::{LimitExceeded, PipelineError, ReplayError, SinkSample};
use crate::state::StateError;
use crate::throughput::BudgetError;
use crate::traces::TracesError;

/// Why a run could not start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Cosmos(#[from] CosmosError),
    /// `attempt` names the use of the secret, and begins the message.
    #[error("{attempt}: {source}")]
    Secret { attempt: String, source: ReadError },
    #[error(transparent)]
    Budget(#[from] BudgetError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("pipeline `{pipeline}`: {source}")]
    Route { pipeline: String, source: RouteError },
    #[error("container `{container}` has an unsupported partition key path: {path}")]
    KeyPath { container: String, path: String },
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error("sink `{sink}`: {source}")]
    Sink { sink: String, source: SinkError },
    #[error("pipeline `{pipeline}`: {source}")]
    Pipeline { pipeline: String, source: PipelineError },
    #[error("internal error (bug): {0}")]
    Failed(#[from] JoinError),
    #[error("work in flight did not finish within {} s; it is repeated at the next start", .0.as_secs())]
    StopTimeout(Duration),
    #[error("parked: {0}")]
    Parked(CosmosError),
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    #[error(transparent)]
    Loop(#[from] LoopError),
    #[error("sink `{sink}` cannot mirror: {source}")]
    Mirror { sink: String, source: MirrorError },
    #[error("parked: pipeline `{pipeline}`: {source}")]
    TooManyLetters { pipeline: String, source: LimitExceeded },
    #[error(
        "caught up, but the ledger of sink `{sink}` of pipeline `{pipeline}` does not balance: {missing} changes \
         were read, and nothing tells what became of them"
    )]
    Unbalanced { pipeline: String, sink: String, missing: i64 },
    /// Found by a check.
    #[error("{0}")]
    AllRejected(SinkSample),
    #[error("--where: {0}")]
    Condition(String),
}

impl RunError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cosmos(error) | Self::Pipeline { source: PipelineError::Cosmos(error), .. } => {
                error.exit_code()
            }
            Self::Secret { source, .. }
            | Self::Traces(TracesError::Secret(source @ ReadError::Vault(_))) => source.exit_code(),
            Self::Budget(error) => error.exit_code(),
            Self::State(error) | Self::Pipeline { source: PipelineError::State(error), .. } => {
                error.exit_code()
            }
            Self::Parked(_) | Self::TooManyLetters { .. } => exit_code::PARKED,
            Self::Unbalanced { .. } => exit_code::UNBALANCED,
            Self::Choice(_) | Self::Condition(_) => exit_code::USAGE,
            Self::Pipeline { source: PipelineError::Lost(_), .. } => exit_code::STATE,
            Self::Traces(TracesError::Collector(_)) => exit_code::UNREACHABLE,
            Self::Traces(_)
            | Self::Route { .. }
            | Self::AllRejected(_)
            | Self::KeyPath { .. }
            | Self::Mirror { .. }
            | Self::Loop(_) => exit_code::CONFIG,
            Self::Sink { source, .. } => match source.kind {
                SinkErrorKind::Unreachable => exit_code::UNREACHABLE,
                SinkErrorKind::Denied => exit_code::DENIED,
                SinkErrorKind::Missing => exit_code::MISSING,
                SinkErrorKind::Invalid => exit_code::CONFIG,
                SinkErrorKind::Other => exit_code::FAILED,
            },
            Self::StopTimeout(_) => exit_code::STOP_TIMEOUT,
            Self::Pipeline { .. } | Self::Failed(_) => exit_code::FAILED,
        }
    }

    /// What the operator can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cosmos(error)
            | Self::Parked(error)
            | Self::Pipeline { source: PipelineError::Cosmos(error), .. } => error.hint(),
            Self::Secret { source, .. } => Some(source.hint()),
            Self::Budget(error) => error.hint(),
            Self::State(error) | Self::Pipeline { source: PipelineError::State(error), .. } => {
                Some(error.hint())
            }
            Self::Pipeline { source: PipelineError::Lost(_), .. } => {
                Some("Stop the other process that replicates this pipeline.".to_owned())
            }
            Self::Route { source: RouteError::KeyPathMismatch { .. }, .. } => Some(
                "Make the route's partition_key name the target's key paths in their order, or \
                 create the target container with the paths of the route."
                    .to_owned(),
            ),
            Self::Traces(error) => Some(error.hint()),
            Self::Choice(error) => Some(error.hint()),
            Self::Loop(error) => Some(error.hint().to_owned()),
            Self::Mirror { source, .. } => Some(source.hint().to_owned()),
            Self::Sink { source, .. } => source.hint.clone(),
            Self::AllRejected(_) => Some(
                "The bridge would be parked. Correct the names of the fields in the pipeline's routes."
                    .to_owned(),
            ),
            Self::TooManyLetters { source, .. } => Some(source.hint().to_owned()),
            Self::Unbalanced { .. } => Some(
                "This is a defect of the bridge: report it with the log. Compare source and target and write \
                 what is missing again; then `cosmos-bridge ledger --accept` takes note of it."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl From<ReplayError> for RunError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::State(error) => Self::State(error),
            ReplayError::Cosmos(error) => Self::Cosmos(error),
            ReplayError::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<ConnectError> for RunError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Cosmos(error) => Self::Cosmos(error),
            ConnectError::Secret { account, source } => {
                Self::Secret { attempt: format!("connecting to account `{account}`"), source }
            }
        }
    }
}
