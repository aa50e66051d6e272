//! Failures of authentication at accounts, which the bridge retries.

use cosmos_bridge_identity_local::{ClientCertificate, Failure};
use tokio::time::Instant;

use super::scene::*;
use crate::support::Bridge;
use crate::support::evidence::lines_at;

#[tokio::test(flavor = "multi_thread")]
async fn source_and_target_are_in_two_tenants() {
    let mut scene = Scene::start(NORTH, SOUTH).await;
    scene.entra.secret(NORTH, APP, SECRET);
    scene.put("north.secret", SECRET);
    scene.entra.secret(SOUTH, APP, NEXT_SECRET);
    scene.put("south.secret", NEXT_SECRET);
    let credentials = [scene.by_secret("north", NORTH), scene.by_secret("south", SOUTH)].concat();

    // With the one for the other, the account says which tenant is wrong.
    let crossed = scene.configure(&credentials, ["south", "north"], "info");
    let ended = Bridge::start(&crossed, &["check", "--live"]).ended().await;
    assert_eq!(ended.code(), Some(77), "{}", ended.log);
    assert!(ended.log.contains("belongs to another tenant than the credential"), "{}", ended.log);

    let config = scene.configure(&credentials, ["north", "south"], "info");
    let mut bridge = Bridge::start(&config, &["run"]);
    scene
        .busy_until("tokens of both", &mut bridge, |scene| {
            scene.entra.issued(NORTH) >= 4 && scene.entra.issued(SOUTH) >= 4
        })
        .await;
    let log = scene.finish(bridge).await;
    assert!(lines_at(&log, "WARN").is_empty(), "{log}");
    assert!(log.contains("credential `south` (client secret, tenant south.example)"), "{log}");
}

/// The authority is unavailable until the tokens have expired at the accounts, too; then both work again.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_cannot_be_renewed_is_waited_out() {
    for failure in [Failure::Status(503), Failure::Silence] {
        let mut scene = Scene::start(NORTH, NORTH).await;
        scene.entra.secret(NORTH, APP, SECRET);
        scene.put("bridge.secret", SECRET);
        let credential = scene.by_secret("bridge", NORTH);
        let config = scene.configure(&credential, ["bridge", "bridge"], "info");
        let mut bridge = Bridge::start(&config, &["run"]);
        scene.busy_until("it runs", &mut bridge, |scene| scene.pair.writes() > 20).await;
        scene.entra.fail(Some(failure));
        let log = bridge.log_file();
        let says = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
        scene
            .busy_until("it has to wait", &mut bridge, |_| {
                says("failed fetching a token of credential `bridge`")
                    && says("failed reading pipeline `orders`")
            })
            .await;
        let away = Instant::now();
        scene.busy_until("a while", &mut bridge, |_| away.elapsed() > LIFETIME).await;
        assert!(!scene.pair.is_equal());
        scene.entra.fail(None);
        let log = scene.finish(bridge).await;
        assert!(log.contains("works again: fetching a token"), "{log}");
        assert!(log.contains("works again: reading pipeline"), "{log}");
        assert!(!log.contains("planted"), "{log}");
    }
}

/// The secret is wrong for a while: the log has the error and its remedy, the bridge retries, and works as soon as
/// the file is corrected.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_refused_is_waited_out() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    scene.entra.secret(NORTH, APP, SECRET);
    scene.put("bridge.secret", SECRET);
    let credential = scene.by_secret("bridge", NORTH);
    let config = scene.configure(&credential, ["bridge", "bridge"], "info");
    let mut bridge = Bridge::start(&config, &["run"]);
    scene.busy_until("it runs", &mut bridge, |scene| scene.pair.writes() > 20).await;
    scene.entra.secret(NORTH, APP, NEXT_SECRET);
    let log = bridge.log_file();
    let says = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
    scene
        .busy_until("it has to wait", &mut bridge, |_| {
            says("AADSTS7000215") && says("failed reading pipeline `orders`")
        })
        .await;
    scene.put("bridge.secret", NEXT_SECRET);
    let log = scene.finish(bridge).await;
    assert!(log.contains("Use a valid secret of the application"), "{log}");
    assert!(!log.contains("planted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_key_is_read_again_when_it_is_regenerated() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    let config = scene.pair.configure("", "", "poll_interval = \"100ms\"", "");
    let mut bridge = Bridge::start(&config, &["run"]);
    scene.busy_until("it runs", &mut bridge, |scene| scene.pair.writes() > 20).await;
    for (account, failing) in [
        ("source", "failed reading pipeline `orders`"),
        ("target", "failed writing to sink `archive`"),
    ] {
        let key = scene.pair.accounts.rotate_key(account).unwrap();
        let log = bridge.log_file();
        let says = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
        scene.busy_until(failing, &mut bridge, |_| says(failing)).await;
        scene.put(&format!("{account}.key"), &key);
        let used =
            format!("the account's secret has changed; using the new one account=\"{account}\"");
        scene.busy_until(&used, &mut bridge, |_| says(&used)).await;
    }
    let writes = scene.pair.writes();
    scene.busy_until("it writes", &mut bridge, |scene| scene.pair.writes() > writes + 20).await;
    let keys = ["source", "target"].map(|account| scene.pair.accounts.key(account));
    let log = scene.finish(bridge).await;
    assert!(log.contains("Check the account's key"), "{log}");
    assert!(!keys.iter().any(|key| log.contains(key)), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_token_says_why() {
    let scene = Scene::start(NORTH, NORTH).await;
    scene.entra.secret(NORTH, APP, SECRET);
    scene.put("bridge.secret", "planted-and-wrong");
    let credential = scene.by_secret("bridge", NORTH);
    let config = scene.configure(&credential, ["bridge", "bridge"], "info");
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(77), "{}", ended.log);
    for said in [
        "connecting to account `source`",
        "credential `bridge` (client secret, tenant north.example)",
        "AADSTS7000215",
        "Use a valid secret of the application",
        "No request was sent, because there is no token.",
    ] {
        assert!(ended.log.contains(said), "{said}:\n{}", ended.log);
    }
    assert!(!ended.log.contains("planted"), "{}", ended.log);

    scene.entra.fail(Some(Failure::Silence));
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(69), "{}", ended.log);
}

/// At the most verbose level neither the secret nor a token nor an assertion is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_most_verbose_log() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    let certificate = ClientCertificate::new();
    scene.entra.secret(NORTH, APP, SECRET);
    scene.entra.certificate(SOUTH, APP, &certificate);
    scene.pair.accounts.trust("target", scene.entra.trust(SOUTH));
    scene.put("north.secret", SECRET);
    scene.put("south.pem", &certificate.pem());
    let credentials = format!(
        "{}[credentials.south]\ntype = \"client-certificate\"\ntenant = \"{SOUTH}\"\n\
         client_id = \"{APP}\"\ncertificate = {{ file = \"south.pem\" }}\n{}",
        scene.by_secret("north", NORTH),
        scene.authority()
    );
    let config = scene.configure(&credentials, ["north", "south"], VERBOSE);
    let mut bridge = Bridge::start(&config, &["run"]);
    scene
        .busy_until("tokens of both", &mut bridge, |scene| {
            scene.entra.issued(NORTH) >= 2 && scene.entra.issued(SOUTH) >= 2
        })
        .await;
    let log = scene.finish(bridge).await;
    let key: String = certificate.pem().lines().rev().nth(3).unwrap().to_owned();
    // Every JSON Web Token begins like this.
    for secret in ["planted", "eyJ", key.as_str()] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    assert!(log.contains(" DEBUG ") && log.contains("got a token of credential `south`"));
}
