//! The outcome of each answer of an endpoint.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use cosmos_bridge_brokers::{Binding, Endpoint, cloud_events};
use cosmos_bridge_event::ContentMode;
use cosmos_bridge_http::HttpSink;
use cosmos_bridge_sink::{Cause, Outcome, Sink, Wait, Written};
use serde_json::json;
use support::{change, settings};
use tokio::process::Command;

fn reasons(written: &Written) -> Vec<String> {
    let reason = |outcome: &Outcome| match outcome {
        Outcome::Delivered => "delivered".to_owned(),
        Outcome::Rejected { reason } => format!("rejected: {reason}"),
        Outcome::Deferred { reason } => format!("deferred: {reason}"),
    };
    written.outcomes.iter().map(reason).collect()
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    let endpoint = Endpoint::start().await.unwrap();
    let mut settings = settings(&endpoint.url(), ContentMode::Binary);
    settings.options.refusals = vec![507];
    settings.options.request_timeout = Duration::from_millis(500);
    let sink = HttpSink::new("hook", settings).unwrap();
    let wait = |cause, seconds: Option<u64>| {
        Some(Wait { cause, retry_after: seconds.map(Duration::from_secs) })
    };
    let cases = [
        ("200", "delivered", None),
        ("202", "delivered", None),
        (
            "302",
            "deferred: the endpoint answered 302: redirects are not followed; configure the address of the target",
            wait(Cause::Fault, None),
        ),
        ("400", "rejected: the endpoint answered 400: event refused", None),
        (
            "401",
            "deferred: the endpoint answered 401: the secret is missing or wrong",
            wait(Cause::Fault, None),
        ),
        (
            "403",
            "deferred: the endpoint answered 403: the secret does not allow this",
            wait(Cause::Fault, None),
        ),
        (
            "404",
            "deferred: the endpoint answered 404: no resource at this address accepts events",
            wait(Cause::Fault, None),
        ),
        (
            "408",
            "deferred: the endpoint answered 408: the request took too long",
            wait(Cause::Busy, None),
        ),
        (
            "410",
            "deferred: the endpoint answered 410: the endpoint was retired",
            wait(Cause::Fault, None),
        ),
        (
            "411",
            "deferred: the endpoint answered 411: content length required for an empty body",
            wait(Cause::Fault, None),
        ),
        ("413", "rejected: the endpoint answered 413: event refused", None),
        (
            "415",
            "deferred: the endpoint answered 415: unsupported format",
            wait(Cause::Fault, None),
        ),
        ("422", "rejected: the endpoint answered 422: event refused", None),
        (
            "429 retry-after=7",
            "deferred: the endpoint answered 429: too many requests",
            wait(Cause::Throttled, Some(7)),
        ),
        ("500", "deferred: the endpoint answered 500: internal error", wait(Cause::Fault, None)),
        (
            "503 retry-after=120",
            "deferred: the endpoint answered 503: not available",
            wait(Cause::Busy, Some(120)),
        ),
        ("507", "rejected: the endpoint answered 507: event refused", None),
    ];
    for (answer, expected, wait) in cases {
        endpoint.answers(&[answer]).unwrap();
        let written = sink.write(&[change("1")]).await;
        assert_eq!(reasons(&written), [expected], "{answer}");
        assert_eq!(written.wait, wait, "{answer}");
        assert_eq!(written.throttled, u32::from(answer.starts_with("429")));
        let is_late = answer.starts_with("408") || answer.starts_with("504");
        assert_eq!(written.unanswered.len(), usize::from(is_late), "{answer}");
    }
    endpoint.answers(&["hang"]).unwrap();
    let written = sink.write(&[change("1")]).await;
    let [reason] = reasons(&written).try_into().unwrap();
    assert!(reason.starts_with("deferred: timeout: no answer from the endpoint: "), "{reason}");
    assert_eq!(written.unanswered, [0]);
    assert_eq!(written.wait, wait(Cause::Busy, None));
}

#[tokio::test]
async fn a_refused_batch_is_sent_one_by_one_so_that_one_event_is_refused_alone() {
    let endpoint = Endpoint::start().await.unwrap();
    let mut settings = settings(&endpoint.url(), ContentMode::Structured);
    settings.options.batch = 10;
    let sink = HttpSink::new("hook", settings).unwrap();
    endpoint.answers(&["400", "200", "400", "200"]).unwrap();
    let written = sink.write(&["1", "2", "3"].map(change)).await;
    let refused = "rejected: the endpoint answered 400: event refused";
    assert_eq!(reasons(&written), ["delivered", refused, "delivered"]);
    assert_eq!((written.requests, written.wait), (4, None));

    endpoint.answers(&["400", "200", "503", "200"]).unwrap();
    let written = sink.write(&["1", "2", "3"].map(change)).await;
    let waits = [
        "delivered",
        "deferred: the endpoint answered 503: not available",
        "deferred: an earlier change has not been written yet",
    ];
    assert_eq!(reasons(&written), waits);
}

