//! The sink against Redis; what it wrote is read back by an independent client.

#![expect(clippy::unwrap_used, reason = "tests")]

mod check;
mod cluster;
mod conformance;
mod documents;
mod faults;
mod outage;
mod streams;
mod support;
mod versions;
