//! What `check` finds, without writing.

use std::path::Path;
use std::time::Duration;

use cosmos_bridge_brokers::Redis;
use cosmos_bridge_redis::{Certificates, Mode, Settings, Tls};
use cosmos_bridge_sink::{Secret, Sink, SinkError, SinkErrorKind, Template};
use tokio::net::TcpListener;

use crate::support::{EXPIRY, MODES, container, deliver, settings, sink, stream, upsert};

pub(crate) async fn check(settings: Settings) -> Result<(), SinkError> {
    sink(settings).check().await
}

/// Message, hint, and whether waiting can help.
fn parts(error: &SinkError) -> (&str, &str, bool) {
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    (&error.message, error.hint.as_deref().unwrap_or_default(), error.is_transient())
}

const LOGIN: &str = "Check `username` and `password`.";
const PERMISSION: &str =
    "Give the ACL user the commands and the keys that sinks/redis/README.md lists.";

#[tokio::test]
async fn a_server_that_is_ready_passes_and_keeps_nothing() {
    let redis = Redis::start().await.unwrap();
    for mode in MODES {
        check(settings(redis.port(), "order:{id}", mode)).await.unwrap();
    }
    check(settings(redis.port(), "changes", stream())).await.unwrap();
    assert_eq!(redis.cli(&["DBSIZE"]).await.unwrap().trim(), "0");
}

#[tokio::test]
async fn a_server_without_the_module_for_json_is_named() {
    let redis = Redis::start().await.unwrap();
    let address = format!("redis://127.0.0.1:{}/0", redis.port());
    let error = check(settings(redis.port(), "order:{id}", Mode::Json(EXPIRY))).await.unwrap_err();
    let message =
        format!("checking {address}: the server lacks a command (ERR unknown command 'JSON.SET')");
    let hint = "For `mode = \"json\"` load the module RedisJSON; the other modes need Redis 6.2 or \
                Valkey.";
    assert_eq!(parts(&error), (message.as_str(), hint, false));
}

#[tokio::test]
async fn users_and_permissions_are_checked() {
    let redis = Redis::start().await.unwrap();
    redis
        .cli_lines(
            "ACL SETUSER ready on >secret ~order:* ~cosmos-bridge:version:* +eval +evalsha +multi \
             +discard +get +set +del +expireat +hset\n\
             ACL SETUSER streamer on >secret ~shop:* ~cosmos-bridge:writer:* +eval +evalsha \
             +get +set +xadd +multi +discard\n\
             ACL SETUSER no-set on >secret ~* +@all -set\n\
             ACL SETUSER no-script on >secret ~* +@all -eval -evalsha\n\
             ACL SETUSER no-keys on >secret ~order:* +@all\n\
             ACL SETUSER off off >secret ~* +@all\n\
             CONFIG SET requirepass secret\n",
        )
        .await
        .unwrap();
    let address = format!("redis://127.0.0.1:{}/0", redis.port());
    let login = |user: Option<&str>, password: Option<&str>| {
        let mut settings = settings(redis.port(), "order:{id}", Mode::Set(EXPIRY));
        settings.server.username = user.map(str::to_owned);
        settings.password = password.map(Secret::new);
        settings
    };
    let ready = login(Some("ready"), Some("secret"));
    check(ready.clone()).await.unwrap();
    deliver(&sink(ready), &[upsert("a", 1)]).await;
    for key in ["shop:orders", "shop:{id}"] {
        let streamer = Settings {
            key: Template::parse(key).unwrap(),
            mode: stream(),
            ..login(Some("streamer"), Some("secret"))
        };
        check(streamer.clone()).await.unwrap();
        deliver(&sink(streamer), &[upsert("a", 1)]).await;
    }
    // The streams of both containers are known, and the user may write to the first only.
    let streams = Settings {
        key: Template::parse("{container}:changes").unwrap(),
        mode: stream(),
        ..login(Some("streamer"), Some("secret"))
    };
    for (sources, is_permitted) in [(&["shop"][..], true), (&["shop", "orders"], false)] {
        let sources: Vec<_> = sources.iter().map(|name| container(name)).collect();
        let checked = sink(streams.clone()).with_sources(&sources).check().await;
        let kind = checked.err().map(|error| error.kind);
        assert_eq!(kind, (!is_permitted).then_some(SinkErrorKind::Denied));
    }
    check(login(None, Some("secret"))).await.unwrap();

    let refused = "the server refused user name or password (WRONGPASS invalid username-password pair or user is disabled.)";
    let table = [
        (login(None, None), "checking", "the server requires a password (NOAUTH Authentication required.)".to_owned(), LOGIN),
        (login(None, Some("other")), "connecting to", refused.to_owned(), LOGIN),
        (login(Some("ready"), Some("other")), "connecting to", refused.to_owned(), LOGIN),
        (login(Some("stranger"), Some("secret")), "connecting to", refused.to_owned(), LOGIN),
        (login(Some("off"), Some("secret")), "connecting to", refused.to_owned(), LOGIN),
        (login(Some("no-set"), Some("secret")), "checking", "the user lacks a permission (NOPERM this user has no permissions to run the 'set' command)".to_owned(), PERMISSION),
        (login(Some("no-script"), Some("secret")), "checking", "the user lacks a permission (NOPERM this user has no permissions to run the 'eval' command)".to_owned(), PERMISSION),
        (login(Some("no-keys"), Some("secret")), "checking", "the user lacks a permission (NOPERM this user has no permissions to access one of the keys used as arguments)".to_owned(), PERMISSION),
    ];
    for (settings, what, said, hint) in table {
        let error = check(settings).await.unwrap_err();
        let message = format!("{what} {address}: {said}");
        assert_eq!(parts(&error), (message.as_str(), hint, false));
    }
}

