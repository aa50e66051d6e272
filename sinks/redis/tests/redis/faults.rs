//! What becomes of changes when the server does not take them.

use std::time::Duration;

use cosmos_bridge_brokers::Redis;
use cosmos_bridge_redis::{Mode, RedisSink};
use cosmos_bridge_sink::{Cause, Outcome, Secret, Sink, Wait};
use tokio::time::Instant;

use crate::support::{
    EXPIRY, MODES, delete, deliver, deliver_at_last, reason, settings, sink, stream, upsert,
};

const FAULT: Option<Wait> = Some(Wait { cause: Cause::Fault, retry_after: None });
const BUSY: Option<Wait> = Some(Wait { cause: Cause::Busy, retry_after: None });

/// One write of which everything is deferred with this reason.
async fn deferred(sink: &RedisSink, version: i64, said: &str, wait: Option<Wait>) {
    let changes = [upsert("a", version), upsert("b", version), upsert("a", version + 1)];
    let written = sink.write(&changes).await;
    let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
    let later = "an earlier change has not been written yet";
    assert_eq!(reasons[0], said);
    assert!(reasons[1..].iter().all(|reason| [said, later].contains(reason)), "{reasons:?}");
    assert!(written.outcomes.iter().all(|o| matches!(o, Outcome::Deferred { .. })));
    assert_eq!(written.wait, wait);
}

