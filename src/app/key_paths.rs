//! The partition key paths of containers.

use super::RunError;
use crate::config::Path;
use crate::cosmos::ContainerHandle;

/// The partition key paths of a container.
#[allow(clippy::result_large_err, reason = "called once at the start")]
pub(super) fn key_paths(container: &ContainerHandle) -> Result<Vec<Path>, RunError> {
    let parse = |path: &String| {
        Path::parse(path).ok_or_else(|| RunError::KeyPath {
            container: container.name.clone(),
            path: path.clone(),
        })
    };
    container.key_paths.iter().map(parse).collect()
}
