//! The messages of `check` for brokers with faults.

use std::time::Duration;

use cosmos_bridge_amqp::{Broker, Identity, Settings, Tls};
use cosmos_bridge_brokers::{GUEST_PASSWORD, Rabbit};
use cosmos_bridge_sink::{Outcome, Sink, SinkError, SinkErrorKind, Template};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{container, settings, sink, upsert};

async fn check(settings: Settings) -> Result<(), SinkError> {
    sink(settings).check().await
}

/// Message, hint, and whether waiting can help.
fn parts(error: &SinkError) -> (&str, &str, bool) {
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    (&error.message, error.hint.as_deref().unwrap_or_default(), error.is_transient())
}

#[tokio::test]
async fn a_missing_object_or_permission_is_named_with_a_hint() {
    let rabbit = Rabbit::builder()
        .vhost("shop")
        .user("reader", "secret")
        .user("stranger", "secret")
        .permission("reader", "shop", "^$", "^(other|inner)$", ".*")
        .definitions(json!({
            "exchanges": [{"name": "changes", "vhost": "shop", "type": "topic", "durable": true,
                "auto_delete": false, "internal": false, "arguments": {}},
                {"name": "inner", "vhost": "shop", "type": "topic", "durable": true,
                "auto_delete": false, "internal": true, "arguments": {}}],
        }))
        .start()
        .await
        .unwrap();
    let port = rabbit.port();
    let uri = |user: &str, vhost: &str| format!("amqp://{user}@127.0.0.1:{port}/{vhost}");
    let login = "Check the user and the password in `uri`, and that the user may log in from here.";
    let vhost = "Check the virtual host at the end of `uri`; create it, or give the user \
                 permissions in it.";
    let declare = "Declare the exchange, or correct `exchange`.";
    let table = [
        (
            uri("reader:wrong", "shop"),
            "changes",
            format!(
                "connecting to amqp://127.0.0.1:{port} (virtual host shop) as user reader: the \
                 broker answered 403 ACCESS_REFUSED - Login was refused using authentication \
                 mechanism PLAIN. For details see the broker logfile."
            ),
            login,
        ),
        (
            uri("reader:secret", "nowhere"),
            "changes",
            format!(
                "connecting to amqp://127.0.0.1:{port} (virtual host nowhere) as user reader: the \
                 broker answered 530 NOT_ALLOWED - vhost nowhere not found"
            ),
            vhost,
        ),
        (
            uri("stranger:secret", "shop"),
            "changes",
            format!(
                "connecting to amqp://127.0.0.1:{port} (virtual host shop) as user stranger: the \
                 broker answered 530 NOT_ALLOWED - access to vhost 'shop' refused for user \
                 'stranger'"
            ),
            vhost,
        ),
        (
            uri("reader:secret", "shop"),
            "chnges",
            format!(
                "asking amqp://127.0.0.1:{port} (virtual host shop) for exchange `chnges`: the \
                 broker answered 404 NOT_FOUND - no exchange 'chnges' in vhost 'shop'"
            ),
            declare,
        ),
        (
            uri("reader:secret", "shop"),
            "changes",
            format!(
                "asking amqp://127.0.0.1:{port} (virtual host shop) for exchange `changes`: the \
                 broker answered 403 ACCESS_REFUSED - access to exchange 'changes' in vhost \
                 'shop' refused for user 'reader'"
            ),
            "Give the user write permission for the exchange.",
        ),
        (
            uri("reader:secret", "shop"),
            "inner",
            format!(
                "asking amqp://127.0.0.1:{port} (virtual host shop) for exchange `inner`: the \
                 broker answered 403 ACCESS_REFUSED - cannot publish to internal exchange \
                 'inner' in vhost 'shop'"
            ),
            "The exchange is internal: name one that clients may publish to.",
        ),
    ];
    for (uri, exchange, message, hint) in table {
        let error = check(settings(&uri, exchange)).await.unwrap_err();
        assert_eq!(parts(&error), (message.as_str(), hint, false));
    }
    // The default exchange always exists; only the queue can be missing.
    let mut to_queue = settings(&rabbit.url(), "");
    to_queue.options.routing_key = Template::parse("events").unwrap();
    let error = check(to_queue.clone()).await.unwrap_err();
    let message = format!(
        "asking amqp://127.0.0.1:{port} (virtual host /) for queue `events`: the broker answered \
         404 NOT_FOUND - no queue 'events' in vhost '/'"
    );
    let hint = "Declare the queue, or correct `routing_key`.";
    assert_eq!(parts(&error), (message.as_str(), hint, false));
    rabbit.create_queue("events", None).await.unwrap();
    check(to_queue).await.unwrap();
    assert_eq!(rabbit.count("events").await.unwrap(), 0, "a check leaves nothing behind");
}

