//! The real binary with tokens of local endpoints, and with secrets that change while it runs, in files
//! and in a key vault: through expiries, rotations and an authority that is away. Tokens hold for seconds here.

#![expect(clippy::unwrap_used, reason = "what fails here is to fail the test")]

#[path = "credentials/entra_sinks.rs"]
mod entra_sinks;
#[path = "credentials/kinds.rs"]
mod kinds;
#[path = "credentials/rotation.rs"]
mod rotation;
#[path = "credentials/scene.rs"]
mod scene;
mod support;
#[path = "credentials/tls.rs"]
mod tls;
#[path = "credentials/trouble.rs"]
mod trouble;
#[path = "credentials/vault.rs"]
mod vault;
