//! The bridge's identities in Microsoft Entra ID, and the secrets it reads with them from key vaults.
//! The only module that uses `azure_identity`.
//!
//! [`Identities`] has one [`Identity`] for each of the `[credentials]`. An identity returns
//! [`Token`]s by scope: they are cached, renewed before they expire, and fetched again with growing
//! pauses after a failure.

mod certificate;
mod credential;
mod entra;
mod for_sdk;
mod for_sink;
mod identities;
mod issuer;
mod one_line;
mod secret;
mod token;
mod token_cache;
mod vault;

pub use credential::Identity;
pub use identities::Identities;
pub use issuer::Issuer;
pub use secret::{ReadError, pause_of};
pub use token::{Token, TokenError, TokenErrorKind};
pub use vault::VaultError;

#[cfg(test)]
mod tests;
