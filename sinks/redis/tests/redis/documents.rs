//! What a document looks like in the server, and when it expires.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cosmos_bridge_brokers::Redis;
use cosmos_bridge_redis::{Expiry, Mode, Ttl};
use cosmos_bridge_sink::{Change, Outcome, Sink};
use serde_json::{Value, json};

use crate::support::{EXPIRY, MODES, delete, deliver, moved, reason, settings, sink, upsert, with};

#[tokio::test]
async fn a_hash_holds_each_field_and_no_field_of_an_earlier_version() {
    let redis = Redis::start().await.unwrap();
    let sink = sink(settings(redis.port(), "{database}:{id}", Mode::Hash(EXPIRY)));
    let first = with("a", 1, json!({"id": "a", "old": true, "note": "x"}));
    let document = json!({
        "id": "a", "note": "two words", "total": 3.0, "paid": false, "none": null,
        "lines": [{"sku": "ü", "n": 1}], "to": {"city": "Köln"},
    });
    deliver(&sink, &[first, with("a", 2, document)]).await;
    let stored = redis.values("shop:*").await.unwrap();
    let expected = json!({
        "id": "a", "note": "two words", "total": "3", "paid": "false", "none": "null",
        "lines": r#"[{"n":1,"sku":"ü"}]"#, "to": r#"{"city":"Köln"}"#,
    });
    assert_eq!((stored[0].key.as_str(), &stored[0].value), ("shop:a", &expected));
    // More fields than Lua passes in one call.
    let many: serde_json::Map<String, Value> =
        (0..9000).map(|number| (format!("field-{number}"), number.into())).collect();
    deliver(&sink, &[with("many", 1, Value::Object(many))]).await;
    assert_eq!(redis.cli(&["HLEN", "shop:many"]).await.unwrap().trim(), "9000");
    assert_eq!(redis.cli(&["HGET", "shop:many", "field-8999"]).await.unwrap().trim(), "8999");
}

#[tokio::test]
async fn a_string_holds_the_document_as_json() {
    let redis = Redis::start().await.unwrap();
    let sink = sink(settings(redis.port(), "{container}:{/region}:{id}", Mode::Set(EXPIRY)));
    let document = json!({"id": "a", "region": "n{o}rd", "note": "ü\"\n", "n": 1.5e300});
    // A key of another type is replaced.
    redis.cli(&["RPUSH", "orders:n{o}rd:a", "x"]).await.unwrap();
    deliver(&sink, &[with("a", 1, document.clone())]).await;
    let stored = redis.values("orders:*").await.unwrap();
    assert_eq!(stored[0].key, "orders:n{o}rd:a");
    assert_eq!(stored[0].value, Value::String(document.to_string()));
    let written = sink.write(&[upsert("b", 1), delete("a", 2)]).await;
    let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
    assert_eq!(
        reasons,
        [
            "no key: field /region is missing",
            "no key: the delete carries no previous image, and /region is needed",
        ]
    );
    assert!(written.outcomes.iter().all(|o| matches!(o, Outcome::Rejected { .. })));
    assert_eq!(written.wait, None);
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn committed(change: Change, at: i64) -> Change {
    moved(change, |origin| origin.committed_at = Some(at))
}

async fn seconds_left(redis: &Redis, key: &str) -> i64 {
    redis.cli(&["TTL", key]).await.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_document_expires_as_it_does_in_the_source() {
    for mode in [Mode::Set as fn(Expiry) -> Mode, Mode::Hash] {
        let redis = Redis::start().await.unwrap();
        let sink = sink(settings(redis.port(), "{id}", mode(EXPIRY)));
        let at = now() - 100;
        let ttl = |id: &str, version, ttl: Value| {
            committed(with(id, version, json!({"id": id, "ttl": ttl})), at)
        };
        deliver(
            &sink,
            &[
                ttl("hour", 1, json!(3600)),
                ttl("never", 1, json!(-1)),
                ttl("over", 1, json!(50)),
                ttl("text", 1, json!("3600")),
                upsert("none", 1),
            ],
        )
        .await;
        // From the commit on, not from the write on.
        assert!((3490..=3500).contains(&seconds_left(&redis, "hour").await));
        assert_eq!(seconds_left(&redis, "never").await, -1);
        assert_eq!(seconds_left(&redis, "over").await, -2, "it has expired");
        assert_eq!(seconds_left(&redis, "text").await, -1);
        assert_eq!(seconds_left(&redis, "none").await, -1);
        // The version outlives the document, so that late writes are recognized.
        let version = "cosmos-bridge:version:{hour}";
        let day = 24 * 3600;
        assert!((day + 3490..=day + 3500).contains(&seconds_left(&redis, version).await));
        deliver(&sink, &[ttl("over", 0, json!(-1))]).await;
        assert_eq!(seconds_left(&redis, "over").await, -2, "an older version does not come back");
        // A version without a time to live ends the expiry.
        deliver(&sink, &[committed(upsert("hour", 2), now())]).await;
        assert_eq!(seconds_left(&redis, "hour").await, -1);
        assert_eq!(seconds_left(&redis, version).await, -1);
    }
}

#[tokio::test]
async fn a_default_time_to_live_is_for_documents_without_one() {
    let redis = Redis::start().await.unwrap();
    let default_ttl = Some(Duration::from_secs(500));
    let with_default = |ttl| Mode::Set(Expiry { ttl, default_ttl, ..EXPIRY });
    let both = |id: &str| {
        let ttl = committed(with(&format!("{id}-1000"), 1, json!({"ttl": 1000})), now());
        let never = committed(with(&format!("{id}-never"), 1, json!({"ttl": -1})), now());
        [ttl, never, committed(upsert(&format!("{id}-none"), 1), now())]
    };
    let table = [("document", Ttl::Document, [1000, -1, 500]), ("ignore", Ttl::Ignore, [500; 3])];
    for (id, ttl, expected) in table {
        let sink = sink(settings(redis.port(), "{id}", with_default(ttl)));
        deliver(&sink, &both(id)).await;
        for (suffix, expected) in ["1000", "never", "none"].into_iter().zip(expected) {
            let left = seconds_left(&redis, &format!("{id}-{suffix}")).await;
            assert!((expected - 10..=expected).contains(&left), "{id}-{suffix}: {left}");
        }
        sink.close().await.unwrap();
    }
}

#[tokio::test]
async fn keys_of_every_shape_are_written() {
    let redis = Redis::start().await.unwrap();
    for mode in MODES {
        let sink = sink(settings(redis.port(), "{id}", mode));
        let ids = ["}", "{}", "a}b", "{x}", "{", "a b", "ü🦀", "{{x}}"];
        let changes: Vec<Change> = ids.iter().map(|id| upsert(id, 1)).collect();
        deliver(&sink, &changes).await;
        for id in ids {
            assert_eq!(redis.cli(&["EXISTS", id]).await.unwrap().trim(), "1", "{id}");
        }
        let older: Vec<Change> = ids.iter().map(|id| delete(id, 0)).collect();
        deliver(&sink, &older).await;
        for id in ids {
            assert_eq!(redis.cli(&["EXISTS", id]).await.unwrap().trim(), "1", "{id}");
        }
        redis.cli(&["FLUSHALL"]).await.unwrap();
    }
}
