//! Secrets in a key vault: read at the start, at SIGHUP and when the target refuses them; and the messages when they
//! cannot be read. The vault has the name of a real one, and a proxy leads to it.

use std::path::{Path, PathBuf};

use cosmos_bridge_brokers::Endpoint;
use cosmos_bridge_identity_local::{Failure, LocalVault, Read};

use super::rotation::{changes, ids, until_changed, until_failing};
use super::scene::*;
use crate::support::evidence::lines_at;
use crate::support::planted::plant;
use crate::support::{Bridge, eventually};

const CHECK_LIVE: &[&str] = &["check", "--live"];

struct Vaulted {
    scene: Scene,
    vault: LocalVault,
}

impl Vaulted {
    /// A vault that `bridge` may read, with the key of the source.
    async fn start() -> Self {
        let scene = Scene::start(NORTH, NORTH).await;
        scene.entra.secret(NORTH, APP, SECRET);
        scene.put("bridge.secret", SECRET);
        let vault = LocalVault::start("north-kv", scene.entra.trust(NORTH)).await;
        vault.assign(&[APP]);
        scene.put("vault.pem", &vault.ca);
        let vaulted = Self { scene, vault };
        vaulted.keep("source-key", &vaulted.scene.pair.accounts.key("source"));
        vaulted
    }

    /// Puts a secret into the vault and plants it. Returns its version.
    fn keep(&self, name: &str, value: &str) -> String {
        plant("a secret in the vault", value);
        self.vault.put(name, value)
    }

    fn reference(&self, secret: &str) -> String {
        let vault = self.vault.address();
        format!("{{ key_vault = \"{vault}\", secret = \"{secret}\", credential = \"bridge\" }}")
    }

    fn environment(&self) -> Environment {
        self.environment_by(&self.vault.proxy())
    }

