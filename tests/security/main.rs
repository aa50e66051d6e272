//! Credentials and their rotation, and the search for secrets in everything that is printed.

mod credentials;
mod discretion;
#[path = "../support/mod.rs"]
mod support;
