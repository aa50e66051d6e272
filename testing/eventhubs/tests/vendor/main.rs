//! The vendor's Rust client as a judge of the sink and of the stand-in. It shares no code with the
//! stand-in, and with the sink only an older version of the library for AMQP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod sink;
mod stand_in;
