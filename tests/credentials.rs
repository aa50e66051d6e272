//! The real binary with tokens of local endpoints: every kind of credential, through expiries, rotations
//! and an authority that is away. Tokens hold for seconds here.

#![expect(clippy::unwrap_used, reason = "what fails here is to fail the test")]

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_identity_local::{
    ClientCertificate, Cluster, Failure, IDENTITY_HEADER, LocalEntra,
};
use support::evidence::lines_at;
use support::{Bridge, Pair, eventually};
use tokio::time::Instant;

const NORTH: &str = "north.example";
const SOUTH: &str = "south.example";
const APP: &str = "b0000000-0000-0000-0000-00000000000b";
const COSMOS: &str = "https://cosmos.azure.com/.default";
const SUBJECT: &str = "system:serviceaccount:bridge:bridge";

/// Planted, to be found nowhere.
const SECRET: &str = "planted-secret-7Qm2Zr";
const NEXT_SECRET: &str = "planted-secret-8Rn3As";

/// With the libraries that carry secrets, which are quiet unless they are named.
const VERBOSE: &str = "trace,azure_core=trace,azure_data_cosmos=trace,azure_data_cosmos_driver=trace,\
                       hyper=trace,h2=trace,reqwest=trace,rustls=trace";

/// Renewed at half of it.
const LIFETIME: Duration = Duration::from_secs(4);

type Environment = Vec<(String, String)>;

struct Scene {
    pair: Pair,
    entra: LocalEntra,
    documents: usize,
}

impl Scene {
    /// Both accounts trust one tenant each.
    async fn start(source: &str, target: &str) -> Self {
        let settings = ContainerSettings::new(&["/region"], 2);
        let pair = Pair::start(&settings, &settings).await;
        let entra = LocalEntra::start().await;
        entra.lifetime(LIFETIME);
        pair.accounts.trust("source", entra.trust(source));
        pair.accounts.trust("target", entra.trust(target));
        std::fs::write(pair.folder.path().join("ca.pem"), &entra.ca).unwrap();
        Self { pair, entra, documents: 0 }
    }

    fn put(&self, file: &str, text: &str) {
        std::fs::write(self.pair.folder.path().join(file), text).unwrap();
    }

    /// Writes the configuration; the accounts name the credentials `source` and `target`.
    fn configure(&self, credentials: &str, names: [&str; 2], level: &str) -> std::path::PathBuf {
        let path = self.pair.configure("", "", "poll_interval = \"100ms\"", "");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replace("key = { file = \"source.key\" }", &format!("credential = \"{}\"", names[0]))
            .replace("key = { file = \"target.key\" }", &format!("credential = \"{}\"", names[1]));
        std::fs::write(&path, format!("log.level = \"{level}\"\n{credentials}\n{text}")).unwrap();
        path
    }

    /// The options that every credential has which asks the local authority.
    fn authority(&self) -> String {
        format!("authority = \"{}\"\nca_file = \"ca.pem\"\n", self.entra.authority())
    }

    fn by_secret(&self, name: &str, tenant: &str) -> String {
        let authority = self.authority();
        format!(
            "[credentials.{name}]\ntype = \"client-secret\"\ntenant = \"{tenant}\"\n\
             client_id = \"{APP}\"\nsecret = {{ file = \"{name}.secret\" }}\n{authority}"
        )
    }

    /// More documents for the bridge to copy.
    fn grow(&mut self) {
        let mut lines = String::new();
        for id in self.documents..self.documents + 20 {
            let region = id % 5;
            writeln!(lines, "{{\"id\": \"{id}\", \"region\": \"r{region}\", \"n\": {id}}}")
                .unwrap();
        }
        self.documents += 20;
        self.pair.seed(&lines);
    }

    /// Keeps the bridge busy until something holds.
    async fn busy_until(&mut self, what: &str, bridge: &mut Bridge, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + support::PATIENCE;
        while !holds(self) {
            assert!(bridge.is_running(), "{what}: it ended:\n{}", bridge.log());
            assert!(Instant::now() < deadline, "never happened: {what}\n{}", bridge.log());
            self.grow();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything has arrived, in one process that then stops as asked.
    async fn finish(self, mut bridge: Bridge) -> String {
        eventually("both are equal", || self.pair.is_equal()).await;
        assert!(bridge.is_running(), "{}", bridge.log());
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.log.matches(" stopped ").count(), 1, "{}", ended.log);
        ended.log
    }
}

/// Runs one kind through renewals, a rotation and more renewals.
async fn survives(
    mut scene: Scene,
    credential: &str,
    environment: &[(String, String)],
    rotate: impl FnOnce(&Scene),
) -> String {
    let config = scene.configure(credential, ["bridge", "bridge"], "info");
    let started = Instant::now();
    let mut bridge = Bridge::start_in(&config, &["run"], environment);
    scene.busy_until("three tokens", &mut bridge, |s| s.entra.issued(NORTH) >= 3).await;
    rotate(&scene);
    let before = scene.entra.issued(NORTH);
    scene.busy_until("tokens after", &mut bridge, |s| s.entra.issued(NORTH) >= before + 2).await;
    // One for both accounts, twice in a lifetime, whatever the number of requests.
    let lifetimes = started.elapsed().as_secs_f64() / LIFETIME.as_secs_f64();
    let issued = u32::try_from(scene.entra.issued(NORTH)).unwrap();
    assert!(f64::from(issued) <= 2.5 * lifetimes + 3.0, "{issued} tokens in {lifetimes}");
    assert!(scene.pair.writes() > 20);
    let refused: Vec<_> = scene.entra.asked().into_iter().filter(|a| a.refused.is_some()).collect();
    let log = scene.finish(bridge).await;
    assert_eq!(refused, [], "{log}");
    assert!(lines_at(&log, "WARN").is_empty(), "{log}");
    log
}

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
    // As the webhook of workload identity sets a pod up: nothing stands in the file.
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
        // In one step, so that nobody reads half of it.
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

/// Tokens expire while the authority is away, at the accounts too, and both come back.
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

/// The secret is wrong for a while: told with its remedy, waited out, and mended in its place.
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
    assert!(log.contains("Put a secret of the application there that is valid"), "{log}");
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
        let used = format!("is used from now on account=\"{account}\"");
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
        "Put a secret of the application there that is valid",
        "The account was not asked, because there is no token.",
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
