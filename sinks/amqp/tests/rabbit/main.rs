//! The sink against `RabbitMQ`; messages are read back by an independent client.

#![expect(clippy::unwrap_used, reason = "tests")]

mod check;
mod conformance;
mod faults;
mod slow;
mod support;
