//! A local stand-in for Azure Event Hubs: AMQP 1.0 on loopback, for trials and tests.
//!
//! Producers and consumers of the official clients work against it unchanged with a connection string
//! that says `UseDevelopmentEmulator=true`. What it does as the service does, and what it does not,
//! is in the README of this crate.

mod amqp;
mod connection;
mod control;
mod credit;
mod fault;
mod hash;
mod hub;
mod ingest;
mod journal;
mod jwt;
mod link;
mod local;
mod log;
mod message;
mod namespace;
mod nodes;
mod out;
pub mod process;
pub mod python;
mod sas;
mod selector;
mod session;
#[cfg(test)]
mod wire;

pub use control::Control;
pub use fault::{Fault, Injection};
pub use jwt::{Authority, Trust};
pub use local::{LocalHubs, Options, StoredEvent};
pub use nodes::Node;

/// Locks a mutex. A panic never leaves its value half changed, so poisoning is ignored.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
