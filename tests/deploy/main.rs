//! The files below `deploy/`, and the bridge inside its image.

mod confined;
mod files;
#[path = "../support/mod.rs"]
mod support;
