//! The real binary with tokens of local endpoints and with secrets that change while it runs, in files and in a
//! key vault: expiry, rotation, and an unavailable authority. Tokens are valid for seconds here.

mod entra_sinks;
mod kinds;
mod rotation;
mod scene;
mod tls;
mod trouble;
mod vault;
