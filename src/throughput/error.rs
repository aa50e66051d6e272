//! Why a budget cannot be used.

use crate::config::Amount;
use crate::cosmos::{CosmosError, CosmosErrorKind};
use crate::exit_code;

/// A budget is a share of a throughput that is unknown.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    #[error(
        "{who} has a budget of {share}, but no throughput is provisioned for container \
         `{container}` (serverless?)"
    )]
    Unprovisioned { who: String, share: Amount, container: String },
    #[error("{who} has a budget of {share}: {fault}")]
    Unread { who: String, share: Amount, fault: CosmosError },
}

impl BudgetError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unprovisioned { .. } => exit_code::CONFIG,
            Self::Unread { fault, .. } => fault.exit_code(),
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unprovisioned { .. } => {
                Some("Write an absolute budget: \"400 RU/s\".".to_owned())
            }
            Self::Unread { fault, .. } if fault.kind() == CosmosErrorKind::Denied => Some(
                "Allow the bridge to read offers, with an account key or a role for the control plane; \
                 or write an absolute budget: \"400 RU/s\"."
                    .to_owned(),
            ),
            Self::Unread { fault, .. } => fault.hint(),
        }
    }
}
