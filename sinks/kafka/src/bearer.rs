//! Bearer tokens for the client. The client requests them on its own thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cosmos_bridge_sink::{Mutex, Secret, Token, TokenSource};
use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::settings::Sasl;
use crate::token::Claims;

/// The longest wait for a token. The thread of the client handles nothing else meanwhile, not even
/// acknowledgements. It is usually one request to the authority; if that is slow, the cached token is
/// used.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);

/// The source of the client's tokens, and the last token.
#[derive(Debug)]
pub(crate) struct Bearer {
    origin: Origin,
    /// The last token that the client got.
    given: Mutex<Option<Secret>>,
    /// True if a broker has refused this token.
    refused: AtomicBool,
}

#[derive(Debug)]
enum Origin {
    Fixed(Secret),
    Source { source: Arc<dyn TokenSource>, runtime: Handle },
}

impl Bearer {
    /// `None` if connections do not use bearer tokens.
    ///
    /// # Panics
    ///
    /// Tokens come from a source, and this is called outside a runtime.
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

    /// A token for the client. Called on its thread.
    pub(crate) fn give(&self) -> Result<OAuthToken, String> {
        let token = match &self.origin {
            Origin::Fixed(text) => of_text(text),
            Origin::Source { source, runtime } => {
                let token =
                    runtime.block_on(async { timeout(TOKEN_WITHIN, source.renewed()).await });
                let token =
                    token.map_err(|_| format!("no token within {} s", TOKEN_WITHIN.as_secs()))?;
                of_token(&token.map_err(|error| format!("{error}. {}", error.hint))?)
            }
        };
        *self.given.lock() = Some(Secret::new(token.token.clone()));
        self.refused.store(false, Ordering::Release);
        Ok(token)
    }

    /// Notes that a broker has refused the token. Called on the thread of the client.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
        if let Origin::Source { source, runtime } = &self.origin {
            let _runtime = runtime.enter();
            source.refused();
        }
    }

    /// True if there is a newer token than the refused one. The client itself requests a token only when
    /// most of the lifetime is over. This is called more often, so the next token is fetched in time.
    pub(crate) async fn is_outdated(&self) -> bool {
        let Origin::Source { source, .. } = &self.origin else { return false };
        let Ok(Ok(next)) = timeout(TOKEN_WITHIN, source.token()).await else { return false };
        if !self.refused.load(Ordering::Acquire) {
            return false;
        }
        self.given.lock().as_ref() != Some(&next.text)
    }
}

fn of_text(text: &Secret) -> OAuthToken {
    let Claims { principal, ends } = Claims::of(text.expose(), SystemTime::now());
    OAuthToken { token: text.expose().to_owned(), principal_name: principal, lifetime_ms: ends }
}

/// The lifetime stated by the issuer counts.
fn of_token(token: &Token) -> OAuthToken {
    let ends = token.expires_on.duration_since(UNIX_EPOCH).unwrap_or_default();
    let lifetime_ms = i64::try_from(ends.as_millis()).unwrap_or(i64::MAX);
    OAuthToken { lifetime_ms, ..of_text(&token.text) }
}
