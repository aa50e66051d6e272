//! The credential for a hub, and the tokens made from it.

use std::sync::Arc;
use std::time::SystemTime;

use cosmos_bridge_sink::{Class, NoToken, Secret, SinkErrorKind, TokenSource};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::signature::LIFETIME;
use crate::{ConnectionString, Namespace};

/// Where the hub is, and the credential for it.
#[derive(Clone, Debug)]
pub enum Access {
    /// Signatures are made with the key of the string.
    ConnectionString(ConnectionString),
    /// Tokens of Microsoft Entra ID, for the scope [`Access::SCOPE`].
    Entra { namespace: Namespace, tokens: Arc<dyn TokenSource> },
}

/// The role that allows sending. Source: "Authorize access to Event Hubs resources using Microsoft
/// Entra ID", learn.microsoft.com, as is that an assignment takes minutes.
const ROLE: &str = "the identity needs the role \"Azure Event Hubs Data Sender\" on the hub or its \
                    namespace; a new assignment takes some minutes";

/// A token for a hub, as it is sent in a `put-token` request.
///
/// Source: "AMQP 1.0 protocol guide", claims-based security, learn.microsoft.com.
#[derive(Clone, Debug)]
pub(crate) struct HubToken {
    pub(crate) text: Secret,
    pub(crate) kind: &'static str,
    pub(crate) expires_on: SystemTime,
    expires_at: Instant,
}

impl HubToken {
    fn new(text: Secret, kind: &'static str, expires_on: SystemTime) -> Self {
        let left = expires_on.duration_since(SystemTime::now()).unwrap_or_default();
        Self { text, kind, expires_on, expires_at: Instant::now() + left }
    }

    /// True if the service does not accept the token any more.
    pub(crate) fn has_expired(&self) -> bool {
        Instant::now() >= self.expires_at
    }
}

impl Access {
    /// The scope of tokens for Event Hubs. It is the same in every cloud.
    pub const SCOPE: &'static str = "https://eventhubs.azure.net/.default";

    pub(crate) fn namespace(&self) -> &Namespace {
        match self {
            Self::ConnectionString(connection) => &connection.namespace,
            Self::Entra { namespace, .. } => namespace,
        }
    }

    /// A valid token for a hub.
    pub(crate) async fn token(&self, hub: &str) -> Result<HubToken, Failure> {
        match self {
            Self::ConnectionString(connection) => {
                let now = SystemTime::now();
                let text = connection.credential.token(&self.namespace().resource(hub), now);
                let kind = "servicebus.windows.net:sastoken";
                Ok(HubToken::new(Secret::new(text), kind, now + LIFETIME))
            }
            Self::Entra { tokens, .. } => {
                let token = tokens.token().await.map_err(|error| Failure::no_token(&error))?;
                Ok(HubToken::new(token.text, "jwt", token.expires_on))
            }
        }
    }

    /// The token that must replace `held`, if there is one.
    pub(crate) async fn successor(
        &self,
        held: &HubToken,
        hub: &str,
    ) -> Result<Option<HubToken>, Failure> {
        if matches!(self, Self::ConnectionString(_))
            && Instant::now() + LIFETIME / 2 < held.expires_at
        {
            return Ok(None);
        }
        let next = self.token(hub).await?;
        Ok((next.text != held.text).then_some(next))
    }

    /// If the service refused access: requests a new token and adds the missing role to the reason.
    pub(crate) fn handle_refusal(&self, failure: Failure) -> Failure {
        match self {
            Self::Entra { tokens, .. } if failure.is_unauthorized => {
                tokens.refused();
                let reason = format!("{}; {ROLE}", failure.reason);
                Failure { reason, ..failure }
            }
            _ => failure,
        }
    }

    /// What to do if the service refuses access.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::ConnectionString(_) => {
                "Check the connection string and the name of the hub; the key needs the right to send."
            }
            Self::Entra { .. } => {
                "Check namespace, hub and credential; assign the identity the role Azure Event Hubs \
                 Data Sender."
            }
        }
    }
}

impl From<ConnectionString> for Access {
    fn from(connection: ConnectionString) -> Self {
        Self::ConnectionString(connection)
    }
}

impl Failure {
    fn no_token(error: &NoToken) -> Self {
        let class = if error.transient { Class::BUSY } else { Class::FAULT };
        let reason = format!("{}. {}", error.message, error.hint);
        Self { class, kind: SinkErrorKind::Denied, ..Self::broken(reason) }
    }
}
