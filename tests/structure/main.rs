//! The structure of the code: what depends on what, and that the documents say so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod imports;
mod layers;
