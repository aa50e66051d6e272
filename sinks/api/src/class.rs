//! What an error of a target means for the change that met it.

use crate::Cause;

/// How a sink treats the change that met an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The target will never accept this change.
    Rejected,
    /// The message, or the batch that it was in, is larger than the target accepts.
    TooLarge,
    /// A later attempt can succeed.
    Deferred(Cause),
}

impl Class {
    /// The target is overloaded, unreachable or failing, for every change.
    pub const BUSY: Self = Self::Deferred(Cause::Busy);
    /// An operator has to act, or the error is unknown; other changes are not affected.
    pub const FAULT: Self = Self::Deferred(Cause::Fault);
    /// The throughput is used up.
    pub const THROTTLED: Self = Self::Deferred(Cause::Throttled);

    /// Why a later attempt can succeed; `None` if it cannot.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Deferred(cause) => Some(cause),
            Self::Rejected | Self::TooLarge => None,
        }
    }
}