#[tokio::test]
async fn no_request_holds_more_events_than_a_batch() {
    let endpoint = Endpoint::start().await.unwrap();
    let mut settings = settings(&endpoint.url(), ContentMode::Structured);
    for (batch, requests) in [(2, 3), (3, 2), (5, 1), (6, 1)] {
        settings.options.batch = batch;
        let sink = HttpSink::new("hook", settings.clone()).unwrap();
        let written = sink.write(&["1", "2", "3", "4", "5"].map(change)).await;
        assert_eq!(reasons(&written), ["delivered"; 5]);
        assert_eq!(written.requests, requests, "{batch}");
    }
}

#[tokio::test]
async fn an_event_that_breaks_the_endpoint_delays_only_its_own_document() {
    let endpoint = Endpoint::start().await.unwrap();
    let mut settings = settings(&endpoint.url(), ContentMode::Structured);
    settings.options.batch = 10;
    let sink = HttpSink::new("hook", settings).unwrap();
    let wait = |cause| Some(Wait { cause, retry_after: None });
    let failed = "deferred: the endpoint answered 500: internal error";
    let away = "deferred: the endpoint answered 503: not available";
    let behind = "deferred: an earlier change has not been written yet";
    let taken = "delivered";
    // The first answer is for the batch. The second and the last event belong to one document.
    let cases = [
        (["500", "200", "200", "200", "200"], [taken; 4], 5, None),
        (["500", "200", "500", "200", ""], [taken, failed, taken, behind], 4, wait(Cause::Fault)),
        (["500", "200", "500", "503", ""], [taken, failed, away, behind], 4, wait(Cause::Busy)),
        (["503", "", "", "", ""], [away; 4], 1, wait(Cause::Busy)),
    ];
    for (answers, expected, requests, wait) in cases {
        let answers = answers.into_iter().filter(|answer| !answer.is_empty());
        endpoint.answers(&answers.collect::<Vec<_>>()).unwrap();
        let written = sink.write(&["1", "2", "3", "2"].map(change)).await;
        assert_eq!(reasons(&written), expected);
        assert_eq!((written.requests, written.wait), (requests, wait), "{expected:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_for_all_events_gets_only_a_few() {
    let endpoint = Endpoint::start().await.unwrap();
    let mut settings = settings(&endpoint.url(), ContentMode::Structured);
    settings.options.batch = 10;
    let sink = HttpSink::new("hook", settings).unwrap();
    endpoint.answers(&["500"; 10]).unwrap();
    let ids = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let written = sink.write(&ids.map(change)).await;
    // The batch, and five of its events.
    assert_eq!(written.requests, 6);
    let failed = "deferred: the endpoint answered 500: internal error";
    assert_eq!(reasons(&written).iter().filter(|reason| *reason == failed).count(), 5);
}

/// Only failures in a row show that the endpoint itself is failing.
#[tokio::test]
async fn a_success_between_failures_lets_the_other_events_go_on() {
    let endpoint = Endpoint::start().await.unwrap();
    let mut settings = settings(&endpoint.url(), ContentMode::Structured);
    settings.options.batch = 10;
    let sink = HttpSink::new("hook", settings).unwrap();
    let answers = ["500", "500", "500", "500", "500", "200", "500", "500", "500", "500"];
    endpoint.answers(&answers).unwrap();
    let ids = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let written = sink.write(&ids.map(change)).await;
    // The batch, and each of its events.
    assert_eq!(written.requests, 10);
    assert_eq!(reasons(&written)[4], "delivered");
}

/// The test runs itself again, in an environment with a proxy where nothing listens.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    const NAME: &str = "a_proxy_of_the_environment_is_not_used";
    const PROXY: &str = "http://127.0.0.1:9";
    #[expect(clippy::disallowed_methods, reason = "set by the test itself")]
    let is_set = std::env::var("HTTP_PROXY").is_ok_and(|proxy| proxy == PROXY);
    if !is_set {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", NAME]).env_remove("REQUEST_METHOD");
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            again.env(name, PROXY);
        }
        for name in ["NO_PROXY", "no_proxy"] {
            again.env_remove(name);
        }
        let ended = again.output().await.unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let endpoint = Endpoint::start().await.unwrap();
    let sink = HttpSink::new("hook", settings(&endpoint.url(), ContentMode::Binary)).unwrap();
    assert_eq!(sink.write(&[change("1")]).await.outcomes, [Outcome::Delivered]);
}

#[tokio::test]
async fn secrets_are_sent_and_never_printed() {
    let endpoint = Endpoint::start().await.unwrap();
    let url = format!("{}trigger?sig=s3cret-signature", endpoint.url());
    let mut settings = settings(&url, ContentMode::Binary);
    settings.header("x-functions-key", "s3cret-key").unwrap();
    settings.header("authorization", "Bearer s3cret-token").unwrap();
    let shown = format!("{settings:?}");
    let sink = HttpSink::new("hook", settings).unwrap();
    assert_eq!(sink.write(&[change("1")]).await.outcomes, [Outcome::Delivered]);
    let [request] = endpoint.taken().unwrap().try_into().unwrap();
    assert_eq!(request.path, "/trigger?sig=s3cret-signature");
    assert_eq!(request.headers["x-functions-key"], "s3cret-key");
    assert_eq!(request.headers["authorization"], "Bearer s3cret-token");
    drop(endpoint);
    let written = sink.write(&[change("1")]).await;
    assert!(written.unanswered.is_empty(), "nothing was sent");
    let [reason] = reasons(&written).try_into().unwrap();
    let error = sink.check().await.unwrap_err();
    let printed = format!("{shown} {reason} {error} {error:?}");
    assert!(reason.starts_with("deferred: no answer from the endpoint: "), "{reason}");
    assert!(error.is_transient());
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[tokio::test]
async fn a_check_sends_options_and_posts_nothing() {
    let endpoint = Endpoint::start().await.unwrap();
    let sink = HttpSink::new("hook", settings(&endpoint.url(), ContentMode::Binary)).unwrap();
    for (answer, error) in [
        ("200", None),
        ("405", None),
        ("404", None),
        ("501", None),
        ("401", Some(("the endpoint answered 401: the secret is missing or wrong", false))),
        ("503", Some(("the endpoint answered 503: not available", true))),
    ] {
        endpoint.options(answer).unwrap();
        let checked = sink.check().await.map_err(|error| (error.to_string(), error.is_transient()));
        let checked = checked.err();
        let checked = checked.as_ref().map(|(message, transient)| (message.as_str(), *transient));
        assert_eq!(checked, error, "{answer}");
    }
    let requests = endpoint.requests().unwrap();
    assert!(requests.iter().all(|request| request.method == "OPTIONS"));
    assert_eq!(requests[0].headers["webhook-request-origin"], "cosmos-bridge");
}

#[tokio::test]
async fn a_configured_ca_is_trusted() {
    let endpoint = Endpoint::start_with_tls().await.unwrap();
    let url = endpoint.url().replace("127.0.0.1", "localhost");
    let untrusting = HttpSink::new("hook", settings(&url, ContentMode::Binary)).unwrap();
    let [reason] = reasons(&untrusting.write(&[change("1")]).await).try_into().unwrap();
    assert!(reason.contains("certificate"), "{reason}");
    let mut settings = settings(&url, ContentMode::Binary);
    let authority = std::fs::read(&endpoint.certificates().unwrap().authority).unwrap();
    settings.trust(&authority).unwrap();
    let sink = HttpSink::new("hook", settings).unwrap();
    assert_eq!(sink.write(&[change("1")]).await.outcomes, [Outcome::Delivered]);
}

#[tokio::test]
async fn the_cloudevents_package_reads_both_modes() {
    let odd = "Größe 100% \"1\"";
    let cases = [
        (ContentMode::Binary, odd, odd, None),
        (ContentMode::Structured, odd, odd, None),
        // The package refuses control characters.
        (ContentMode::Binary, "a\tb 100%", "a%09b 100%25", Some("subject")),
        (ContentMode::Structured, "a\tb 100%", "a%09b 100%25", Some("subject")),
    ];
    for (mode, id, subject, encoded) in cases {
        let endpoint = Endpoint::start().await.unwrap();
        let sink = HttpSink::new("hook", settings(&endpoint.url(), mode)).unwrap();
        assert_eq!(sink.write(&[change(id)]).await.outcomes, [Outcome::Delivered]);
        let [request] = endpoint.taken().unwrap().try_into().unwrap();
        let message = json!({"headers": request.headers, "body": request.body});
        let [event] = cloud_events(Binding::Http, &[message]).await.unwrap().try_into().unwrap();
        assert_eq!(event.data, json!({"id": id, "total": 3}));
        let expected = [
            ("subject", subject),
            ("source", "cosmosdb://a/d/c"),
            ("type", "io.github.cosmos-bridge.document.upsert"),
            ("partitionkey", "nord"),
            ("sequence", "00000000000000000001"),
            ("time", "2026-01-31T00:00:00+00:00"),
        ];
        for (name, value) in expected {
            assert_eq!(event.attributes[name], value, "{mode:?}");
        }
        let named = event.attributes.get("percentencoded").and_then(|names| names.as_str());
        assert_eq!(named, encoded, "{mode:?}");
    }
}
