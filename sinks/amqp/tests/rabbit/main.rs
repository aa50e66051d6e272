//! The sink against `RabbitMQ`; messages are read back by an independent client.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "the figures, for who compares them")]

mod check;
mod conformance;
mod faults;
mod restarts;
mod support;
