//! The tokens of one scope: the current one, renewed before it expires.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::issuer::Issuer;
use super::token::{Token, TokenError, TokenErrorKind};
use crate::backoff::Backoff;
use crate::observe::FailureLog;

/// A token is renewed this long before it expires, or at half of its lifetime if that is shorter.
/// Tokens mostly live for 60 to 90 minutes; ten minutes allow dozens of attempts during an outage of
/// the authority.
const RENEW_AHEAD: Duration = Duration::from_mins(10);

/// A token is not used for this long before it expires, or for a tenth of its lifetime if that is
/// shorter: the request could arrive too late.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);

/// Longest wait for one answer. The endpoint of managed identities may require some repetition.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(100);

/// Longest wait in [`TokenCache::renewed`], whose caller delays others.
const RENEW_TIMEOUT: Duration = Duration::from_secs(5);

/// After a fetch, a refused token causes no other fetch for this long: if the refusal has another
/// cause, the authority must not be flooded.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct TokenCache {
    scope: String,
    issuer: Arc<dyn Issuer>,
    /// Of the identity, for messages.
    description: String,
    state: Mutex<State>,
    /// Counts finished attempts, for tasks that wait for one.
    finished: watch::Sender<u64>,
    failures: FailureLog,
}

struct State {
    current: Option<Current>,
    /// When the next attempt is due, with or without a valid token.
    due: Instant,
    fetched: Option<Instant>,
    /// The error of the last attempt, if it failed.
    error: Option<TokenError>,
    backoff: Backoff,
    in_flight: bool,
    attempts: JoinSet<()>,
}

impl State {
    /// True if half of the token's lifetime is over and the last attempt did not fail: after a
    /// failure the next attempt waits for its pause.
    fn is_past_half(&self, now: Instant) -> bool {
        let (Some(current), Some(fetched)) = (&self.current, self.fetched) else { return false };
        self.error.is_none() && now >= fetched + (current.token.expires_at - fetched) / 2
    }
}

struct Current {
    token: Token,
    usable_until: Instant,
}

/// Marks an attempt as in flight until it is dropped.
struct InFlight(Arc<TokenCache>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.lock().in_flight = false;
        self.0.finished.send_modify(|finished| *finished += 1);
    }
}

impl TokenCache {
    pub(super) fn new(description: &str, scope: &str, issuer: Arc<dyn Issuer>) -> Self {
        let state = State {
            current: None,
            due: Instant::now(),
            fetched: None,
            error: None,
            backoff: Backoff::for_requests(),
            in_flight: false,
            attempts: JoinSet::new(),
        };
        Self {
            scope: scope.to_owned(),
            issuer,
            description: description.to_owned(),
            state: Mutex::new(state),
            finished: watch::Sender::new(0),
            failures: FailureLog::new(format!("fetching a token of {description} for {scope}")),
        }
    }

    pub(super) async fn token(self: &Arc<Self>) -> Result<Token, TokenError> {
        loop {
            let mut finished = {
                let mut state = self.state.lock();
                let now = Instant::now();
                if now >= state.due {
                    self.attempt(&mut state);
                }
                if let Some(current) = state.current.as_ref().filter(|c| now < c.usable_until) {
                    return Ok(current.token.clone());
                }
                match &state.error {
                    Some(error) if !state.in_flight => return Err(error.clone()),
                    _ => self.attempt(&mut state),
                }
                self.finished.subscribe()
            };
            // Cannot fail: `self` owns the sender.
            drop(finished.changed().await);
        }
    }

    /// As [`Self::token`], but waits up to [`RENEW_TIMEOUT`] for the next token if half of the
    /// lifetime is over.
    pub(super) async fn renewed(self: &Arc<Self>) -> Result<Token, TokenError> {
        let finished = {
            let mut state = self.state.lock();
            let now = Instant::now();
            if now >= state.due || state.is_past_half(now) {
                self.attempt(&mut state);
            }
            state.in_flight.then(|| self.finished.subscribe())
        };
        if let Some(mut finished) = finished {
            // After a timeout or a failure the current token may still be valid.
            drop(timeout(RENEW_TIMEOUT, finished.changed()).await);
        }
        self.token().await
    }

    pub(super) fn refused(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let is_recent = |at: Instant| now < at + REFUSED_PAUSE;
        if state.error.is_none() && !state.fetched.is_some_and(is_recent) {
            state.due = now;
            self.attempt(&mut state);
        }
    }

    /// Starts an attempt unless one is in flight. It continues if the caller is dropped.
    fn attempt(self: &Arc<Self>, state: &mut State) {
        if state.in_flight {
            return;
        }
        state.in_flight = true;
        while state.attempts.try_join_next().is_some() {}
        let in_flight = InFlight(Arc::clone(self));
        state.attempts.spawn(async move {
            let cache = &in_flight.0;
            let issued = timeout(ISSUE_TIMEOUT, cache.issuer.issue(&cache.scope)).await;
            let issued = issued.unwrap_or_else(|_| {
                let seconds = ISSUE_TIMEOUT.as_secs();
                let message = format!("no answer within {seconds} s");
                Err(TokenError::new(TokenErrorKind::Unreachable, message))
            });
            cache.record(issued.map_err(|error| error.prefixed(&cache.description)));
        });
    }

    fn record(&self, issued: Result<Token, TokenError>) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let issued = issued.and_then(|token| {
            if token.expires_at > now {
                return Ok(token);
            }
            let message = format!("{}: the new token is already expired", self.description);
            Err(TokenError::new(TokenErrorKind::Refused, message))
        });
        match issued {
            Ok(token) => {
                let left = token.expires_at - now;
                state.due = token.expires_at - RENEW_AHEAD.min(left / 2);
                let first = state.fetched.replace(now).is_none();
                state.error = None;
                state.backoff = Backoff::for_requests();
                let usable_until = token.expires_at - EXPIRY_MARGIN.min(left / 10);
                state.current = Some(Current { token, usable_until });
                let (scope, valid_seconds) = (&self.scope, left.as_secs());
                if first {
                    info!(scope, valid_seconds, "got a token of {}", self.description);
                } else {
                    debug!(scope, valid_seconds, "got a token of {}", self.description);
                }
                self.failures.recovered();
            }
            Err(error) => {
                let until = state.current.as_ref().map(|current| current.usable_until);
                let left = until.map_or(Duration::ZERO, |until| until - now).as_secs();
                let hint = error.hint();
                self.failures
                    .failed(&format!("{error}; the last token is valid for {left} s. {hint}"));
                state.due = now + state.backoff.next_wait(None);
                state.error = Some(error);
            }
        }
    }
}
