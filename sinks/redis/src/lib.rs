//! Writes changes to Redis or Valkey: documents as values, or events in streams.
//!
//! A server-side script compares the version of each document with the version that was written
//! last, so an older version never replaces a newer one, not even if it arrives late.

mod classify;
mod connection;
mod open;
mod options;
mod script;
mod settings;
mod sink;
mod slot;

pub use classify::{Row, TABLE};
pub use options::{
    DocumentOptions, Expiry, RedisOptions, Server, ServerOptions, StreamOptions, Tls, Ttl,
};
pub use settings::{Certificates, Mode, Settings, Stream};
pub use sink::RedisSink;
