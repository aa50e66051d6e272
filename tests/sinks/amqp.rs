//! Changes in `RabbitMQ`, by the real binary, read back by independent clients.
#![expect(clippy::print_stdout, reason = "prints the figures")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cosmos_bridge_brokers::{Binding, Rabbit, cloud_events, installed};
use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::orders::Orders;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

use crate::proxy::Proxy;
use crate::support::history::{Load, remembering};
use crate::support::{Bridge, Pair, eventually};

const BEGINNING: &str = "start = \"beginning\"";
const ALL_VERSIONS: &str = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";

/// A broker with a durable exchange `changes`, and a configuration that publishes there.
async fn start(pair: &Pair, sink: &str, source: &str) -> (Rabbit, PathBuf) {
    let rabbit = Rabbit::start().await.unwrap();
    rabbit.create_exchange("changes", "topic").await.unwrap();
    std::fs::write(pair.folder.path().join("uri"), rabbit.url() + "\n").unwrap();
    let sink = format!(
        "[sinks.amqp.events]\nuri = {{ file = \"uri\" }}\nexchange = \"changes\"\n{sink}\n\
         [log]\nlevel = \"trace\"\n"
    );
    let config = pair.configure_sinks(&sink, "", source, "to = \"events\"");
    (rabbit, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_what_independent_clients_understand() {
    let source = remembering(&["/region"], 2);
    let pair = Pair::start(&source, &source).await;
    let headers = "headers = { region = \"{/region}\" }";
    let (rabbit, config) = start(&pair, headers, ALL_VERSIONS).await;
    rabbit.create_queue("all", Some(("changes", "shop.orders.#"))).await.unwrap();
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    for state in ["new", "paid"] {
        pair.seed(&format!("{{\"id\":\"1\",\"region\":\"n\",\"state\":\"{state}\"}}\n"));
    }
    pair.delete("1");
    let messages = rabbit.read("all", Some(3)).await.unwrap();
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));

    let keys: Vec<&Value> = messages.iter().map(|message| &message["routing_key"]).collect();
    assert_eq!(keys, ["shop.orders.upsert", "shop.orders.upsert", "shop.orders.delete"]);
    assert!(messages.iter().all(|message| message["headers"]["region"] == "n"));
    assert!(messages.iter().all(|message| message["properties"]["delivery_mode"] == 2));
    let events = cloud_events(Binding::RabbitMq, &messages).await.unwrap();
    for (message, event) in messages.iter().zip(&events) {
        assert_eq!(message["properties"]["message_id"], event.attributes["id"]);
        assert_eq!(message["properties"]["type"], event.attributes["type"]);
        assert_eq!(event.attributes["source"], "cosmosdb://source/shop/orders");
        assert_eq!(event.attributes["subject"], "1");
    }
    let states: Vec<&Value> = events.iter().map(|event| &event.data["state"]).collect();
    assert_eq!(states, [&json!("new"), &json!("paid"), &Value::Null]);
    let sequences: Vec<_> = events.iter().map(|event| &event.attributes["sequence"]).collect();
    assert!(sequences.is_sorted_by_key(|sequence| sequence.as_str()), "{sequences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_consumer_takes_what_is_published() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let orders = Orders::new(4);
    pair.seed(&(1..=20).map(|number| orders.text(number) + "\n").collect::<String>());
    let (rabbit, config) = start(&pair, "", BEGINNING).await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("sinks/amqp/tests/consume.py");
    let mut consumer = Command::new(&installed().unwrap().python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(example)
        .args([rabbit.url().as_str(), "changes", "shop.orders.#", "20"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(consumer.stdout.take().unwrap()).lines();
    assert_eq!(printed.next_line().await.unwrap().as_deref(), Some("ready"));
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let mut changes = Vec::new();
    while let Some(line) = printed.next_line().await.unwrap() {
        changes.push(serde_json::from_str::<Value>(&line).unwrap());
    }
    assert!(consumer.wait().await.unwrap().success());
    let mut documents: Vec<_> =
        changes.iter().map(|change| change["document"].to_string()).collect();
    let mut expected: Vec<_> = (1..=20).map(|number| orders.order(number).to_string()).collect();
    documents.sort();
    expected.sort();
    assert_eq!(documents, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_is_a_dead_letter_and_in_no_log() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    pair.seed("{\"id\":\"1\",\"region\":\"n\",\"note\":\"between-us\"}\n");
    let (rabbit, config) = start(&pair, "", BEGINNING).await;
    let ended = Bridge::catch_up(&config).await;
    let letters = pair.letters();
    assert_eq!(letters.len(), 1, "{}", ended.log);
    let cause = "no queue is bound for exchange `changes`, routing key `shop.orders.upsert` \
                 (312 NO_ROUTE)";
    assert_eq!(letters[0].cause, cause);
    assert!(letters[0].document.as_ref().unwrap().contains("between-us"));
    // Not even at the level `trace`, at which the client library would print all of it.
    assert!(!ended.log.contains("between-us"), "{}", ended.log);
    assert!(!ended.log.to_lowercase().contains("lapin"), "{}", ended.log);
    drop(rabbit);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_missing() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let (rabbit, config) = start(&pair, "", BEGINNING).await;
    assert_eq!(Bridge::command(&config, &["check", "--live"]).await.code(), Some(0));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"changes\"", "\"chnges\"")).unwrap();
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(66), "{}", ended.log);
    let said = "the broker answered 404 NOT_FOUND - no exchange 'chnges' in vhost '/'";
    assert!(ended.log.contains(said), "{}", ended.log);
    assert!(ended.log.contains("Declare the exchange, or correct `exchange`."), "{}", ended.log);
    drop(rabbit);
}

/// A bridge whose broker has confirmed a message, and confirms nothing and lets no connection close from now on.
async fn with_a_silent_broker(pair: &Pair) -> (Rabbit, Proxy, Bridge) {
    pair.seed("{\"id\":\"1\",\"region\":\"n\"}\n");
    // Without heartbeats during the test: the proxy counts what the bridge sends.
    let (rabbit, config) = start(pair, "heartbeat = \"10m\"", BEGINNING).await;
    rabbit.create_queue("all", Some(("changes", "shop.orders.#"))).await.unwrap();
    let proxy = Proxy::start(watch::channel(Some(rabbit.port())).1).await;
    let url = rabbit.url().replace(&rabbit.port().to_string(), &proxy.port.to_string());
    std::fs::write(pair.folder.path().join("uri"), url).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("stop_within = \"1s\"\n{text}")).unwrap();
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the message is confirmed", || pair.is_reading()).await;
    proxy.stall();
    (rabbit, proxy, bridge)
}

/// Closing the sinks is a part of the stop, and has no time of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lets_no_connection_close_does_not_hold_up_a_stop() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let (_rabbit, _proxy, bridge) = with_a_silent_broker(&pair).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    // Everything was confirmed.
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("error=\"not closed within 1s\""), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_a_message_that_no_broker_confirmed_has_its_own_exit_code() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let (_rabbit, proxy, bridge) = with_a_silent_broker(&pair).await;
    let before = pair.positions();
    pair.seed("{\"id\":\"2\",\"region\":\"n\"}\n");
    eventually("the message is sent", || proxy.keeps() > 0).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(75), "{}", ended.log);
    assert_eq!(pair.positions(), before, "{}", ended.log);
}

