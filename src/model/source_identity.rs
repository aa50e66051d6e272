//! The container and mode that a position belongs to.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    LatestVersion,
    AllVersionsAndDeletes,
}

/// The container and mode that a pipeline reads. A position is only valid for one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// `account/database/container` of the configuration, for messages.
    pub container: String,
    /// The resource id of the container.
    pub rid: String,
    pub mode: Mode,
}
