//! What two containers need to mirror each other, by what their accounts say.

use crate::config;
use crate::cosmos::ContainerHandle;

/// Why containers cannot mirror each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MirrorError {
    #[error(
        "its source `{container}` sends no previous images of {changes}, or only parts of them"
    )]
    PreviousImages { container: String, changes: &'static str },
    #[error(
        "its source has the partition key [{source_paths}], and its container has [{target_paths}]"
    )]
    KeyPaths { source_paths: String, target_paths: String },
    #[error("its source has another default time to live than its container")]
    DefaultTtl,
    #[error("the partition key {path} lies in `{field}`, the field of the record")]
    Field { path: String, field: String },
    #[error("the log of conflicts `{container}` has the partition key [{paths}], and not [/id]")]
    LogKey { container: String, paths: String },
    #[error("the log of conflicts is one of the containers that mirror each other: `{container}`")]
    LogItself { container: String },
    #[error("a part of the data cannot be sent again to a container that is mirrored")]
    Backfill,
}

impl MirrorError {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::PreviousImages { .. } => {
                "Set previousImageRetentionPolicy of the container: mode 3 of allVersionsAndDeletes, without \
                 includedPaths. What a change has replaced tells which version of the other side it has seen."
            }
            Self::KeyPaths { .. } => {
                "Create the target container with the partition key of the source."
            }
            Self::DefaultTtl => "Give both containers the same default time to live, or none.",
            Self::Field { .. } => "Choose another `field` in both tables.",
            Self::LogKey { .. } | Self::LogItself { .. } => {
                "Name a container of its own, with the partition key /id."
            }
            Self::Backfill => {
                "Write the documents again on one side: the mirror carries them over."
            }
        }
    }
}

/// Refuses two containers whose documents cannot be the same, or be compared.
pub(super) fn refuse(
    mirror: &config::Mirror,
    source: &ContainerHandle,
    target: &ContainerHandle,
) -> Result<(), MirrorError> {
    let images = &source.previous_images;
    let changes = match (images.replaces, images.deletes) {
        (false, false) => Some("replacements and deletes"),
        (false, true) => Some("replacements"),
        (true, false) => Some("deletes"),
        (true, true) => (!images.hold_everything()).then_some("replacements and deletes"),
    };
    if let Some(changes) = changes {
        return Err(MirrorError::PreviousImages { container: source.name.clone(), changes });
    }
    if source.key_paths != target.key_paths {
        let [source_paths, target_paths] = [source, target].map(|one| one.key_paths.join(", "));
        return Err(MirrorError::KeyPaths { source_paths, target_paths });
    }
    if source.default_ttl() != target.default_ttl() {
        return Err(MirrorError::DefaultTtl);
    }
    let is_in_field = |path: &&String| {
        config::Path::parse(path).is_some_and(|path| path.segments().first() == Some(&mirror.field))
    };
    match source.key_paths.iter().find(is_in_field) {
        Some(path) => Err(MirrorError::Field { path: path.clone(), field: mirror.field.clone() }),
        None => Ok(()),
    }
}
