//! Credentials and their rotation, and the search for secrets in everything that is printed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod credentials;
mod discretion;
#[path = "../support/mod.rs"]
mod support;
