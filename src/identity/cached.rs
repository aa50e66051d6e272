//! The tokens of one scope: the one that holds, and the next one ahead of its time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::{Issuer, Token, TokenError, TokenProblem};
use crate::backoff::Backoff;
use crate::observe::FailureLog;

/// Tokens mostly hold for 60 to 90 minutes: enough for some dozen attempts while nobody answers.
/// Of a short token, half of its time.
const AHEAD: Duration = Duration::from_mins(10);

/// A request that is sent this long before the end may come too late. Of a short token, a tenth.
const MARGIN: Duration = Duration::from_secs(5);

/// Longest wait for one answer; the managed identity endpoint may ask for some repetition.
const ISSUED_WITHIN: Duration = Duration::from_secs(100);

/// Whoever waits for it has others wait.
const RENEWED_WITHIN: Duration = Duration::from_secs(5);

/// After a token is fetched because somebody refused the last one, that alone fetches none for
/// so long: where the refusal has another reason, the authority must not pay for it.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Cached {
    scope: String,
    issuer: Arc<dyn Issuer>,
    who: String,
    state: Mutex<State>,
    /// Counts the ends of attempts, for those who wait for one.
    ended: watch::Sender<u64>,
    trouble: FailureLog,
}

struct State {
    held: Option<Held>,
    /// When the next attempt is due, whether a token is there or not.
    due: Instant,
    fetched: Option<Instant>,
    failed: Option<TokenError>,
    pauses: Backoff,
    under_way: bool,
    attempts: JoinSet<()>,
}

impl State {
    /// Whether half of the token's time is over, unless attempts fail: those have their pauses.
    fn is_past_half(&self, now: Instant) -> bool {
        let (Some(held), Some(fetched)) = (&self.held, self.fetched) else { return false };
        self.failed.is_none() && now >= fetched + (held.token.expires_at - fetched) / 2
    }
}

struct Held {
    token: Token,
    usable_until: Instant,
}

/// An attempt that is under way, until it is dropped.
struct UnderWay(Arc<Cached>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().under_way = false;
        self.0.ended.send_modify(|ends| *ends += 1);
    }
}

/// Between attempts: an authority that is back is noticed within half a minute.
fn pauses() -> Backoff {
    Backoff::for_requests()
}

impl Cached {
    pub(super) fn new(who: &str, scope: &str, issuer: Arc<dyn Issuer>) -> Self {
        let state = State {
            held: None,
            due: Instant::now(),
            fetched: None,
            failed: None,
            pauses: pauses(),
            under_way: false,
            attempts: JoinSet::new(),
        };
        Self {
            scope: scope.to_owned(),
            issuer,
            who: who.to_owned(),
            state: Mutex::new(state),
            ended: watch::Sender::new(0),
            trouble: FailureLog::new(format!("fetching a token of {who} for {scope}")),
        }
    }

    pub(super) async fn token(self: &Arc<Self>) -> Result<Token, TokenError> {
        loop {
            let mut ended = {
                let mut state = self.state();
                let now = Instant::now();
                if now >= state.due {
                    self.attempt(&mut state);
                }
                if let Some(held) = state.held.as_ref().filter(|held| now < held.usable_until) {
                    return Ok(held.token.clone());
                }
                match &state.failed {
                    Some(error) if !state.under_way => return Err(error.clone()),
                    _ => self.attempt(&mut state),
                }
                self.ended.subscribe()
            };
            // An error would be that the sender is gone, which is this.
            drop(ended.changed().await);
        }
    }

    /// As [`Self::token`], but waits a while for the next one where half of the time is over.
    pub(super) async fn renewed(self: &Arc<Self>) -> Result<Token, TokenError> {
        let ended = {
            let mut state = self.state();
            let now = Instant::now();
            if now >= state.due || state.is_past_half(now) {
                self.attempt(&mut state);
            }
            state.under_way.then(|| self.ended.subscribe())
        };
        if let Some(mut ended) = ended {
            // Late or not at all: what is held may do.
            drop(timeout(RENEWED_WITHIN, ended.changed()).await);
        }
        self.token().await
    }

    pub(super) fn refused(self: &Arc<Self>) {
        let mut state = self.state();
        let now = Instant::now();
        let lately = |at: Instant| now < at + REFUSED_PAUSE;
        if state.failed.is_none() && !state.fetched.is_some_and(lately) {
            state.due = now;
            self.attempt(&mut state);
        }
    }

    /// Begins an attempt, if none is under way. It goes on when whoever asked is gone.
    fn attempt(self: &Arc<Self>, state: &mut State) {
        if state.under_way {
            return;
        }
        state.under_way = true;
        while state.attempts.try_join_next().is_some() {}
        let under_way = UnderWay(Arc::clone(self));
        state.attempts.spawn(async move {
            let cached = &under_way.0;
            let issued = timeout(ISSUED_WITHIN, cached.issuer.issue(&cached.scope)).await;
            let issued = issued.unwrap_or_else(|_| {
                let seconds = ISSUED_WITHIN.as_secs();
                let message = format!("no answer within {seconds} s");
                Err(TokenError::new(TokenProblem::Unreachable, message))
            });
            cached.record(issued.map_err(|error| error.prefixed(&cached.who)));
        });
    }

    fn record(&self, issued: Result<Token, TokenError>) {
        let mut state = self.state();
        let now = Instant::now();
        let issued = issued.and_then(|token| {
            if token.expires_at > now {
                return Ok(token);
            }
            let message = format!("{}: the token has expired already", self.who);
            Err(TokenError::new(TokenProblem::Refused, message))
        });
        match issued {
            Ok(token) => {
                let left = token.expires_at - now;
                state.due = token.expires_at - AHEAD.min(left / 2);
                let first = state.fetched.replace(now).is_none();
                state.failed = None;
                state.pauses = pauses();
                let usable_until = token.expires_at - MARGIN.min(left / 10);
                state.held = Some(Held { token, usable_until });
                let (scope, valid_seconds) = (&self.scope, left.as_secs());
                if first {
                    info!(scope, valid_seconds, "got a token of {}", self.who);
                } else {
                    debug!(scope, valid_seconds, "got a token of {}", self.who);
                }
                self.trouble.recovered();
            }
            Err(error) => {
                let until = state.held.as_ref().map(|held| held.usable_until);
                let left = until.map_or(Duration::ZERO, |until| until - now).as_secs();
                let told = format!("{error}; the last token holds for {left} s. {}", error.hint());
                self.trouble.failed(&told);
                state.due = now + state.pauses.next_wait(None);
                state.failed = Some(error);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
