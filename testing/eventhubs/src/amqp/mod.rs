//! AMQP 1.0 as far as Event Hubs speaks it: values, frames and performatives.
//!
//! Written here rather than taken from the crate that the sink uses, so that client and server do
//! not share a mistake, and so that a fault can be put into any frame.

pub(crate) mod frame;
pub(crate) mod performative;
pub(crate) mod value;

pub(crate) use frame::{Frame, Kind};
pub(crate) use performative::Performative;
pub(crate) use value::{Malformed, Value};
