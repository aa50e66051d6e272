//! Cached tokens, under a paused clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep};

use super::{Identity, Issuer, Token, TokenError, TokenErrorKind};

const SCOPE: &str = "https://cosmos.azure.com/.default";
const MINUTE: Duration = Duration::from_mins(1);

/// The scripted answer to one request for a token.
enum Answer {
    /// A token with this lifetime.
    Lifetime(Duration),
    /// The same, after a wait.
    Slow(Duration, Duration),
    Refused,
}

/// Issues `token-1`, `token-2`, as scripted, and then tokens for an hour.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<Answer>>,
    requests: AtomicUsize,
}

#[async_trait]
impl Issuer for Scripted {
    async fn issue(&self, scope: &str) -> Result<Token, TokenError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = self.script.lock().unwrap().pop_front();
        let lifetime = match answer {
            Some(Answer::Refused) => {
                return Err(TokenError::new(TokenErrorKind::Refused, "AADSTS7000222: expired"));
            }
            Some(Answer::Lifetime(lifetime)) => lifetime,
            Some(Answer::Slow(wait, lifetime)) => {
                sleep(wait).await;
                lifetime
            }
            None => 60 * MINUTE,
        };
        let token = Token::new(format!("{scope} token-{number}"), SystemTime::now() + lifetime);
        Ok(Token { expires_at: Instant::now() + lifetime, ..token })
    }
}

struct Scene {
    identity: Arc<Identity>,
    issuer: Arc<Scripted>,
}