#[tokio::test]
async fn a_server_that_cannot_take_writes_is_found() {
    let redis = Redis::start().await.unwrap();
    let primary = Redis::start().await.unwrap();
    let address = format!("redis://127.0.0.1:{}/0", redis.port());
    let port = primary.port().to_string();
    let table: [(&[&str], &[&str], &str); 4] = [
        (
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
            "the server is out of memory (OOM command not allowed when used memory > 'maxmemory'.)",
        ),
        (
            &["REPLICAOF", "127.0.0.1", &port],
            &["REPLICAOF", "NO", "ONE"],
            "the server is a read-only replica (READONLY You can't write against a read only replica.)",
        ),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "the server has too few replicas to accept writes (NOREPLICAS Not enough good replicas to write.)",
        ),
        (&["PING"], &["PING"], ""),
    ];
    for (breaks, mends, said) in table {
        redis.cli(breaks).await.unwrap();
        for (key, mode) in
            [("order:{id}", MODES[0]), ("order:{id}", MODES[1]), ("changes", stream())]
        {
            let checked = check(settings(redis.port(), key, mode)).await;
            match checked {
                Ok(()) => assert_eq!(said, ""),
                Err(error) => {
                    assert_eq!(error.message, format!("checking {address}: {said}"));
                    assert!(error.is_transient());
                }
            }
        }
        redis.cli(mends).await.unwrap();
    }
    let mut other = settings(redis.port(), "order:{id}", MODES[0]);
    other.server.database = 99;
    let error = check(other).await.unwrap_err();
    let message = format!(
        "connecting to redis://127.0.0.1:{}/99: the server has no such database (ERR DB index is out of range)",
        redis.port()
    );
    assert_eq!(
        parts(&error),
        (message.as_str(), "Correct `database`; a cluster has database 0 only.", false)
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_or_does_not_answer_is_reported_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut unanswered = settings(port, "order:{id}", MODES[0]);
    unanswered.server.request_timeout = Duration::from_millis(300);
    unanswered.server.connect_timeout = Duration::from_millis(300);
    let error = check(unanswered.clone()).await.unwrap_err();
    let message = format!("checking redis://127.0.0.1:{port}/0: no answer within 0.3 s");
    assert_eq!(parts(&error), (message.as_str(), "", true));
    drop(silent);
    let error = check(unanswered).await.unwrap_err();
    let message =
        format!("connecting to redis://127.0.0.1:{port}/0: Connection refused (os error 111)");
    assert_eq!(parts(&error), (message.as_str(), "", true));
}

#[tokio::test]
async fn encryption_with_another_authority_and_a_client_certificate() {
    let redis = Redis::builder().tls().start().await.unwrap();
    let files = redis.certificates().unwrap();
    let read = |path: &Path| std::fs::read(path).unwrap();
    let authorities = Some(read(&files.authority));
    let identity = Some((read(&files.client), read(&files.client_key)));
    let with = |certificates: Option<Certificates>| {
        let mut settings = settings(redis.port(), "order:{id}", MODES[0]);
        let none = Tls { ca_file: None, certificate_file: None, key_file: None };
        settings.server.tls = certificates.is_some().then_some(none);
        settings.certificates = certificates.unwrap_or_default();
        settings
    };
    let own = Certificates { authorities: authorities.clone(), identity: identity.clone() };
    let trusted = with(Some(own));
    check(trusted.clone()).await.unwrap();
    deliver(&sink(trusted), &[upsert("a", 1)]).await;
    let error = check(with(Some(Certificates { authorities: None, identity }))).await.unwrap_err();
    let (message, hint, transient) = parts(&error);
    assert!(message.ends_with("invalid peer certificate: UnknownIssuer"), "{message}");
    assert_eq!((hint, transient), ("Check `tls.ca_file`, and the name in `servers`.", false));
    // The server looks at the certificate after the client has begun to speak: its alert may be
    // overtaken by the end of the connection.
    let without_own = with(Some(Certificates { authorities, identity: None }));
    let error = check(without_own).await.unwrap_err();
    let refused = ["ertificate", "onnection", "roken pipe"];
    assert!(refused.iter().any(|why| error.message.contains(why)), "{}", error.message);
    assert!(check(with(None)).await.is_err());
}