    fn environment_by(&self, proxy: &str) -> Environment {
        let authorities = self.scene.pair.folder.path().join("vault.pem");
        [
            ("HTTPS_PROXY", proxy),
            ("NO_PROXY", "127.0.0.1"),
            ("SSL_CERT_FILE", authorities.to_str().unwrap()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Adds the credential, and takes the key of the source from the vault.
    fn with_key(&self, config: &Path) {
        let text = std::fs::read_to_string(config).unwrap();
        let key = format!("key = {}", self.reference("source-key"));
        let text = text.replace("key = { file = \"source.key\" }", &key);
        assert!(text.contains(&key), "{text}");
        let credential = self.scene.by_secret("bridge", NORTH);
        std::fs::write(config, format!("{credential}\n{text}")).unwrap();
    }

    /// The configuration of a copy.
    fn configure(&self, route: &str) -> PathBuf {
        let config = self.scene.pair.configure("", "", "poll_interval = \"100ms\"", route);
        self.with_key(&config);
        config
    }

    /// The configuration of an HTTP sink with a token from the vault.
    fn configure_endpoint(&self, endpoint: &str) -> PathBuf {
        let bearer = self.reference("bearer");
        let sink = format!("[sinks.http.events]\nurl = \"{endpoint}\"\nbearer = {bearer}\n");
        let config = self.scene.configure_sink("", &sink);
        self.with_key(&config);
        config
    }

    /// An endpoint that accepts the first token in the vault, and a bridge that posts to it.
    async fn posting(&mut self) -> (Endpoint, Bridge) {
        let endpoint = Endpoint::start().await.unwrap();
        endpoint.takes(&["planted-bearer-1"]).unwrap();
        self.keep("bearer", "planted-bearer-1");
        let config = self.configure_endpoint(&endpoint.url());
        let mut bridge = Bridge::start_in(&config, &["run"], &self.environment());
        let posts = |_: &Scene| endpoint.taken().unwrap().len() > 20;
        self.scene.busy_until("it posts", &mut bridge, posts).await;
        (endpoint, bridge)
    }

    /// The final output of a start; the same for `check --live` and `run`.
    async fn refusal(&self, config: &Path, code: i32) -> String {
        self.refusal_by(&self.vault.proxy(), config, code).await
    }

    async fn refusal_by(&self, proxy: &str, config: &Path, code: i32) -> String {
        let mut said = Vec::new();
        for arguments in [CHECK_LIVE, &["run", "--until-caught-up"]] {
            let bridge = Bridge::start_in(config, arguments, &self.environment_by(proxy));
            let ended = bridge.ended().await;
            assert_eq!(ended.code(), Some(code), "{}", ended.log);
            said.push(self.scene.pair.settled(&ended.last_words()));
        }
        assert_eq!(said[0], said[1]);
        assert_eq!(self.scene.pair.writes(), 0);
        said.remove(0)
    }

    fn was_read(&self, path: &str) -> bool {
        let is_it = |read: &Read| read.path == path && read.status == 200;
        self.vault.reads().iter().any(is_it)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_token_are_read_again_when_the_vault_has_others() {
    let mut vaulted = Vaulted::start().await;
    let (endpoint, mut bridge) = vaulted.posting().await;
    let taken = |with: &str| {
        let bearer = format!("Bearer {with}");
        let all = endpoint.taken().unwrap();
        all.into_iter().filter(|request| request.headers["authorization"] == *bearer).count()
    };
    assert!(taken("planted-bearer-1") > 20);

    // The target accepts both for a while, and the operator sends SIGHUP.
    endpoint.takes(&["planted-bearer-1", "planted-bearer-2"]).unwrap();
    vaulted.keep("bearer", "planted-bearer-2");
    bridge.signal("HUP");
    until_changed(&mut vaulted.scene, &mut bridge, 1).await;
    endpoint.takes(&["planted-bearer-2"]).unwrap();
    let scene = &mut vaulted.scene;
    scene.busy_until("it posts", &mut bridge, |_| taken("planted-bearer-2") > 20).await;
    assert!(lines_at(&bridge.log(), "WARN").is_empty(), "{}", bridge.log());

    // Without an overlap and without a signal.
    endpoint.takes(&["planted-bearer-3"]).unwrap();
    until_failing(&mut vaulted.scene, &mut bridge).await;
    vaulted.keep("bearer", "planted-bearer-3");
    until_changed(&mut vaulted.scene, &mut bridge, 2).await;

    let key = vaulted.scene.pair.accounts.rotate_key("source").unwrap();
    let log = bridge.log_file();
    let says = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
    let failing = "failed reading pipeline `orders`";
    vaulted.scene.busy_until(failing, &mut bridge, |_| says(failing)).await;
    vaulted.keep("source-key", &key);
    let used = "the account's secret has changed; using the new one account=\"source\"";
    vaulted.scene.busy_until(used, &mut bridge, |_| says(used)).await;

    let documents = vaulted.scene.documents;
    let arrived = || {
        let taken = endpoint.taken().unwrap();
        ids(taken.iter().map(|request| request.body.as_str())).len()
    };
    eventually("everything is there", || arrived() == documents).await;
    assert_eq!(changes(&bridge), 2);
    stopped(bridge).await;
    // The first request asks the vault for its authority; no token is sent before that.
    let reads = vaulted.vault.reads();
    let challenged = reads.iter().filter(|read| !read.had_token);
    assert_eq!(challenged.clone().count() * 2, reads.len(), "{reads:?}");
    assert!(challenged.clone().all(|read| read.status == 401), "{reads:?}");
    // Several failures are logged in these seconds, and few of them cause a request to the vault.
    assert!(reads.len() < 60, "{} reads", reads.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_can_be_read_no_more_is_kept() {
    let mut vaulted = Vaulted::start().await;
    let (endpoint, mut bridge) = vaulted.posting().await;
    let taken = || endpoint.taken().unwrap().len();

    let log = bridge.log_file();
    let count = |text: &str| std::fs::read_to_string(&log).unwrap().matches(text).count();
    let (again, failed) = ("configuration was read again", "failed reading the secrets of sink");
    vaulted.vault.assign(&[]);
    bridge.signal("HUP");
    eventually("the failure is logged", || count(failed) == 1).await;
    vaulted.vault.be_away(true);
    let refused = vaulted.vault.reads().len();
    bridge.signal("HUP");
    eventually("the bridge retries", || count(again) == 2 && vaulted.vault.reads().len() > refused)
        .await;
    let before = taken();
    vaulted.scene.busy_until("it posts", &mut bridge, |_| taken() > before + 20).await;

    vaulted.vault.be_away(false);
    vaulted.vault.assign(&[APP]);
    bridge.signal("HUP");
    let works = "works again: reading the secrets of sink `events` again";
    eventually(works, || count(works) == 1).await;
    assert_eq!(changes(&bridge), 0);
    let log = stopped(bridge).await;
    let warnings = lines_at(&log, "WARN");
    let [warning] = warnings[..] else { panic!("{warnings:?}") };
    for said in [
        "the secret of `bearer` cannot be used: secret `bearer` of https://north-kv.vault.azure.net",
        "the vault answered 403 (ForbiddenByRbac)",
        "Give credential `bridge` the role \\\"Key Vault Secrets User\\\" on the vault",
    ] {
        assert!(warning.contains(said), "{said}:\n{warning}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_gets_no_secret_says_why() {
    let vaulted = Vaulted::start().await;
    let config = vaulted.configure("");
    let mut said = String::new();

    vaulted.vault.assign(&[]);
    said += &(vaulted.refusal(&config, 77).await + "\n");
    let endpoint = vaulted.configure_endpoint("https://127.0.0.1:1/");
    vaulted.vault.assign(&[APP]);
    said += &(vaulted.refusal(&endpoint, 66).await + "\n");
    let config = vaulted.configure("");
    vaulted.keep("source-key", "planted-and-no-key");
    said += &(vaulted.refusal(&config, 78).await + "\n");
    vaulted.vault.put("source-key", " \n");
    said += &(vaulted.refusal(&config, 78).await + "\n");
    vaulted.vault.disable("source-key");
    said += &(vaulted.refusal(&config, 77).await + "\n");
    let traced = std::fs::read_to_string(&config).unwrap();
    let header = vaulted.reference("collector");
    let traces =
        format!("[traces]\nendpoint = \"http://127.0.0.1:9\"\nheaders = {{ a = {header} }}\n");
    std::fs::write(&config, format!("{traced}\n{traces}")).unwrap();
    said += &(vaulted.refusal(&config, 66).await + "\n");
    let config = vaulted.configure("");
    vaulted.scene.entra.secret(NORTH, APP, NEXT_SECRET);
    said += &(vaulted.refusal(&config, 77).await + "\n");
    vaulted.scene.entra.secret(NORTH, APP, SECRET);
    // No process listens on the discard port.
    said += &vaulted.refusal_by("http://127.0.0.1:9", &config, 69).await;
    insta::assert_snapshot!(said);
}

/// A token of another tenant, and one that the authority does not give at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_of_another_tenant_is_named() {
    let mut vaulted = Vaulted::start().await;
    let vault = LocalVault::start("north-kv", vaulted.scene.entra.trust(SOUTH)).await;
    vaulted.scene.put("vault.pem", &vault.ca);
    vaulted.vault = vault;
    let config = vaulted.configure("");
    let mut said = vaulted.refusal(&config, 77).await + "\n";
    vaulted.scene.entra.fail(Some(Failure::Silence));
    let unreachable = vaulted.refusal(&config, 69).await;
    assert!(unreachable.contains("secret `source-key` of https://north-kv"), "{unreachable}");
    assert!(unreachable.contains("credential `bridge` (client secret, tenant"), "{unreachable}");
    vaulted.scene.entra.fail(None);
    // A server that only claims to be the vault gets no token: it asks for one for another service ..
    vaulted.vault.pretend("https://cosmos.azure.com");
    said += &(vaulted.refusal(&config, 1).await + "\n");
    let read = vaulted.vault.reads().pop().unwrap();
    assert!(!read.had_token, "{read:?}");
    // .. or its certificate is for another name.
    vaulted.scene.put("vault.pem", &vaulted.scene.entra.ca);
    let stranger = vaulted.refusal(&config, 69).await;
    assert!(stranger.contains("invalid peer certificate"), "{stranger}");
    said += &stranger;
    insta::assert_snapshot!(said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_says_nothing_is_not_waited_for() {
    let vaulted = Vaulted::start().await;
    let config = vaulted.configure("");
    vaulted.vault.be_silent();
    let environment = vaulted.environment();
    let ended = Bridge::start_in(&config, CHECK_LIVE, &environment).ended().await;
    assert_eq!(ended.code(), Some(69), "{}", ended.log);
    let said = ended.last_words();
    assert!(said.contains("the vault cannot be reached: no answer within 20 s"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_the_file_asks_nobody() {
    let vaulted = Vaulted::start().await;
    let config = vaulted.configure("");
    let environment = vaulted.environment();
    let ended = Bridge::start_in(&config, &["check"], &environment).ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(vaulted.vault.reads(), []);
    assert_eq!(vaulted.scene.entra.asked(), []);
    // The same one does, once it may connect.
    let ended = Bridge::start_in(&config, CHECK_LIVE, &environment).ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(vaulted.was_read("secrets/source-key"), "{:?}", vaulted.vault.reads());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_kept_to_and_salts_come_from_the_vault_too() {
    let mut vaulted = Vaulted::start().await;
    let version = vaulted.keep("salt", "planted-salt-1");
    vaulted.keep("salt", "planted-salt-2");
    let pinned = vaulted.reference("salt").replace(" }", &format!(", version = \"{version}\" }}"));
    let mask = format!("mask = {{ \"/n\" = {{ sha256 = {{ salt = {pinned} }} }} }}");
    let config = vaulted.configure(&mask);
    vaulted.scene.grow();
    let run = ["run", "--until-caught-up"];
    let ended = Bridge::start_in(&config, &run, &vaulted.environment()).ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(vaulted.was_read(&format!("secrets/salt/{version}")), "{:?}", vaulted.vault.reads());
    assert!(!vaulted.was_read("secrets/salt"));
    assert!(vaulted.was_read("secrets/source-key"));
    assert_eq!(vaulted.scene.pair.count("target", "copies"), vaulted.scene.documents);
}