impl Scene {
    fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        let script = Mutex::new(script.into_iter().collect());
        let issuer = Arc::new(Scripted { script, requests: AtomicUsize::default() });
        let identity = Identity::new("bridge", "credential `bridge`", Arc::clone(&issuer) as _);
        Self { identity: Arc::new(identity), issuer }
    }

    async fn token(&self) -> Result<String, TokenError> {
        let token = self.identity.token(SCOPE).await?;
        Ok(token.text.expose().trim_start_matches(SCOPE).trim().to_owned())
    }

    fn requests(&self) -> usize {
        self.issuer.requests.load(Ordering::Relaxed)
    }

    /// Lets attempts in flight finish.
    async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_requests_cause_one_attempt() {
    let scene = Scene::new([Answer::Slow(Duration::from_secs(2), 60 * MINUTE)]);
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        let identity = Arc::clone(&scene.identity);
        requests.spawn(async move { identity.token(SCOPE).await.unwrap().text });
    }
    let tokens = requests.join_all().await;
    assert!(tokens.iter().all(|token| token.expose().ends_with("token-1")));
    assert_eq!(scene.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_expires_and_no_caller_waits_for_it() {
    let scene = Scene::new([
        Answer::Lifetime(60 * MINUTE),
        Answer::Slow(Duration::from_secs(30), 60 * MINUTE),
    ]);
    assert_eq!(scene.token().await.unwrap(), "token-1");
    advance(49 * MINUTE).await;
    assert_eq!(scene.token().await.unwrap(), "token-1");
    assert_eq!(scene.requests(), 1);
    advance(2 * MINUTE).await;
    let before = Instant::now();
    assert_eq!(scene.token().await.unwrap(), "token-1");
    assert_eq!(Instant::now(), before);
    sleep(MINUTE).await;
    assert_eq!(scene.token().await.unwrap(), "token-2");
    assert_eq!(scene.requests(), 2);
}

/// The only client asks at four fifths of a token's lifetime.
#[tokio::test(start_paused = true)]
async fn a_client_that_asks_seldom_gets_the_next_token_if_there_is_one() {
    let hour = || Answer::Lifetime(60 * MINUTE);
    let never = Answer::Slow(Duration::from_hours(10), 60 * MINUTE);
    let scene = Scene::new([hour(), hour(), Answer::Refused, never]);
    let renewed = async || {
        let token = scene.identity.renewed(SCOPE).await.unwrap();
        token.text.expose().trim_start_matches(SCOPE).trim().to_owned()
    };
    assert_eq!(renewed().await, "token-1");
    assert_eq!(renewed().await, "token-1");
    advance(48 * MINUTE).await;
    assert_eq!(renewed().await, "token-2");
    advance(48 * MINUTE).await;
    assert_eq!(renewed().await, "token-2", "the third is refused");
    assert_eq!(renewed().await, "token-2", "within the pause after it");
    assert_eq!(scene.requests(), 3);
    advance(5 * MINUTE).await;
    let begun = Instant::now();
    assert_eq!(renewed().await, "token-2", "the fourth takes too long");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(scene.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_last_token_is_used_until_it_expires_while_attempts_fail() {
    let refusals = std::iter::repeat_with(|| Answer::Refused).take(1000);
    let scene = Scene::new(std::iter::once(Answer::Lifetime(60 * MINUTE)).chain(refusals));
    scene.token().await.unwrap();
    advance(51 * MINUTE).await;
    let begun = Instant::now();
    let mut last = Ok(String::new());
    while begun.elapsed() < 8 * MINUTE {
        last = scene.token().await;
        assert_eq!(last.as_deref(), Ok("token-1"));
        sleep(Duration::from_millis(100)).await;
    }
    // Pauses grow to half a minute, though there were ten requests a second.
    assert!((15..45).contains(&scene.requests()), "{}", scene.requests());
    advance(MINUTE).await;
    while last.is_ok() {
        last = scene.token().await;
        sleep(Duration::from_secs(1)).await;
    }
    let error = last.unwrap_err();
    assert_eq!(error.to_string(), "credential `bridge`: AADSTS7000222: expired");
    assert!(error.hint().contains("Create a new one"), "{}", error.hint());
}

#[tokio::test(start_paused = true)]
async fn an_error_is_returned_immediately_until_the_next_attempt_is_due() {
    let scene = Scene::new([Answer::Refused]);
    assert!(scene.token().await.is_err());
    for _ in 0..100 {
        assert!(scene.token().await.is_err());
    }
    assert_eq!(scene.requests(), 1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.token().await.unwrap(), "token-2");
}

/// Managed identities issue short ones: the machine's endpoint has its own cache.
#[tokio::test(start_paused = true)]
async fn a_short_token_is_renewed_at_half_of_its_lifetime() {
    let short = || Answer::Lifetime(Duration::from_secs(4));
    let scene = Scene::new([short(), short(), short()]);
    scene.token().await.unwrap();
    advance(Duration::from_millis(1900)).await;
    assert_eq!(scene.token().await.unwrap(), "token-1");
    scene.settle().await;
    assert_eq!(scene.requests(), 1);
    advance(Duration::from_millis(100)).await;
    assert_eq!(scene.token().await.unwrap(), "token-1");
    scene.settle().await;
    assert_eq!(scene.token().await.unwrap(), "token-2");
    // No request until after it expires, as in an idle bridge.
    advance(Duration::from_mins(5)).await;
    assert_eq!(scene.token().await.unwrap(), "token-3");
    assert_eq!(scene.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_but_not_too_often() {
    let scene = Scene::new([]);
    scene.token().await.unwrap();
    // If the tenant is wrong, every token is refused.
    for _ in 0..10 {
        scene.identity.refused(SCOPE);
    }
    scene.settle().await;
    assert_eq!(scene.requests(), 1);
    advance(MINUTE).await;
    for _ in 0..10 {
        scene.identity.refused(SCOPE);
        scene.settle().await;
    }
    assert_eq!(scene.requests(), 2);
    assert_eq!(scene.token().await.unwrap(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn each_scope_has_its_own_token_and_none_is_printed() {
    let scene = Scene::new([]);
    let hubs = "https://eventhubs.azure.net/.default";
    let cosmos = scene.identity.token(SCOPE).await.unwrap();
    let other = scene.identity.token(hubs).await.unwrap();
    assert_ne!(cosmos.text, other.text);
    assert!(other.text.expose().starts_with(hubs));
    let printed = format!("{cosmos:?} {:?} {:?}", scene.identity, scene.identity.for_sdk());
    assert!(!printed.contains("token-"), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_waiting_does_not_end_the_attempt() {
    let scene = Scene::new([Answer::Slow(Duration::from_secs(5), 60 * MINUTE)]);
    let gave_up = tokio::time::timeout(Duration::from_secs(1), scene.token()).await;
    assert!(gave_up.is_err());
    assert_eq!(scene.token().await.unwrap(), "token-1");
    assert_eq!(scene.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_never_answers_times_out() {
    let never = Duration::from_hours(10);
    let scene = Scene::new([Answer::Slow(never, never)]);
    let error = scene.token().await.unwrap_err();
    assert_eq!(error.kind, TokenErrorKind::Unreachable);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.token().await.unwrap(), "token-2");
}
