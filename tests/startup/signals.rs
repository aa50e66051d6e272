//! A stop at any moment of the start.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};
use tokio::process::Command;

use crate::support::history::announce;
use crate::support::{Bridge, PATIENCE, Pair, eventually};

const SEED: u64 = 3;
const STARTS: u64 = 30;

/// True if the process has a handler for a signal of this number.
fn handles(process: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap_or("0").trim(), 16).unwrap();
    caught & (1 << (signal - 1)) != 0
}

const BEFORE_THE_END: &str = "stopped before the start was complete";

const INT: u32 = 2;
const TERM: u32 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_the_bridge_at_any_moment_of_its_start() {
    announce(&format!("seed {SEED}"));
    let settings = ContainerSettings::new(&["/region"], 2);
    let pair = Pair::start(&settings, &settings).await;
    pair.seed("{\"id\":\"1\",\"region\":\"r\"}\n");
    let config = pair.configure("", "", "", "");
    // A start makes several requests, so it takes longer than most of the signals do, on any machine.
    pair.accounts.fault(FaultRule {
        then: Effect { delay_ms: Some(50), ..Effect::default() },
        ..FaultRule::default()
    });
    let mut chance = Chance::new(SEED);
    let mut before_the_end_of_the_start = 0;
    for _ in 0..STARTS {
        let (number, name) = if chance.one_in(2) { (TERM, "TERM") } else { (INT, "INT") };
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the signal is handled", || handles(bridge.pid(), number)).await;
        tokio::time::sleep(Duration::from_millis(chance.below(400))).await;
        bridge.signal(name);
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        // The log is that of all starts so far.
        before_the_end_of_the_start = ended.log.matches(BEFORE_THE_END).count();
    }
    assert!(before_the_end_of_the_start > 0, "every start was complete");
}

/// The account accepts the connection and does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_the_bridge_while_it_waits_for_an_account() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let config = pair.configure("", "", "", "");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let endpoint = text.lines().find(|line| line.starts_with("endpoint")).unwrap();
    let silent_endpoint = format!("endpoint = \"http://{}/\"", silent.local_addr().unwrap());
    std::fs::write(&config, text.replacen(endpoint, &silent_endpoint, 1)).unwrap();
    // A migration that is stopped is not over.
    for (arguments, code) in [(&["run"][..], 0), (&["run", "--until-caught-up"], 5)] {
        Bridge::forget_log(&config);
        let bridge = Bridge::start(&config, arguments);
        let _connection = silent.accept().await.unwrap();
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(code), "{}", ended.log);
        assert!(ended.log.contains(BEFORE_THE_END), "{}", ended.log);
    }
}

/// The target does not answer: not everything is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_stopped_before_its_end_says_so() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    pair.seed("{\"id\":\"1\",\"region\":\"r\"}\n");
    pair.accounts.fault(FaultRule {
        account: Some("target".to_owned()),
        operation: Some("writes".to_owned()),
        then: Effect { status: Some(503), ..Effect::default() },
        ..FaultRule::default()
    });
    let config = pair.configure("", "", "", "");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("stop_within = \"1s\"\n{text}")).unwrap();
    let bridge = Bridge::start(&config, &["run", "--until-caught-up"]);
    eventually("it fails", || bridge.log().contains("failed writing to sink")).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(5), "{}", ended.log);
}

/// The configuration is a pipe without a writer.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_the_bridge_while_it_reads_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    make_pipe(&config).await;
    let mut bridge = Command::new(env!("CARGO_BIN_EXE_cosmos-bridge"))
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let process = bridge.id().unwrap();
    eventually("the signal is handled", || handles(process, TERM)).await;
    assert!(Command::new("kill").arg(process.to_string()).status().await.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, bridge.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}

async fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().await.unwrap().success());
}
