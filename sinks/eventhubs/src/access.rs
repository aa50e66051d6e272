//! What proves to the service who the bridge is.

use std::sync::Arc;
use std::time::SystemTime;

use cosmos_bridge_sink::{Cause, NoToken, Secret, TokenSource};
use tokio::time::Instant;

use crate::problem::Problem;
use crate::signature::LIFETIME;
use crate::{Class, ConnectionString, Namespace};

/// Where the hub is, and what opens it.
#[derive(Clone, Debug)]
pub enum Access {
    /// Signatures are made with its key.
    ConnectionString(ConnectionString),
    /// Tokens of Microsoft Entra ID, for the scope [`Access::SCOPE`].
    Entra { namespace: Namespace, tokens: Arc<dyn TokenSource> },
}

/// The role that allows sending. Source: "Authorize access to Event Hubs resources using Microsoft
/// Entra ID", learn.microsoft.com, as is that an assignment takes minutes.
const ROLE: &str = "the identity needs the role \"Azure Event Hubs Data Sender\" on the hub or its \
                    namespace; a new assignment takes some minutes";

/// What is put for a hub, in the words of its `put-token` request.
///
/// Source: "AMQP 1.0 protocol guide", claims-based security, learn.microsoft.com.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    pub(crate) text: Secret,
    pub(crate) kind: &'static str,
    pub(crate) expires_on: SystemTime,
    ends: Instant,
}

impl Permit {
    fn new(text: Secret, kind: &'static str, expires_on: SystemTime) -> Self {
        let left = expires_on.duration_since(SystemTime::now()).unwrap_or_default();
        Self { text, kind, expires_on, ends: Instant::now() + left }
    }

    /// Whether its time is over: the service lets nothing in with it any more.
    pub(crate) fn has_ended(&self) -> bool {
        Instant::now() >= self.ends
    }
}

impl Access {
    /// What tokens for Event Hubs are asked for. It is the same in every cloud.
    pub const SCOPE: &'static str = "https://eventhubs.azure.net/.default";

    pub(crate) fn namespace(&self) -> &Namespace {
        match self {
            Self::ConnectionString(connection) => &connection.namespace,
            Self::Entra { namespace, .. } => namespace,
        }
    }

    /// What to put for a hub now.
    pub(crate) async fn permit(&self, hub: &str) -> Result<Permit, Problem> {
        match self {
            Self::ConnectionString(connection) => {
                let now = SystemTime::now();
                let text = connection.credential.token(&self.namespace().resource(hub), now);
                let kind = "servicebus.windows.net:sastoken";
                Ok(Permit::new(Secret::new(text), kind, now + LIFETIME))
            }
            Self::Entra { tokens, .. } => {
                let token = tokens.token().await.map_err(|error| Problem::no_token(&error))?;
                Ok(Permit::new(token.text, "jwt", token.expires_on))
            }
        }
    }

    /// What is to be put in place of what was put; mostly nothing.
    pub(crate) async fn successor(
        &self,
        held: &Permit,
        hub: &str,
    ) -> Result<Option<Permit>, Problem> {
        if matches!(self, Self::ConnectionString(_)) && Instant::now() + LIFETIME / 2 < held.ends {
            return Ok(None);
        }
        let next = self.permit(hub).await?;
        Ok((next.text != held.text).then_some(next))
    }

    /// Sees to another token where the service refused this one, and says what is missing.
    pub(crate) fn refused(&self, problem: Problem) -> Problem {
        match self {
            Self::Entra { tokens, .. } if problem.is_unauthorized => {
                tokens.refused();
                let reason = format!("{}; {ROLE}", problem.reason);
                Problem { reason, ..problem }
            }
            _ => problem,
        }
    }

    /// A sentence for whom the service does not let in.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::ConnectionString(_) => {
                "Check the connection string and the name of the hub; the key must allow sending."
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

impl Problem {
    fn no_token(error: &NoToken) -> Self {
        let cause = if error.transient { Cause::Busy } else { Cause::Fault };
        let reason = format!("{}. {}", error.message, error.hint);
        Self { class: Class::Deferred(cause), ..Self::broken(reason) }
    }
}
