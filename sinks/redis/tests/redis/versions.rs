//! An older version never replaces a newer one.

use std::time::Duration;

use cosmos_bridge_brokers::Redis;
use cosmos_bridge_redis::{Expiry, Mode};
use cosmos_bridge_sink::{Operation, Sink};
use serde_json::{Value, json};

use crate::support::{EXPIRY, MODES, delete, deliver, moved, settings, sink, upsert, with};

/// The version that the server shows of each document.
async fn shown(redis: &Redis) -> Vec<(String, i64)> {
    let all = redis.values("order:*").await.unwrap();
    let version = |value: &Value| match value {
        Value::String(text) => serde_json::from_str::<Value>(text).unwrap()["version"].as_i64(),
        fields => fields["version"].as_str().unwrap().parse().ok(),
    };
    all.iter().map(|stored| (stored.key.clone(), version(&stored.value).unwrap())).collect()
}

fn expected(all: &[(&str, i64)]) -> Vec<(String, i64)> {
    all.iter().map(|(id, version)| (format!("order:{id}"), *version)).collect()
}

#[tokio::test]
async fn an_older_version_after_a_newer_one_is_left_out() {
    for mode in MODES {
        let redis = Redis::start().await.unwrap();
        // Two bridges, so that nothing that a sink remembers helps.
        let first = sink(settings(redis.port(), "order:{id}", mode));
        let second = sink(settings(redis.port(), "order:{id}", mode));
        deliver(&first, &[upsert("a", 5), upsert("b", 10), upsert("b", 9)]).await;
        deliver(&second, &[upsert("a", 4), delete("b", 3), upsert("a", 3)]).await;
        assert_eq!(shown(&redis).await, expected(&[("a", 5), ("b", 10)]), "{mode:?}");
        // Compared as numbers, and by the place within a transaction.
        deliver(&second, &[upsert("a", 10)]).await;
        let third = moved(upsert("b", 10), |origin| origin.nth = 10);
        let changed = with("b", 10, json!({"id": "b", "version": 11}));
        let later = moved(changed, |origin| origin.nth = 11);
        deliver(&second, &[later, third]).await;
        assert_eq!(shown(&redis).await, expected(&[("a", 10), ("b", 11)]), "{mode:?}");
    }
}

#[tokio::test]
async fn an_older_version_after_a_delete_is_left_out() {
    for mode in MODES {
        let redis = Redis::start().await.unwrap();
        let sink = sink(settings(redis.port(), "order:{id}", mode));
        deliver(&sink, &[upsert("a", 1), upsert("b", 1), delete("a", 3)]).await;
        deliver(&sink, &[upsert("a", 2), delete("never-seen", 5), upsert("never-seen", 4)]).await;
        assert_eq!(shown(&redis).await, expected(&[("b", 1)]), "{mode:?}");
        // A later one creates it again.
        deliver(&sink, &[upsert("a", 4)]).await;
        assert_eq!(shown(&redis).await, expected(&[("a", 4), ("b", 1)]), "{mode:?}");
    }
}

#[tokio::test]
async fn versions_of_deleted_documents_are_kept_for_a_limited_time() {
    let redis = Redis::start().await.unwrap();
    let expiry = Expiry { tombstone_ttl: Duration::from_secs(10), ..EXPIRY };
    let sink = sink(settings(redis.port(), "order:{id}", Mode::Set(expiry)));
    deliver(&sink, &[upsert("a", 1), delete("a", 2), upsert("b", 1)]).await;
    let versions = redis.values("cosmos-bridge:version:*").await.unwrap();
    let found: Vec<_> = versions.iter().map(|stored| (stored.key.as_str(), stored.ttl)).collect();
    let (tombstone, held) = (found[0], found[1]);
    assert_eq!(
        (tombstone.0, held),
        ("cosmos-bridge:version:{order:a}", ("cosmos-bridge:version:{order:b}", -1))
    );
    assert!((1..=10_000).contains(&tombstone.1), "{found:?}");
    let gone = async {
        while redis.values("cosmos-bridge:version:*").await.unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), gone).await.unwrap();
}

#[tokio::test]
async fn versions_of_other_sources_are_not_compared() {
    for mode in MODES {
        let redis = Redis::start().await.unwrap();
        let sink = sink(settings(redis.port(), "order:{id}", mode));
        deliver(&sink, &[upsert("a", 9), upsert("b", 9)]).await;
        // Another document of the source with the same key, and a container that was created again: its
        // numbers begin again, and its documents were committed later.
        let other = moved(upsert("a", 2), |origin| origin.id = "another".to_owned());
        let again = moved(upsert("b", 2), |origin| {
            origin.committed_at = origin.committed_at.map(|time| time + 60);
        });
        deliver(&sink, &[other, again]).await;
        assert_eq!(shown(&redis).await, expected(&[("a", 2), ("b", 2)]), "{mode:?}");
    }
}

#[tokio::test]
async fn changes_without_numbers_are_compared_by_their_commit_time() {
    let redis = Redis::start().await.unwrap();
    let sink = sink(settings(redis.port(), "order:{id}", MODES[0]));
    let at = |version: i64| {
        moved(upsert("a", version), |origin| {
            origin.lsn = None;
            origin.committed_at = Some(version);
        })
    };
    deliver(&sink, &[at(7), at(6)]).await;
    assert_eq!(shown(&redis).await, expected(&[("a", 7)]));
    let mut gone = at(8);
    gone.operation = Operation::Delete { expired: true };
    deliver(&sink, &[gone, at(7)]).await;
    assert_eq!(shown(&redis).await, []);
    sink.close().await.unwrap();
}
