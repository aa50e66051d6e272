//! What an operator can do about an error, and how a process ends because of it.

use cosmos_bridge_cosmos::{Class, remedy};

use super::{CosmosError, CosmosErrorKind};
use crate::exit_code;

impl CosmosError {
    /// The exit code of a start that fails with this error.
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            CosmosErrorKind::Other if self.is_without_history() => exit_code::CONFIG,
            CosmosErrorKind::Denied => exit_code::DENIED,
            CosmosErrorKind::Unreachable
            | CosmosErrorKind::Unready
            | CosmosErrorKind::Intermediary
            | CosmosErrorKind::Throttled => exit_code::UNREACHABLE,
            CosmosErrorKind::Missing => exit_code::MISSING,
            CosmosErrorKind::Other => exit_code::FAILED,
        }
    }

    /// What the operator can do, if anything.
    pub fn hint(&self) -> Option<String> {
        if self.is_about_position() {
            let hint = "The position has left the history of the account, is not of this container, or \
                        the account lost changes: after a restore, or a failover with a loss. Restore \
                        the state file that belongs to the account, or give the pipeline or the sink a \
                        new name, to copy from the configured start.";
            return Some(hint.to_owned());
        }
        if self.is_without_history() {
            let hint = "Switch on continuous backup for the account, or write mode = \
                        \"latest-version\".";
            return Some(hint.to_owned());
        }
        match self.class() {
            Class::ContainerReplaced => {
                let hint = "The new container was not touched. To copy it from its beginning, give \
                            the pipeline a new name.";
                return Some(hint.to_owned());
            }
            Class::Defect => {
                let hint = "This is a bug in the bridge or in its client library. Positions and \
                            target are unchanged. Report the message, and run the previous \
                            version until it is fixed.";
                return Some(hint.to_owned());
            }
            _ => {}
        }
        Some(match self.kind() {
            CosmosErrorKind::Denied | CosmosErrorKind::Intermediary => {
                remedy(self.answer.status, self.answer.sub_status)?.to_owned()
            }
            CosmosErrorKind::Unreachable => {
                "Check the endpoint in the configuration, the network, and that the account is \
                 available."
                    .to_owned()
            }
            CosmosErrorKind::Missing => {
                "Create the database and the container, or correct their names in the \
                 configuration."
                    .to_owned()
            }
            CosmosErrorKind::Unready | CosmosErrorKind::Throttled | CosmosErrorKind::Other => {
                return None;
            }
        })
    }
}
