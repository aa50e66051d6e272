//! The configuration file: messages about mistakes, the example and the reference page.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod example;
mod messages;
#[path = "../support/mutations.rs"]
mod mutations;
mod mutations_of_the_example;
