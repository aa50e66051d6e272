//! Which container a position belongs to, and how it is read.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    LatestVersion,
    AllVersionsAndDeletes,
}

/// What a pipeline reads. Positions mean nothing for another container or another mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// `account/database/container` of the configuration, for people.
    pub container: String,
    /// The service's id of the container.
    pub rid: String,
    pub mode: Mode,
}