const DOCUMENTS: usize = 10_000;
const RESTARTS: usize = 10;
const SEED: u64 = 7;

/// The broker is killed ten times amid 100,000 changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_ten_times_has_every_change_in_order() {
    let source = remembering(&["/orderId"], 2);
    let pair = Pair::start(&source, &source).await;
    let (mut rabbit, config) = start(&pair, "heartbeat = \"2s\"", ALL_VERSIONS).await;
    rabbit.create_queue("all", Some(("changes", "#"))).await.unwrap();
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    let (mut load, mut chance) = (Load::new(DOCUMENTS, SEED), Chance::new(SEED));
    for _ in 0..RESTARTS {
        load.write_all(&pair);
        // At a random time within the second that these changes take.
        tokio::time::sleep(Duration::from_millis(50 + chance.below(800))).await;
        rabbit.kill().await;
        rabbit.restart().await.unwrap();
        assert!(bridge.is_running(), "{}", bridge.log());
    }
    let peak = bridge.peak_kib();
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("failed writing to sink"), "{}", ended.log);
    assert_eq!(pair.letters().len(), 0);

    let order = rabbit.order("all", "/sequence", Some("/id")).await.unwrap();
    println!(
        "{} changes, {} messages, {} of them again; peak memory {} MiB",
        order.distinct,
        order.messages,
        order.duplicates,
        peak / 1024
    );
    assert_eq!(order.distinct, (DOCUMENTS * RESTARTS) as u64);
    assert_eq!(order.keys, DOCUMENTS as u64);
    assert_eq!((order.out_of_order, order.ends_stale, order.unnumbered), (0, 0, 0), "{order:?}");
    // The broker had stored some messages whose confirmations were lost in the kill; no more is sent again than
    // can be in flight, ten times.
    assert!(order.duplicates <= 10 * 4 * 500, "{order:?}");
    assert!(peak <= 200 * 1024, "{peak} KiB");
}
