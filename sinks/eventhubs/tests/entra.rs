//! Tokens of Entra ID instead of a connection string.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cosmos_bridge_eventhubs::{Access, EventHubsSink, Namespace};
use cosmos_bridge_eventhubs_local::{Authority, LocalHubs, Options};
use cosmos_bridge_sink::{Cause, NoToken, Outcome, Secret, Sink, Token, TokenSource};
use support::{HUB, change, with_access};
use tokio::time::Instant;

const APP: &str = "b0000000-0000-0000-0000-00000000000b";
const AUDIENCE: &str = "https://eventhubs.azure.net";

/// A source of tokens with a lifetime of this number of seconds; each is renewed after half of it.
#[derive(Debug)]
struct Tokens {
    authority: Authority,
    audience: &'static str,
    seconds: u64,
    held: tokio::sync::Mutex<Option<(Token, SystemTime)>>,
    issued: AtomicUsize,
    refused: AtomicUsize,
}

impl Tokens {
    fn new(authority: Authority, audience: &'static str, seconds: u64) -> Arc<Self> {
        let (issued, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let held = tokio::sync::Mutex::default();
        Arc::new(Self { authority, audience, seconds, held, issued, refused })
    }

    fn issued(&self) -> usize {
        self.issued.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<Token, NoToken> {
        let mut held = self.held.lock().await;
        let now = SystemTime::now();
        if let Some((token, _)) = held.as_ref().filter(|(_, until)| now < *until) {
            return Ok(token.clone());
        }
        self.issued.fetch_add(1, Ordering::Relaxed);
        let expires_on = now + Duration::from_secs(self.seconds);
        let text = Secret::new(self.authority.token(APP, self.audience, expires_on));
        let token = Token { text, expires_on };
        *held = Some((token.clone(), now + Duration::from_secs(self.seconds) / 2));
        Ok(token)
    }

    fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

fn sink(hubs: &LocalHubs, tokens: Arc<dyn TokenSource>) -> EventHubsSink {
    let namespace = Namespace::read(&hubs.namespace_address()).unwrap();
    let access = Access::Entra { namespace, tokens };
    EventHubsSink::new("hub", with_access(access))
}

/// The test server detaches a link whose token has expired, so later events prove that a new token was put.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_put_again_on_the_open_connection() {
    let hubs = LocalHubs::start(Options::with_hub(HUB, 2)).await.unwrap();
    let authority = Authority::new("north.example");
    hubs.trust(authority.trust(&[APP]));
    let tokens = Tokens::new(authority, AUDIENCE, 4);
    let sink = sink(&hubs, Arc::clone(&tokens) as _);
    sink.check().await.unwrap();
    let mut versions = 0;
    let deadline = Instant::now() + Duration::from_mins(1);
    while tokens.issued() < 4 {
        assert!(Instant::now() < deadline, "{} tokens", tokens.issued());
        versions += 1;
        let written = sink.write(&[change("a", versions)]).await;
        assert_eq!(written.outcomes, [Outcome::Delivered], "{written:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((hubs.connections(), hubs.tokens()), (1, tokens.issued() as u64));
    assert_eq!(hubs.count(HUB), versions.unsigned_abs());
    sink.close().await.unwrap();
}

/// After a long time without writes the token has expired; the next write opens a new connection immediately.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_token_has_expired_is_replaced() {
    let hubs = LocalHubs::start(Options::with_hub(HUB, 1)).await.unwrap();
    let authority = Authority::new("north.example");
    hubs.trust(authority.trust(&[APP]));
    let sink = sink(&hubs, Tokens::new(authority, AUDIENCE, 2));
    for version in 1..=2 {
        let written = sink.write(&[change("a", version)]).await;
        assert_eq!(written.outcomes, [Outcome::Delivered], "{written:?}");
        // The test waits for the expiry.
        tokio::time::sleep(Duration::from_millis(2100)).await;
    }
    assert_eq!(hubs.connections(), 2);
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_missing_role_and_requests_a_new_token() {
    for (audience, senders, says) in [
        ("https://cosmos.azure.com", [APP], "InvalidAudience"),
        (AUDIENCE, ["another"], "Unauthorized access"),
    ] {
        let hubs = LocalHubs::start(Options::with_hub(HUB, 1)).await.unwrap();
        let authority = Authority::new("north.example");
        hubs.trust(authority.trust(&senders));
        let tokens = Tokens::new(authority, audience, 3600);
        let sink = sink(&hubs, Arc::clone(&tokens) as _);
        let error = sink.check().await.unwrap_err();
        assert!(error.message.contains(says), "{error}");
        assert!(!error.is_transient() && error.hint.unwrap().contains("Data Sender"));
        let written = sink.write(&[change("a", 1)]).await;
        let [Outcome::Deferred { reason }] = written.outcomes.as_slice() else {
            panic!("{written:?}")
        };
        assert!(reason.contains("role \"Azure Event Hubs Data Sender\""), "{reason}");
        assert!(!reason.contains("eyJ"), "{reason}");
        assert_eq!(written.wait.unwrap().cause, Cause::Fault);
        assert_eq!(tokens.refused.load(Ordering::Relaxed), 2);
    }
}

/// The error of the token source is the reason, and the changes are deferred.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_changes_wait() {
    #[derive(Debug)]
    struct Never;
    #[async_trait]
    impl TokenSource for Never {
        async fn token(&self) -> Result<Token, NoToken> {
            let (message, hint) = ("no token today".to_owned(), "Come tomorrow.".to_owned());
            Err(NoToken { message, hint, transient: true })
        }

        fn refused(&self) {}
    }
    let hubs = LocalHubs::start(Options::with_hub(HUB, 1)).await.unwrap();
    let written = sink(&hubs, Arc::new(Never)).write(&[change("a", 1)]).await;
    let reason = "no token today. Come tomorrow.".to_owned();
    assert_eq!(written.outcomes, [Outcome::Deferred { reason }]);
    assert_eq!(written.wait.unwrap().cause, Cause::Busy);
    assert_eq!(hubs.connections(), 0);
}
