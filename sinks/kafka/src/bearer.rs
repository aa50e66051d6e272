//! Bearer tokens for the client, which asks for them on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cosmos_bridge_sink::{Secret, Token, TokenSource};
use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::settings::Sasl;
use crate::token::Claims;

/// The client's thread answers nothing else meanwhile, acknowledgements included. Mostly it takes one
/// request to the authority, and where that is slow, the token in memory does.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);

/// Where the client's tokens come from, and what it has of them.
#[derive(Debug)]
pub(crate) struct Bearer {
    origin: Origin,
    /// What the client was given last.
    given: Mutex<Option<Secret>>,
    /// Whether a broker has refused that.
    refused: AtomicBool,
}

#[derive(Debug)]
enum Origin {
    Fixed(Secret),
    Source { source: Arc<dyn TokenSource>, runtime: Handle },
}

impl Bearer {
    /// `None` where connections are proved otherwise.
    ///
    /// # Panics
    ///
    /// It is to take tokens of a source outside of a runtime.
    pub(crate) fn of(sasl: Option<&Sasl>) -> Option<Self> {
        let origin = match sasl {
            Some(Sasl::Bearer { token }) => Origin::Fixed(token.clone()),
            Some(Sasl::Tokens { source }) => {
                Origin::Source { source: Arc::clone(source), runtime: Handle::current() }
            }
            Some(Sasl::Password { .. }) | None => return None,
        };
        Some(Self { origin, given: Mutex::default(), refused: AtomicBool::new(false) })
    }

    /// A token for the client, on its thread.
    pub(crate) fn give(&self) -> Result<OAuthToken, String> {
        let token = match &self.origin {
            Origin::Fixed(text) => of_text(text),
            Origin::Source { source, runtime } => {
                let token =
                    runtime.block_on(async { timeout(TOKEN_WITHIN, source.renewed()).await });
                let token = token.map_err(|_| "no token in time".to_owned())?;
                of_token(&token.map_err(|error| format!("{error}. {}", error.hint))?)
            }
        };
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Secret::new(token.token.clone()));
        self.refused.store(false, Ordering::Release);
        Ok(token)
    }

    /// A broker has refused what it was given. On the client's thread.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
        if let Origin::Source { source, runtime } = &self.origin {
            let _runtime = runtime.enter();
            source.refused();
        }
    }

    /// Whether there is another token than the one that was refused. The client itself asks for
    /// none before most of its time is over; to be called more often than that, so that the next
    /// one is fetched by then.
    pub(crate) async fn is_outdated(&self) -> bool {
        let Origin::Source { source, .. } = &self.origin else { return false };
        let Ok(Ok(next)) = timeout(TOKEN_WITHIN, source.token()).await else { return false };
        if !self.refused.load(Ordering::Acquire) {
            return false;
        }
        self.given.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(&next.text)
    }
}

fn of_text(text: &Secret) -> OAuthToken {
    let Claims { principal, ends } = Claims::of(text.expose(), SystemTime::now());
    OAuthToken { token: text.expose().to_owned(), principal_name: principal, lifetime_ms: ends }
}

/// The issuer's word on its end counts.
fn of_token(token: &Token) -> OAuthToken {
    let ends = token.expires_on.duration_since(UNIX_EPOCH).unwrap_or_default();
    let lifetime_ms = i64::try_from(ends.as_millis()).unwrap_or(i64::MAX);
    OAuthToken { lifetime_ms, ..of_text(&token.text) }
}
