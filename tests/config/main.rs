//! The configuration file: messages about mistakes, the example and the reference page.

mod example;
mod messages;