fn modes() -> [(Mode, &'static str); 3] {
    [(MODES[0], "order:{id}"), (MODES[1], "order:{id}"), (stream(), "changes")]
}

#[tokio::test]
async fn a_server_that_takes_no_writes_defers_everything_until_it_does() {
    let other = Redis::start().await.unwrap();
    let primary = other.port().to_string();
    let table: [(&[&str], &[&str], &str); 3] = [
        (
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
            "the server is out of memory (OOM command not allowed when used memory > 'maxmemory'.)",
        ),
        (
            &["REPLICAOF", "127.0.0.1", &primary],
            &["REPLICAOF", "NO", "ONE"],
            "the server is a read-only replica (READONLY You can't write against a read only replica.)",
        ),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "the server has too few replicas to accept writes (NOREPLICAS Not enough good replicas to write.)",
        ),
    ];
    for (mode, key) in modes() {
        let redis = Redis::start().await.unwrap();
        let sink = sink(settings(redis.port(), key, mode));
        for (version, (breaks, mends, said)) in (2..).step_by(3).zip(table) {
            deliver(&sink, &[upsert("a", version - 1)]).await;
            redis.cli(breaks).await.unwrap();
            let what = format!("writing to redis://127.0.0.1:{}/0: {said}", redis.port());
            deferred(&sink, version, &what, BUSY).await;
            redis.cli(mends).await.unwrap();
            let changes = [upsert("a", version), delete("b", version), upsert("a", version + 1)];
            deliver(&sink, &changes).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_save_defers_everything_until_it_can() {
    let redis = Redis::builder()
        .option("appendonly", &["no"])
        .option("enable-protected-configs", &["yes"])
        .start()
        .await
        .unwrap();
    redis.cli(&["CONFIG", "SET", "save", "3600 1"]).await.unwrap();
    let sink = sink(settings(redis.port(), "order:{id}", MODES[0]));
    deliver(&sink, &[upsert("a", 1)]).await;
    let (away, back) = (redis.folder().join("away"), tempfile::tempdir().unwrap());
    std::fs::create_dir(&away).unwrap();
    redis.cli(&["CONFIG", "SET", "dir", away.to_str().unwrap()]).await.unwrap();
    std::fs::remove_dir_all(&away).unwrap();
    redis.cli(&["BGSAVE"]).await.unwrap();
    let failed = async {
        while !redis
            .cli(&["INFO", "persistence"])
            .await
            .unwrap()
            .contains("rdb_last_bgsave_status:err")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), failed).await.unwrap();
    let written = sink.write(&[upsert("a", 2)]).await;
    let said = format!(
        "writing to redis://127.0.0.1:{}/0: the server cannot save its data (MISCONF ",
        redis.port()
    );
    assert!(reason(&written.outcomes[0]).starts_with(&said), "{written:?}");
    assert_eq!(written.wait, BUSY);
    redis.cli(&["CONFIG", "SET", "dir", back.path().to_str().unwrap()]).await.unwrap();
    redis.cli(&["BGSAVE"]).await.unwrap();
    deliver_at_last(&sink, &[upsert("a", 2)]).await;
}

#[tokio::test]
async fn a_server_that_loads_its_data_or_runs_a_script_defers_everything_until_it_is_done() {
    let mut redis = Redis::builder()
        .option("key-load-delay", &["300"])
        .option("loading-process-events-interval-bytes", &["1024"])
        .option("busy-reply-threshold", &["1"])
        .start()
        .await
        .unwrap();
    let sink = sink(settings(redis.port(), "order:{id}", MODES[0]));
    let address = format!("writing to redis://127.0.0.1:{}/0", redis.port());
    deliver(&sink, &[upsert("a", 1)]).await;
    let fill: Vec<String> = (0..5000).map(|n| format!("SET filler:{n} x")).collect();
    redis.cli_lines(&fill.join("\n")).await.unwrap();
    redis.kill().await;
    redis.restart_without_waiting().await.unwrap();
    // The first write meets the end of the old connection, and those after it a closed port for a while.
    let loading = format!(
        "{address}: the server is loading its data (LOADING Redis is loading the dataset in memory)"
    );
    let seen = async {
        loop {
            let written = sink.write(&[upsert("a", 2)]).await;
            assert_eq!(written.wait, BUSY, "{written:?}");
            if reason(&written.outcomes[0]) == loading {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), seen).await.unwrap();
    deliver_at_last(&sink, &[upsert("a", 2)]).await;

    let endless = redis.cli(&["EVAL", "while true do end", "0"]);
    let busy = async {
        let said = format!(
            "{address}: the server is busy with a script (BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.)"
        );
        loop {
            let written = sink.write(&[upsert("a", 3)]).await;
            if written.outcomes == [Outcome::Deferred { reason: said.clone() }] {
                assert_eq!(written.wait, BUSY);
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        redis.cli(&["SCRIPT", "KILL"]).await.unwrap();
    };
    let (killed, seen) = tokio::join!(endless, tokio::time::timeout(Duration::from_mins(1), busy));
    seen.unwrap();
    assert!(killed.is_err());
    deliver_at_last(&sink, &[upsert("a", 3)]).await;
}

#[tokio::test]
async fn a_script_that_the_server_forgot_is_sent_again() {
    for (mode, key) in modes() {
        let redis = Redis::start().await.unwrap();
        let sink = sink(settings(redis.port(), key, mode));
        deliver(&sink, &[upsert("a", 1)]).await;
        redis.cli(&["SCRIPT", "FLUSH"]).await.unwrap();
        let changes: Vec<_> = (0..300).map(|number| upsert(&number.to_string(), 1)).collect();
        let written = sink.write(&changes).await;
        assert_eq!(written.outcomes, vec![Outcome::Delivered; 300]);
        // Each call again, with the script; after that by its hash.
        let first = written.requests;
        let second = sink.write(&changes).await.requests;
        assert_eq!(first, 2 * second, "{mode:?}");
    }
}

#[tokio::test]
async fn missing_permissions_are_named_until_they_are_given() {
    let redis = Redis::start().await.unwrap();
    redis
        .cli_lines("ACL SETUSER writer on >secret ~order:* ~cosmos-bridge:version:* +@all -set\n")
        .await
        .unwrap();
    let mut settings = settings(redis.port(), "order:{id}", MODES[0]);
    settings.server.username = Some("writer".to_owned());
    settings.password = Some(Secret::new("secret"));
    let sink = sink(settings);
    let denied = |said: &str| {
        format!(
            "writing to redis://127.0.0.1:{}/0: the user lacks a permission ({said})",
            redis.port()
        )
    };
    let command = denied("ERR The user executing the script can't run this command or subcommand");
    deferred(&sink, 2, &command, FAULT).await;
    redis.cli(&["ACL", "SETUSER", "writer", "+set", "resetkeys", "~order:*"]).await.unwrap();
    let key =
        denied("NOPERM this user has no permissions to access one of the keys used as arguments");
    deferred(&sink, 2, &key, FAULT).await;
    redis.cli(&["ACL", "SETUSER", "writer", "~cosmos-bridge:*", "-evalsha"]).await.unwrap();
    let script = denied("NOPERM this user has no permissions to run the 'evalsha' command");
    deferred(&sink, 2, &script, FAULT).await;
    redis.cli(&["ACL", "SETUSER", "writer", "+evalsha"]).await.unwrap();
    deliver(&sink, &[upsert("a", 2)]).await;
    // The server closes the connections of a user that is removed.
    redis.cli(&["ACL", "DELUSER", "writer"]).await.unwrap();
    let refused = format!(
        "connecting to redis://127.0.0.1:{}/0: the server refused user name or password \
         (WRONGPASS invalid username-password pair or user is disabled.)",
        redis.port()
    );
    sink.write(&[upsert("a", 2)]).await;
    deferred(&sink, 2, &refused, FAULT).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_written_does_not_hold_up_others() {
    let redis = Redis::start().await.unwrap();
    let settings = settings(redis.port(), "{/to}", stream());
    let sink = sink(settings);
    let to = |id: &str, stream: &str, version| {
        crate::support::with(id, version, serde_json::json!({"id": id, "to": stream}))
    };
    redis.cli(&["SET", "taken", "x"]).await.unwrap();
    let changes = [
        to("a", "taken", 1),
        to("b", "free", 1),
        to("c", "taken", 1),
        to("a", "free", 2),
        to("b", "free", 2),
    ];
    let written = sink.write(&changes).await;
    let wrong = format!(
        "writing to redis://127.0.0.1:{}/0: the key holds another type of value (WRONGTYPE \
         Operation against a key holding the wrong kind of value)",
        redis.port()
    );
    let later = "an earlier change has not been written yet";
    let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
    // The later change of `a` is held, although its own key could be written.
    assert_eq!(reasons, [wrong.as_str(), "delivered", later, later, "delivered"]);
    assert_eq!(written.wait, FAULT);
    redis.cli(&["DEL", "taken"]).await.unwrap();
    deliver(&sink, &[to("a", "taken", 1), to("c", "taken", 1), to("a", "free", 2)]).await;

    // The same for versions that something else has written over.
    let sink =
        crate::support::sink(crate::support::settings(redis.port(), "{id}", Mode::Set(EXPIRY)));
    redis.cli(&["RPUSH", "cosmos-bridge:version:{a}", "x"]).await.unwrap();
    let written = sink.write(&[upsert("a", 1), upsert("b", 1), upsert("a", 2)]).await;
    let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
    assert_eq!(reasons, [wrong.as_str(), "delivered", later]);
}

#[tokio::test]
async fn a_server_that_freezes_defers_in_time() {
    let redis = Redis::start().await.unwrap();
    let mut settings = settings(redis.port(), "order:{id}", MODES[0]);
    settings.server.request_timeout = Duration::from_millis(500);
    let sink = sink(settings);
    deliver(&sink, &[upsert("a", 1)]).await;
    let id = redis.id().unwrap().to_string();
    let signal = async |signal: &str| {
        let sent = tokio::process::Command::new("kill").args([signal, &id]).status().await;
        assert!(sent.unwrap().success());
    };
    signal("-STOP").await;
    let started = Instant::now();
    let said = format!("writing to redis://127.0.0.1:{}/0: no answer within 0.5 s", redis.port());
    for _ in 0..3 {
        deferred(&sink, 2, &said, BUSY).await;
    }
    let took = started.elapsed();
    signal("-CONT").await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    deliver_at_last(&sink, &[upsert("a", 4)]).await;
}
