//! The files below `deploy/`, the documents, and the bridge inside its image.

mod confined;
mod docs;
mod files;
#[path = "../support/mod.rs"]
mod support;
