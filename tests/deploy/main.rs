//! The files below `deploy/`, the documents, and the bridge inside its image.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod confined;
mod demo;
mod docs;
mod files;
#[path = "../support/mod.rs"]
mod support;
