//! Credentials, permissions and certificates: which are accepted, and the messages for the others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_kafka::{KafkaSink, Mechanism, Sasl, Settings, Tls};
use cosmos_bridge_sink::{Cause, NoToken, Outcome, Secret, Sink, Token, TokenSource};
use support::{change, only, reason, settings};

const PASSWORD: &str = "secret-of-writer";

fn password(mechanism: Mechanism, password: &str) -> Sasl {
    let password = Secret::new(password);
    Sasl::Password { mechanism, username: "writer".to_owned(), password }
}

/// An unsigned token, for a broker that accepts unsigned tokens.
fn token(ends: &str) -> Sasl {
    Sasl::Bearer { token: Secret::new(jwt(ends)) }
}

fn jwt(ends: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"writer","iat":1769817600,"exp":{ends}}}"#);
    format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims))
}

async fn attempt(settings: Settings) -> (Option<String>, String, Option<Cause>) {
    let sink = KafkaSink::new("events", settings).unwrap();
    let checked = sink.check().await.err().map(|error| {
        assert!(!error.is_transient() && error.hint.is_some(), "{error:?}");
        let shown = format!("{error:?}");
        assert!(!shown.contains(PASSWORD), "{shown}");
        error.message
    });
    let written = sink.write(&[change("a", 1, 0)]).await;
    let (outcome, cause) = only(&written);
    let reason = reason(outcome).to_owned();
    assert!(!reason.contains(PASSWORD));
    drop(sink.close().await);
    (checked, reason, cause)
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_permission_write_and_the_others_are_refused_with_a_reason() {
    let kafka = Kafka::builder()
        .user("writer", PASSWORD)
        .user("stranger", "x")
        .tls()
        .start()
        .await
        .unwrap();
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    kafka.create_topic("closed", 1, &[]).await.unwrap();
    for operation in ["write", "describe"] {
        kafka.allow("writer", "orders", operation).await.unwrap();
    }
    let certificates = kafka.certificates().unwrap();
    let authority = Some(certificates.authority.clone());
    let (sasl, sasl_tls) = (kafka.sasl_bootstrap().unwrap(), kafka.sasl_tls_bootstrap().unwrap());
    let tls = kafka.tls_bootstrap().unwrap();
    let with = |servers: &str, topic: &str, tls: Option<Tls>, sasl: Option<Sasl>| {
        let mut settings = settings(servers, topic);
        settings.options.tls = tls;
        Settings { sasl, ..settings }
    };
    let untrusting = Tls { ca_file: None, certificate_file: None, key_file: None };
    let trusting = || Some(Tls { ca_file: authority.clone(), ..untrusting.clone() });
    let own = Tls {
        ca_file: authority.clone(),
        certificate_file: Some(certificates.client.clone()),
        key_file: Some(certificates.client_key.clone()),
    };

    let accepted = [
        ("plain", with(&sasl, "orders", None, Some(password(Mechanism::Plain, PASSWORD)))),
        (
            "scram 256",
            with(&sasl, "orders", None, Some(password(Mechanism::ScramSha256, PASSWORD))),
        ),
        (
            "scram 512 in TLS",
            with(&sasl_tls, "orders", trusting(), Some(password(Mechanism::ScramSha512, PASSWORD))),
        ),
        ("token", with(&sasl, "orders", None, Some(token("4102444800")))),
        ("certificate", with(&tls, "orders", Some(own), None)),
    ];
    for (name, mut settings) in accepted {
        let timeout = Duration::from_secs(20);
        let started = tokio::time::Instant::now();
        settings.options.request_timeout = timeout;
        let accepted = attempt(settings).await;
        assert_eq!(accepted, (None, "delivered".to_owned(), None), "{name}");
        // No request without an answer was sent.
        assert!(started.elapsed() < timeout, "{name}: {:?}", started.elapsed());
    }

    // The message of `check`, the reason of a deferred change.
    let denied = "topic `closed`: the user may not write to the topic";
    let refused = [
        (
            "no right",
            with(&sasl, "closed", None, Some(password(Mechanism::Plain, PASSWORD))),
            denied,
            denied,
        ),
        (
            "wrong password",
            with(&sasl, "orders", None, Some(password(Mechanism::ScramSha512, "wrong"))),
            "no usable broker: ",
            "Authentication failed",
        ),
        (
            "old token",
            with(&sasl, "orders", None, Some(token("1769817601"))),
            "no usable broker: ",
            "not acknowledged within 2s: ",
        ),
        (
            "unknown authority",
            with(&tls, "orders", Some(untrusting.clone()), None),
            "no usable broker: ",
            "certificate",
        ),
    ];
    for (name, mut settings, check, write) in refused {
        settings.options.request_timeout = Duration::from_secs(2);
        let (checked, reason, cause) = attempt(settings).await;
        let checked = checked.unwrap_or_default();
        assert!(checked.starts_with(check), "{name}: {checked}");
        assert!(reason.contains(write), "{name}: {reason}");
        assert_eq!(cause, Some(Cause::Fault), "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_granted_later_is_enough() {
    let kafka = Kafka::builder().user("writer", PASSWORD).start().await.unwrap();
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    let mut settings = settings(&kafka.sasl_bootstrap().unwrap(), "orders");
    settings.sasl = Some(password(Mechanism::Plain, PASSWORD));
    let sink = KafkaSink::new("events", settings).unwrap();
    let changes = [change("a", 1, 0), change("a", 2, 0)];
    // The last reason: the client requests the metadata of a topic again only from time to time.
    for (right, expected) in [
        ("", "topic `orders`: the user may not write to the topic"),
        ("describe", "topic `orders`: the user may not write as an idempotent producer"),
    ] {
        if !right.is_empty() {
            kafka.allow("writer", "orders", right).await.unwrap();
        }
        let refused = async {
            loop {
                let written = sink.write(&changes).await;
                let deferred = |outcome: &Outcome| matches!(outcome, Outcome::Deferred { .. });
                assert!(written.outcomes.iter().all(deferred), "{right}: {written:?}");
                if reason(&written.outcomes[0]) == expected {
                    break written.wait.map(|wait| wait.cause);
                }
            }
        };
        let cause = tokio::time::timeout(Duration::from_secs(30), refused).await;
        assert_eq!(cause, Ok(Some(Cause::Fault)), "{right}");
    }
    kafka.allow("writer", "orders", "write").await.unwrap();
    let mut left = changes.to_vec();
    let repeat = async {
        while !left.is_empty() {
            let written = sink.write(&left).await;
            let mut outcomes = written.outcomes.iter();
            left.retain(|_| outcomes.next() != Some(&Outcome::Delivered));
            // Waits for a real broker.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), repeat).await;
    assert!(waited.is_ok(), "{:?}", sink.write(&changes).await);
    let order = kafka.order("orders", "sequence").await.unwrap();
    assert_eq!((order.distinct, order.out_of_order, order.ends_stale), (2, 0, 0), "{order:?}");
    sink.close().await.unwrap();
}

/// A refusal ends the client, and with it the messages in flight of other topics.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_permission_does_not_block_the_others() {
    let kafka = Kafka::builder().user("writer", PASSWORD).start().await.unwrap();
    for topic in ["a", "b"] {
        kafka.create_topic(topic, 1, &[]).await.unwrap();
        kafka.allow("writer", topic, "describe").await.unwrap();
    }
    kafka.allow("writer", "a", "write").await.unwrap();
    let mut settings = settings(&kafka.sasl_bootstrap().unwrap(), "{id}");
    settings.sasl = Some(password(Mechanism::Plain, PASSWORD));
    let sink = KafkaSink::new("events", settings).unwrap();
    // Not the name of a topic that is made of what a document holds.
    let refused = "the topic of the change, by `{id}`: the user may not write to the topic";
    // Until the broker has refused it once.
    let known =
        async { while reason(&sink.write(&[change("b", 1, 0)]).await.outcomes[0]) != refused {} };
    tokio::time::timeout(Duration::from_secs(30), known).await.unwrap();
    let mut delivered = 0;
    for version in 1..=20 {
        let written = sink.write(&[change("b", 1, 0), change("a", version, 0)]).await;
        assert_eq!(reason(&written.outcomes[0]), refused, "{version}");
        delivered += usize::from(written.outcomes[1] == Outcome::Delivered);
    }
    // All but those that are in flight with the one message in ten seconds that tries again.
    assert!(delivered >= 15, "{delivered}");
    kafka.allow("writer", "b", "write").await.unwrap();
    let mended = async {
        while sink.write(&[change("b", 1, 0)]).await.outcomes[0] != Outcome::Delivered {
            // Waits for a real broker.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), mended).await.unwrap();
    sink.close().await.unwrap();
}

/// The brokers refuse the first token; the next one is available after the refusal was reported.
#[derive(Debug, Default)]
struct Replaced {
    refusals: AtomicUsize,
}

#[async_trait]
impl TokenSource for Replaced {
    async fn token(&self) -> Result<Token, NoToken> {
        let is_refused = self.refusals.load(Ordering::SeqCst) > 0;
        let text = jwt(if is_refused { "4102444800" } else { "1769817601" });
        let expires_on = SystemTime::now() + Duration::from_hours(1);
        Ok(Token { text: Secret::new(text), expires_on })
    }

    fn refused(&self) {
        self.refusals.fetch_add(1, Ordering::SeqCst);
    }
}

/// The client would keep a token for most of its lifetime of an hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced_immediately() {
    let kafka = Kafka::builder().user("writer", PASSWORD).start().await.unwrap();
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    for operation in ["write", "describe"] {
        kafka.allow("writer", "orders", operation).await.unwrap();
    }
    let source = Arc::new(Replaced::default());
    let mut settings = settings(&kafka.sasl_bootstrap().unwrap(), "orders");
    settings.options.request_timeout = Duration::from_secs(2);
    settings.sasl = Some(Sasl::Tokens { source: Arc::clone(&source) as _ });
    let sink = KafkaSink::new("events", settings).unwrap();
    let changes = [change("a", 1, 0)];
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while sink.write(&changes).await.outcomes != [Outcome::Delivered] {
        assert!(tokio::time::Instant::now() < deadline, "{source:?}");
    }
    assert!(source.refusals.load(Ordering::SeqCst) > 0);
    sink.close().await.unwrap();
}
