//! Real input: postal documents upserted at random while the bridge runs, checked afterwards by
//! the official Python SDK and not by this project's code.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]
#![allow(clippy::print_stdout, reason = "prints the seed and the output of the clients")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Bridge, PATIENCE, Pair, eventually};

const SEED: &str = "20240117";
const UPSERTS: u64 = 5000;
const DOCUMENTS: u64 = 1075;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A Python interpreter that can import the SDK; `tests/scripts/clients.sh` installs it.
async fn python() -> PathBuf {
    let found =
        Command::new(here("tests/scripts/clients.sh")).arg("--check").output().await.unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let text = String::from_utf8(found.stdout).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("python="));
    PathBuf::from(path.unwrap())
}

/// Runs a script against a container and returns the JSON object that it prints.
async fn script(name: &str, pair: &Pair, account: &str, container: &str, more: &[&str]) -> Value {
    let expected = pair.folder.path().join("expected.json");
    let output = Command::new(python().await)
        .arg("-B")
        .arg(here("tests/scripts").join(name))
        .args(["--endpoint", &pair.accounts.endpoint(account)])
        .args(["--key", &pair.accounts.key(account)])
        .args(["--database", "shop", "--container", container])
        .arg("--expected")
        .arg(&expected)
        .args(more)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    let (said, problem) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} (seed {SEED}): {said}{problem}");
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn postal_documents_equal_their_last_upsert() {
    println!("seed {SEED}");
    let source = ContainerSettings::new(&["/pk"], 3);
    let target = ContainerSettings::new(&["/state_abbrv", "/city_name"], 2);
    let pair = Pair::start(&source, &target).await;
    let route = "partition_key = [\"/state_abbrv\", \"/city_name\"]";
    let config = pair.configure("", "", "poll_interval = \"100ms\"\npage_size = 50", route);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || bridge.log().contains("reading")).await;

    let data = here("../shared/data/nc_zipcodes.json").display().to_string();
    let upserts = UPSERTS.to_string();
    let more = ["--data", &data, "--upserts", &upserts, "--seed", SEED];
    let done = script("upsert_postal.py", &pair, "source", "orders", &more).await;
    println!("{done}");
    assert_eq!(
        (done["documents"].as_u64(), done["upserts"].as_u64()),
        (Some(DOCUMENTS), Some(UPSERTS))
    );
    assert_eq!(done["real_data"], Path::new(&data).exists());
    eventually("all is copied", || pair.is_equal()).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.letters(), []);
    // The bridge ran during the upserts, so it read more versions than there are documents.
    assert!(ended.total("read") > DOCUMENTS, "{}", ended.log);

    let verdict = script("verify_postal.py", &pair, "target", "copies", &[]).await;
    println!("{verdict}");
    assert_eq!(verdict["documents"], DOCUMENTS);
    // Ids are postal codes and unique over all keys: no second copy under another key.
    assert_eq!(verdict["in_container"], DOCUMENTS);
    let none = serde_json::json!({
        "missing": 0, "stale": 0, "different": 0, "unexpected": 0, "repeated": 0,
    });
    assert_eq!(verdict["differences"], none);
}
