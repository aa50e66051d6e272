//! Apache Kafka as a test gets it.

use std::path::PathBuf;

use cosmos_bridge_brokers::{Binding, Kafka, alive, cloud_events, ended, script};
use serde_json::json;

#[tokio::test]
async fn a_message_survives_the_broker_being_killed_and_no_process_is_left() {
    let mut kafka = Kafka::start().await.unwrap();
    kafka.create_topic("orders", 3, &[]).await.unwrap();
    let sent = [("a", r#"{"sequence": 1}"#), ("b", r#"{"sequence": 1}"#)];
    kafka.send("orders", &sent).await.unwrap();

    let first = kafka.id().unwrap();
    kafka.kill().await;
    assert!(!alive(first));
    kafka.restart().await.unwrap();
    kafka.send("orders", &[("a", r#"{"sequence": 2}"#)]).await.unwrap();

    let messages = kafka.read("orders", Some(3)).await.unwrap();
    let of_a: Vec<_> = messages.iter().filter(|m| m["key"] == "a").map(|m| &m["value"]).collect();
    assert_eq!(of_a, [&json!(r#"{"sequence": 1}"#), &json!(r#"{"sequence": 2}"#)]);

    let second = kafka.id().unwrap();
    kafka.stop().await;
    assert!(!alive(second));
    kafka.restart().await.unwrap();
    let third = kafka.id().unwrap();
    drop(kafka);
    assert!(ended(third).await, "process {third} still runs");
}

#[tokio::test]
async fn order_and_repetition_are_told() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("t", 1, &[]).await.unwrap();
    // Of a: 2 comes again, which is allowed. Of b: 2 comes too late. Of c: ends with an old one.
    let sent = [
        ("a", 1),
        ("a", 2),
        ("a", 2),
        ("b", 1),
        ("b", 3),
        ("b", 2),
        ("b", 3),
        ("c", 1),
        ("c", 2),
        ("c", 1),
    ];
    let sent = sent.map(|(key, sequence)| (key, json!({ "sequence": sequence }).to_string()));
    let sent: Vec<_> = sent.iter().map(|(key, value)| (*key, value.as_str())).collect();
    kafka.send("t", &sent).await.unwrap();
    let order = kafka.order("t", "/sequence").await.unwrap();
    assert_eq!((order.messages, order.distinct, order.duplicates, order.keys), (10, 7, 3, 3));
    assert_eq!((order.out_of_order, order.ends_stale, order.unnumbered), (1, 1, 0));
    assert_eq!(order.examples, [json!(["b", 3, 2])]);
    assert_eq!(kafka.order("t", "sequence").await.unwrap(), order);
}

#[tokio::test]
async fn every_listener_asks_for_what_it_is_meant_to() {
    let kafka = Kafka::builder()
        .user("writer", "secret of writer")
        .tls()
        .property("message.max.bytes", "2000")
        .start()
        .await
        .unwrap();
    kafka.create_topic("t", 1, &[]).await.unwrap();
    let certificates = kafka.certificates().unwrap();
    let authority = format!("ssl.ca.location={}", certificates.authority.display());
    let certificate = format!("ssl.certificate.location={}", certificates.client.display());
    let key = format!("ssl.key.location={}", certificates.client_key.display());
    let sasl = kafka.sasl_bootstrap().unwrap();
    let tls = kafka.tls_bootstrap().unwrap();
    let sasl_tls = kafka.sasl_tls_bootstrap().unwrap();
    let (user, password) = ("sasl.username=writer", "sasl.password=secret of writer");
    let wrong = "sasl.password=wrong";
    let encrypted = "security.protocol=SASL_SSL";
    let unsigned = ["sasl.mechanism=OAUTHBEARER", "enable.sasl.oauthbearer.unsecure.jwt=true"];
    let bearer = ["sasl.oauthbearer.config=principal=writer", "security.protocol=SASL_PLAINTEXT"];
    let denied = "TOPIC_AUTHORIZATION_FAILED";
    let cases: [(&str, &str, Vec<&str>); 7] = [
        (
            "plain",
            denied,
            vec![&sasl, "sasl.mechanism=PLAIN", "security.protocol=SASL_PLAINTEXT", user, password],
        ),
        (
            "wrong password",
            "_AUTHENTICATION",
            vec![&sasl, "sasl.mechanism=PLAIN", "security.protocol=SASL_PLAINTEXT", user, wrong],
        ),
        (
            "scram 512",
            denied,
            vec![&sasl_tls, "sasl.mechanism=SCRAM-SHA-512", encrypted, &authority, user, password],
        ),
        (
            "scram 256",
            denied,
            vec![&sasl_tls, "sasl.mechanism=SCRAM-SHA-256", encrypted, &authority, user, password],
        ),
        ("bearer", denied, [&[sasl.as_str()], &unsigned[..], &bearer].concat()),
        ("certificate", "ok", vec![&tls, "security.protocol=SSL", &authority, &certificate, &key]),
        ("no certificate", "_TRANSPORT", vec![&tls, "security.protocol=SSL", &authority]),
    ];
    for (name, expected, arguments) in &cases {
        assert_eq!(attempt(arguments).await, *expected, "{name}");
    }
    kafka.allow("writer", "t", "write").await.unwrap();
    assert_eq!(attempt(&cases[0].2).await, "ok");
    assert!(kafka.send("t", &[("k", &"x".repeat(3000))]).await.is_err());
}

#[tokio::test]
async fn the_package_understands_cloud_events() {
    let binary = json!({
        "key": "k", "value": "{\"a\":1}",
        "headers": {
            "ce_specversion": "1.0", "ce_id": "1", "ce_type": "t", "ce_source": "/s",
            "content-type": "application/json",
        },
    });
    let structured = json!({
        "key": null,
        "headers": {"content-type": "application/cloudevents+json"},
        "value": r#"{"specversion":"1.0","id":"2","type":"t","source":"/s","data":{"a":1}}"#,
    });
    let events = cloud_events(Binding::Kafka, &[binary, structured]).await.unwrap();
    let ids: Vec<_> = events.iter().map(|event| (&event.attributes["id"], &event.data)).collect();
    let data = json!({ "a": 1 });
    assert_eq!(ids, [(&json!("1"), &data), (&json!("2"), &data)]);

    let no_source = json!({"key": null, "value": "", "headers": {"ce_specversion": "1.0", "ce_id": "1", "ce_type": "t"}});
    assert!(cloud_events(Binding::Kafka, &[no_source]).await.is_err());
}

/// Sends one message to `t` with the given options and returns `ok` or the error's name.
async fn attempt(arguments: &[&str]) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attempt_kafka.py"));
    script(&path, arguments, "").await.expect("the client runs").trim().to_owned()
}
