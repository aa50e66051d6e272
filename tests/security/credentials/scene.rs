//! Two local accounts, a token endpoint, and a bridge with a steady load.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_identity_local::LocalEntra;
use tokio::time::Instant;

use crate::support::evidence::lines_at;
use crate::support::{self, Bridge, Pair, eventually};

pub(crate) const NORTH: &str = "north.example";
pub(crate) const SOUTH: &str = "south.example";
pub(crate) const APP: &str = "b0000000-0000-0000-0000-00000000000b";
pub(crate) const COSMOS: &str = "https://cosmos.azure.com/.default";
pub(crate) const SUBJECT: &str = "system:serviceaccount:bridge:bridge";

/// Planted, to be found nowhere.
pub(crate) const SECRET: &str = "planted-secret-7Qm2Zr";
pub(crate) const NEXT_SECRET: &str = "planted-secret-8Rn3As";

/// With the libraries that carry secrets, which are quiet unless they are named.
pub(crate) const VERBOSE: &str = "trace,azure_core=trace,azure_data_cosmos=trace,azure_data_cosmos_driver=trace,\
                       hyper=trace,h2=trace,reqwest=trace,rustls=trace";

/// Renewed at half of it.
pub(crate) const LIFETIME: Duration = Duration::from_secs(4);

pub(crate) type Environment = Vec<(String, String)>;

pub(crate) struct Scene {
    pub(crate) pair: Pair,
    pub(crate) entra: LocalEntra,
    pub(crate) documents: usize,
}

impl Scene {
    /// Both accounts trust one tenant each.
    pub(crate) async fn start(source: &str, target: &str) -> Self {
        let settings = ContainerSettings::new(&["/region"], 2);
        let pair = Pair::start(&settings, &settings).await;
        let entra = LocalEntra::start().await;
        entra.lifetime(LIFETIME);
        pair.accounts.trust("source", entra.trust(source));
        pair.accounts.trust("target", entra.trust(target));
        std::fs::write(pair.folder.path().join("ca.pem"), &entra.ca).unwrap();
        Self { pair, entra, documents: 0 }
    }

    pub(crate) fn put(&self, file: &str, text: &str) {
        std::fs::write(self.pair.folder.path().join(file), text).unwrap();
    }

    /// Writes the configuration; the accounts name the credentials `source` and `target`.
    pub(crate) fn configure(&self, credentials: &str, names: [&str; 2], level: &str) -> PathBuf {
        let path = self.pair.configure("", "", "poll_interval = \"100ms\"", "");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replace("key = { file = \"source.key\" }", &format!("credential = \"{}\"", names[0]))
            .replace("key = { file = \"target.key\" }", &format!("credential = \"{}\"", names[1]));
        std::fs::write(&path, format!("log.level = \"{level}\"\n{credentials}\n{text}")).unwrap();
        path
    }

    /// Writes the configuration of one sink, `events`, whose table is `sink`; accounts have keys.
    pub(crate) fn configure_sink(&self, credentials: &str, sink: &str) -> PathBuf {
        let source = "start = \"beginning\"\npoll_interval = \"100ms\"";
        let path = self.pair.configure_sinks(sink, "", source, "to = \"events\"");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{credentials}\n{text}")).unwrap();
        path
    }

    /// The options that every credential has which asks the local authority.
    pub(crate) fn authority(&self) -> String {
        format!("authority = \"{}\"\nca_file = \"ca.pem\"\n", self.entra.authority())
    }

    pub(crate) fn by_secret(&self, name: &str, tenant: &str) -> String {
        let authority = self.authority();
        format!(
            "[credentials.{name}]\ntype = \"client-secret\"\ntenant = \"{tenant}\"\n\
             client_id = \"{APP}\"\nsecret = {{ file = \"{name}.secret\" }}\n{authority}"
        )
    }

    /// More documents for the bridge to copy, and another version of the first one.
    pub(crate) fn grow(&mut self) {
        let mut lines = String::new();
        for id in self.documents..self.documents + 20 {
            let region = id % 5;
            writeln!(lines, "{{\"id\": \"{id}\", \"region\": \"r{region}\", \"n\": {id}}}")
                .unwrap();
        }
        self.documents += 20;
        writeln!(lines, "{{\"id\": \"0\", \"region\": \"r0\", \"n\": {}}}", self.documents)
            .unwrap();
        self.pair.seed(&lines);
    }

    /// Keeps the bridge busy until something holds.
    pub(crate) async fn busy_until(
        &mut self,
        what: &str,
        bridge: &mut Bridge,
        holds: impl Fn(&Self) -> bool,
    ) {
        let deadline = Instant::now() + support::PATIENCE;
        while !holds(self) {
            assert!(bridge.is_running(), "{what}: it ended:\n{}", bridge.log());
            assert!(Instant::now() < deadline, "never happened: {what}\n{}", bridge.log());
            self.grow();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything has arrived, in one process that then stops as asked.
    pub(crate) async fn finish(self, mut bridge: Bridge) -> String {
        eventually("both are equal", || self.pair.is_equal()).await;
        assert!(bridge.is_running(), "{}", bridge.log());
        stopped(bridge).await
    }
}

/// Stops a bridge that was started once, and returns its log.
pub(crate) async fn stopped(bridge: Bridge) -> String {
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.log.matches(" stopped ").count(), 1, "{}", ended.log);
    assert!(!ended.log.contains("planted"), "{}", ended.log);
    ended.log
}

/// Runs one kind through renewals, a rotation and more renewals.
pub(crate) async fn survives(
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
    // One token for both accounts, refreshed twice per lifetime; independent of the number of requests.
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