#[tokio::test]
async fn names_made_of_the_names_of_a_container_are_asked_for_like_constant_ones() {
    let rabbit = Rabbit::start().await.unwrap();
    rabbit.create_exchange("orders", "topic").await.unwrap();
    rabbit.create_queue("shop.orders", None).await.unwrap();
    let check = async |exchange: &str, key: &str| {
        let mut settings = settings(&rabbit.url(), exchange);
        settings.options.routing_key = Template::parse(key).unwrap();
        let sink = sink(settings).with_sources(&["orders", "returns"].map(container));
        let checked = sink.check().await;
        checked.map_err(|error| (error.message.split(": ").last().unwrap().to_owned(), error.kind))
    };
    let missing = |what: &str| {
        let message = format!("the broker answered 404 NOT_FOUND - no {what} in vhost '/'");
        Err((message, SinkErrorKind::Missing))
    };
    assert_eq!(check("{container}", "{operation}").await, missing("exchange 'returns'"));
    assert_eq!(check("", "{database}.{container}").await, missing("queue 'shop.returns'"));
    // Which exchanges and queues these are is known with the first change.
    check("{container}.{/tenant}", "{container}").await.unwrap();
    check("", "{database}.{container}.{operation}").await.unwrap();
    rabbit.create_exchange("returns", "topic").await.unwrap();
    rabbit.create_queue("shop.returns", None).await.unwrap();
    check("{container}", "{operation}").await.unwrap();
    check("", "{database}.{container}").await.unwrap();
}

#[tokio::test]
async fn an_unreachable_or_silent_broker_is_reported_in_time() {
    // A port without a listener, and one without an answer.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut unanswered = settings(&format!("amqp://u:secret@127.0.0.1:{port}"), "changes");
    unanswered.options.connect_timeout = Duration::from_secs(2);
    let error = check(unanswered.clone()).await.unwrap_err();
    let message = format!(
        "connecting to amqp://127.0.0.1:{port} (virtual host /) as user u: no answer within 2 s"
    );
    assert_eq!(parts(&error), (message.as_str(), "", true));
    // Parallel writes wait for the same attempt and get its error.
    let sink = sink(unanswered.clone());
    let changes = [upsert("a", 1)];
    let started = tokio::time::Instant::now();
    let (one, other) = tokio::join!(sink.write(&changes), sink.write(&changes));
    assert!(started.elapsed() < Duration::from_millis(3500), "{:?}", started.elapsed());
    assert_eq!(one, other);
    assert_eq!(one.outcomes, [Outcome::Deferred { reason: message }]);
    drop(silent);
    let error = check(unanswered).await.unwrap_err();
    let (message, hint, transient) = parts(&error);
    assert!(message.ends_with("Connection refused (os error 111)"), "{message}");
    assert!(hint.starts_with("Check the host and the port in `uri`"), "{hint}");
    assert!(transient);
}

#[tokio::test]
async fn encryption_with_a_configured_ca_and_a_client_certificate() {
    let rabbit = Rabbit::builder()
        .tls()
        .setting("ssl_options.verify", "verify_peer")
        .setting("ssl_options.fail_if_no_peer_cert", "true")
        .start()
        .await
        .unwrap();
    rabbit.create_exchange("changes", "topic").await.unwrap();
    let port = rabbit.tls_port().unwrap();
    let files = rabbit.certificates().unwrap();
    let read = |path: &std::path::Path| std::fs::read(path).unwrap();
    let identity = Identity { certificates: read(&files.client), key: read(&files.client_key) };
    let authorities = Some(read(&files.authority));
    let uri = format!("amqps://guest:{GUEST_PASSWORD}@127.0.0.1:{port}");
    let with = |uri: &str, tls: Tls| {
        let mut settings = settings(&rabbit.url(), "changes");
        settings.broker = Broker::new(uri, &tls).unwrap();
        settings
    };
    let trusted = Tls { authorities: authorities.clone(), identity: Some(identity) };
    check(with(&uri, trusted.clone())).await.unwrap();
    let without_certificate = Tls { authorities, identity: None };
    let error = check(with(&uri, without_certificate)).await.unwrap_err();
    // With TLS 1.3 the server checks the certificate after the client has begun to send: the end of the
    // connection may overtake its alert.
    let refused = ["ertificate", "Connection reset by peer"];
    assert!(refused.iter().any(|why| error.message.contains(why)), "{}", error.message);
    let error = check(with(&uri, Tls::default())).await.unwrap_err();
    assert!(
        error.message.ends_with("invalid peer certificate: UnknownIssuer"),
        "{}",
        error.message
    );
    assert!(!error.is_transient());
    let plain = format!("amqps://guest:{GUEST_PASSWORD}@127.0.0.1:{}", rabbit.port());
    let error = check(with(&plain, trusted)).await.unwrap_err();
    let hint = error.hint.unwrap_or_default();
    assert_eq!(
        hint, "Check that the port in `uri` is the one for its scheme.",
        "{}",
        error.message
    );
}
