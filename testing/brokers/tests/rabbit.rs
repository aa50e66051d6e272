//! `RabbitMQ` as a test gets it.

use cosmos_bridge_brokers::{Rabbit, alive, ended};
use serde_json::json;

#[tokio::test]
async fn a_message_survives_the_broker_being_killed_and_no_process_is_left() {
    let mut rabbit = Rabbit::start().await.unwrap();
    rabbit.create_exchange("changes", "topic").await.unwrap();
    rabbit.create_queue("orders", Some(("changes", "orders.*"))).await.unwrap();
    rabbit.send("changes", &[("orders.a", r#"{"sequence": 1}"#)]).await.unwrap();

    let first = rabbit.ids();
    assert_eq!(first.len(), 2, "the node and its epmd");
    rabbit.kill().await;
    assert!(!alive(first[0]));
    rabbit.restart().await.unwrap();
    rabbit.send("changes", &[("orders.a", r#"{"sequence": 2}"#)]).await.unwrap();
    assert_eq!(rabbit.count("orders").await.unwrap(), 2);
    assert!(rabbit.send("changes", &[("bills.a", "{}")]).await.is_err(), "not routed");

    let messages = rabbit.read("orders", Some(2)).await.unwrap();
    let read: Vec<_> =
        messages.iter().map(|m| (&m["exchange"], &m["routing_key"], &m["body"])).collect();
    let (exchange, key) = (json!("changes"), json!("orders.a"));
    let bodies = [json!(r#"{"sequence": 1}"#), json!(r#"{"sequence": 2}"#)];
    assert_eq!(read, [(&exchange, &key, &bodies[0]), (&exchange, &key, &bodies[1])]);
    assert_eq!(messages[0]["properties"], json!({"delivery_mode": 2}));
    assert_eq!(rabbit.count("orders").await.unwrap(), 0, "taken, not looked at");

    let last = rabbit.ids();
    drop(rabbit);
    for id in last {
        assert!(ended(id).await, "process {id} still runs");
    }
}

#[tokio::test]
async fn definitions_users_tls_and_a_full_disk() {
    let rabbit = Rabbit::builder()
        .vhost("shop")
        .user("writer", "secret")
        .permission("writer", "shop", "^$", "^changes$", "^$")
        .definitions(json!({
            "exchanges": [{"name": "changes", "vhost": "shop", "type": "topic", "durable": true,
                "auto_delete": false, "internal": false, "arguments": {}}],
        }))
        .tls()
        .start()
        .await
        .unwrap();
    let listed =
        rabbit.ctl(&["list_exchanges", "--vhost", "shop", "--quiet", "name"]).await.unwrap();
    assert!(listed.lines().any(|line| line == "changes"), "{listed}");
    let listed = rabbit.ctl(&["list_permissions", "--vhost", "shop", "--quiet"]).await.unwrap();
    assert!(listed.contains("writer"), "{listed}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", rabbit.tls_port().unwrap())).is_ok());
    assert!(rabbit.certificates().unwrap().authority.exists());

    rabbit.block().await.unwrap();
    let alarms = rabbit.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await.unwrap();
    assert!(alarms.contains("disk"), "{alarms}");
    rabbit.unblock().await.unwrap();
    let alarms = rabbit.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await.unwrap();
    assert_eq!(alarms.trim(), "[]");
}

#[tokio::test]
async fn order_and_repetition_are_told() {
    let rabbit = Rabbit::start().await.unwrap();
    rabbit.create_queue("q", None).await.unwrap();
    let sent = [1, 2, 2, 4, 3].map(|n| json!({"key": "a", "sequence": n}).to_string());
    let sent: Vec<_> = sent.iter().map(|body| ("q", body.as_str())).collect();
    rabbit.send("", &sent).await.unwrap();
    let order = rabbit.order("q", "/sequence", Some("/key")).await.unwrap();
    assert_eq!((order.messages, order.distinct, order.duplicates, order.keys), (5, 4, 1, 1));
    assert_eq!((order.out_of_order, order.ends_stale), (1, 1));
}
