//! Changes in Redis, by the real binary, read back by an independent client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "prints the figures")]

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_brokers::{Redis, Stored};
use cosmos_bridge_emulator::chance::Chance;
use serde_json::{Value, json};

use crate::support::history::{Load, remembering};
use crate::support::{Bridge, Pair, eventually};

const ALL_VERSIONS: &str = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";

/// A configuration that writes to the server, as the user `bridge` if the server has one.
fn configure(pair: &Pair, redis: &Redis, sink: &str) -> PathBuf {
    let port = redis.port();
    let sink = format!("[sinks.redis.events]\nservers = [\"127.0.0.1:{port}\"]\n{sink}\n");
    pair.configure_sinks(&sink, "", ALL_VERSIONS, "to = \"events\"")
}

async fn documents(redis: &Redis) -> Vec<(String, Value)> {
    let all = redis.values("shop:*").await.unwrap();
    let read = |Stored { key, value, .. }| {
        let value =
            value.as_str().map_or(value.clone(), |text| serde_json::from_str(text).unwrap());
        (key, value)
    };
    all.into_iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_created_replaced_removed_and_expire() {
    let source = remembering(&["/region"], 2);
    for mode in ["set", "hash"] {
        let pair = Pair::start(&source, &source).await;
        let redis = Redis::start().await.unwrap();
        let user = "ACL SETUSER bridge on >planted-secret ~shop:* ~cosmos-bridge:version:* +eval \
                    +evalsha +get +set +del +expireat +multi +discard +hset\n";
        redis.cli_lines(user).await.unwrap();
        std::fs::write(pair.folder.path().join("password"), "planted-secret\n").unwrap();
        let login = "username = \"bridge\"\npassword = { file = \"password\" }";
        let config = configure(&pair, &redis, &format!("mode = \"{mode}\"\n{login}"));
        let checked = Bridge::command(&config, &["check", "--live"]).await;
        assert_eq!(checked.code(), Some(0), "{}", checked.log);
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        for (id, state) in [("1", "new"), ("2", "new"), ("1", "paid")] {
            pair.seed(&format!("{{\"id\":\"{id}\",\"region\":\"n\",\"state\":\"{state}\"}}\n"));
        }
        pair.seed("{\"id\":\"3\",\"region\":\"n\",\"ttl\":100000}\n");
        pair.delete("2");
        pair.seed("{\"id\":\"4\",\"region\":\"n\",\"state\":\"last\"}\n");
        let mut found = Vec::new();
        for _ in 0..200 {
            found = documents(&redis).await;
            if found.iter().any(|(key, _)| key == "shop:orders:n:4") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["shop:orders:n:1", "shop:orders:n:3", "shop:orders:n:4"], "{mode}");
        assert_eq!(found[0].1, json!({"id": "1", "region": "n", "state": "paid"}));
        let ttl = redis.cli(&["TTL", "shop:orders:n:3"]).await.unwrap();
        let ttl: u32 = ttl.trim().parse().unwrap();
        assert!((99_000..=100_000).contains(&ttl), "{ttl}");
        assert_eq!(pair.letters().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_stream_say_what_happened() {
    let source = remembering(&["/region"], 2);
    let pair = Pair::start(&source, &source).await;
    let redis = Redis::start().await.unwrap();
    let config = configure(&pair, &redis, "mode = \"stream\"");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    for state in ["new", "paid"] {
        pair.seed(&format!("{{\"id\":\"1\",\"region\":\"n\",\"state\":\"{state}\"}}\n"));
    }
    pair.delete("1");
    let mut entries = Vec::new();
    for _ in 0..200 {
        entries = redis.entries("shop:orders", "-").await.unwrap();
        if entries.len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
    let kinds: Vec<&str> =
        entries.iter().map(|entry| entry.fields["type"].as_str().unwrap()).collect();
    let [upsert, delete] = ["upsert", "delete"]
        .map(|operation| format!("io.github.cosmos-bridge.document.{operation}"));
    assert_eq!(kinds, [&upsert, &upsert, &delete]);
    let data = |at: usize| -> Value {
        serde_json::from_str(entries[at].fields["data"].as_str().unwrap()).unwrap()
    };
    assert_eq!((&data(0)["state"], &data(1)["state"]), (&json!("new"), &json!("paid")));
    assert!(!entries[2].fields.contains_key("data"));
    assert!(entries.iter().all(|entry| entry.fields["source"] == "cosmosdb://source/shop/orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_json_module_is_reported_by_check() {
    let source = remembering(&["/region"], 1);
    let pair = Pair::start(&source, &source).await;
    let redis = Redis::start().await.unwrap();
    let config = configure(&pair, &redis, "mode = \"json\"");
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.log);
    let said = "the server lacks a command (ERR unknown command 'JSON.SET')";
    assert!(ended.log.contains(said), "{}", ended.log);
    assert!(ended.log.contains("load the module RedisJSON"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_refuses_a_key_that_no_document_has() {
    let source = remembering(&["/region"], 1);
    let pair = Pair::start(&source, &source).await;
    pair.seed("{\"id\":\"1\",\"region\":\"n\"}\n");
    let redis = Redis::start().await.unwrap();
    let config = configure(&pair, &redis, "mode = \"set\"\nkey = \"shop:{/place}\"");
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.log);
    let said = "would become dead letters: no key: field /place is missing (1)";
    assert!(ended.log.contains(said), "{}", ended.log);
    assert_eq!(redis.values("*").await.unwrap().len(), 0);
}

const DOCUMENTS: usize = 10_000;
const RESTARTS: usize = 10;
const SEED: u64 = 7;

/// The server is killed ten times during 100,000 changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_ten_times_has_every_change_in_order() {
    let source = remembering(&["/orderId"], 2);
    let pair = Pair::start(&source, &source).await;
    let mut redis = Redis::start().await.unwrap();
    let config = configure(&pair, &redis, "mode = \"stream\"");
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    let (mut load, mut chance) = (Load::new(DOCUMENTS, SEED), Chance::new(SEED));
    for _ in 0..RESTARTS {
        load.write_all(&pair);
        // At a random time within the second that these changes take.
        tokio::time::sleep(Duration::from_millis(50 + chance.below(800))).await;
        redis.kill().await;
        redis.restart().await.unwrap();
        assert!(bridge.is_running(), "{}", bridge.log());
    }
    let peak = bridge.peak_kib();
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.letters().len(), 0);

    let order = redis.order("shop:orders").await.unwrap();
    println!(
        "{} changes, {} events, {} of them again; peak memory {} MiB",
        order.distinct,
        order.messages,
        order.duplicates,
        peak / 1024
    );
    assert_eq!(order.distinct, (DOCUMENTS * RESTARTS) as u64);
    assert_eq!(order.keys, DOCUMENTS as u64);
    assert_eq!((order.out_of_order, order.ends_stale, order.unnumbered), (0, 0, 0), "{order:?}");
    assert!(peak <= 200 * 1024, "{peak} KiB");
}
