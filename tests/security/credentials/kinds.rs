//! Every kind of credential, through expiries and a rotation.

use std::time::Duration;

use cosmos_bridge_identity_local::{ClientCertificate, Cluster, IDENTITY_HEADER};

use super::scene::*;
use crate::support::Bridge;
use crate::support::evidence::lines_at;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_is_read_again_when_it_is_rotated() {
    let scene = Scene::start(NORTH, NORTH).await;
    scene.entra.secret(NORTH, APP, SECRET);
    scene.put("bridge.secret", SECRET);
    let credential = scene.by_secret("bridge", NORTH);
    let log = survives(scene, &credential, &[], |scene| {
        scene.put("bridge.secret", NEXT_SECRET);
        scene.entra.secret(NORTH, APP, NEXT_SECRET);
    });
    let log = log.await;
    assert!(!log.contains("planted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_read_again_when_it_is_rotated() {
    let scene = Scene::start(NORTH, NORTH).await;
    let (first, second) = (ClientCertificate::new(), ClientCertificate::new());
    scene.entra.certificate(NORTH, APP, &first);
    scene.put("bridge.pem", &first.pem());
    let credential = format!(
        "[credentials.bridge]\ntype = \"client-certificate\"\ntenant = \"{NORTH}\"\n\
         client_id = \"{APP}\"\ncertificate = {{ file = \"bridge.pem\" }}\n{}",
        scene.authority()
    );
    survives(scene, &credential, &[], |scene| {
        scene.put("bridge.pem", &second.pem());
        scene.entra.certificate(NORTH, APP, &second);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_pod_is_read_again_when_it_is_rotated() {
    let scene = Scene::start(NORTH, NORTH).await;
    let (first, second) =
        (Cluster::new("https://cluster.example"), Cluster::new("https://b.example"));
    let hour = Duration::from_hours(1);
    scene.entra.federate(NORTH, APP, &first, SUBJECT);
    scene.put("pod.token", &first.token(SUBJECT, hour));
    let token_file = scene.pair.folder.path().join("pod.token");
    // As the webhook of workload identity configures a pod: the file contains no option.
    let credential = "[credentials.bridge]\ntype = \"workload-identity\"\nca_file = \"ca.pem\"\n";
    let environment: Environment = [
        ("AZURE_TENANT_ID", NORTH),
        ("AZURE_CLIENT_ID", APP),
        ("AZURE_FEDERATED_TOKEN_FILE", token_file.to_str().unwrap()),
        ("AZURE_AUTHORITY_HOST", &scene.entra.authority()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    survives(scene, credential, &environment, |scene| {
        scene.put("pod.token", &second.token(SUBJECT, hour));
        scene.entra.federate(NORTH, APP, &second, SUBJECT);
    })
    .await;
}

fn app_service(scene: &Scene) -> Environment {
    vec![
        ("IDENTITY_ENDPOINT".to_owned(), format!("{}/msi/token", scene.entra.machine())),
        ("IDENTITY_HEADER".to_owned(), IDENTITY_HEADER.to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_assigned_identity_is_that_of_the_app() {
    let scene = Scene::start(NORTH, NORTH).await;
    scene.entra.assign(NORTH, None);
    let environment = app_service(&scene);
    let credential = "[credentials.bridge]\ntype = \"managed-identity\"\n";
    survives(scene, credential, &environment, |_| {}).await;
}

/// The metadata service has an address that no test can listen at, so it is reached by a proxy, which
/// every client of HTTP takes from its environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_assigned_identity_is_that_of_the_machine() {
    let scene = Scene::start(NORTH, NORTH).await;
    scene.entra.assign(NORTH, Some(APP));
    let environment = vec![
        ("http_proxy".to_owned(), scene.entra.machine()),
        ("no_proxy".to_owned(), "127.0.0.1".to_owned()),
    ];
    let credential =
        format!("[credentials.bridge]\ntype = \"managed-identity\"\nclient_id = \"{APP}\"\n");
    survives(scene, &credential, &environment, |_| {}).await;
}

/// The SDK runs `az`; this one says what the real one says.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the fake `az` comes before what is on the path")]
async fn whoever_is_logged_in_with_the_azure_cli_is_used() {
    use std::os::unix::fs::PermissionsExt;
    let mut scene = Scene::start(NORTH, NORTH).await;
    let bin = scene.pair.folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    scene.put("bin/az", "#!/bin/sh\necho \"$@\" >> \"${0%/*}/calls\"\ncat \"${0%/*}/token\"\n");
    std::fs::set_permissions(bin.join("az"), PermissionsExt::from_mode(0o755)).unwrap();
    let log_in = |scene: &Scene| {
        let (token, expires) = scene.entra.token(NORTH, APP, COSMOS);
        let text = format!(
            "{{\"accessToken\": \"{token}\", \"expires_on\": {expires}, \"tokenType\": \"Bearer\"}}"
        );
        // Atomically, so that a reader never sees half of it.
        scene.put("bin/token.next", &text);
        std::fs::rename(bin.join("token.next"), bin.join("token")).unwrap();
    };
    log_in(&scene);
    let credential = format!("[credentials.bridge]\ntype = \"azure-cli\"\ntenant = \"{NORTH}\"\n");
    let config = scene.configure(&credential, ["bridge", "bridge"], "info");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut bridge = Bridge::start_in(&config, &["run"], &[("PATH".to_owned(), path)]);
    let calls = || std::fs::read_to_string(bin.join("calls")).unwrap_or_default();
    scene
        .busy_until("four tokens", &mut bridge, |scene| {
            log_in(scene);
            calls().lines().count() >= 4
        })
        .await;
    let log = scene.finish(bridge).await;
    assert!(lines_at(&log, "WARN").is_empty(), "{log}");
    let call = format!("account get-access-token -o json --scope {COSMOS} --tenant {NORTH}");
    assert!(calls().lines().all(|line| line == call), "{}", calls());
}
