//! Seeding and live workloads as a shell script uses them: by command line and over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use cosmos_bridge_emulator::orders::Orders;
use cosmos_bridge_emulator::{ContainerSettings, LocalAccounts};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const SEEDED: u64 = 200;
const DEADLINE: Duration = Duration::from_secs(30);

/// A shop with some orders, and the management interface that acts on it.
struct Shop {
    accounts: LocalAccounts,
    http: reqwest::Client,
}

impl Shop {
    async fn open() -> Self {
        let accounts = LocalAccounts::start(&["source"]).await.unwrap();
        let settings = ContainerSettings::new(&["/orderId"], 4);
        accounts.create_container("source", "shop", "orders", &settings).await.unwrap();
        let orders = Orders::new(1).with_count(SEEDED);
        let lines: Vec<_> = (1..=SEEDED).map(|number| orders.text(number)).collect();
        accounts.seed("source", "shop", "orders", &lines.join("\n")).unwrap();
        Self { accounts, http: reqwest::Client::new() }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.accounts.management_url())
    }

    async fn start(&self, changes: &Value) -> (u16, Value) {
        let mut workload = json!({"account": "source", "database": "shop", "container": "orders",
            "rate": 5000, "inserts": 2, "updates": 6, "deletes": 1, "seed": 4});
        for (name, value) in changes.as_object().unwrap() {
            workload[name] = value.clone();
        }
        self.send(self.http.post(self.url("/workload")).body(workload.to_string())).await
    }

    async fn progress(&self, id: u64) -> Value {
        self.send(self.http.get(self.url(&format!("/workload/{id}")))).await.1
    }

    async fn until(&self, id: u64, condition: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let progress = self.progress(id).await;
                if condition(&progress) {
                    return progress;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, wait).await.unwrap()
    }

    /// Documents there are, and changes there were.
    fn state(&self) -> (u64, u64) {
        let state = self.accounts.state("source", "shop", "orders").unwrap();
        (state.documents as u64, state.lsn)
    }
}

#[tokio::test]
async fn every_operation_of_a_workload_is_a_change_in_the_container() {
    let shop = Shop::open().await;
    let (status, started) = shop.start(&json!({"operations": 900})).await;
    assert_eq!((status, &started), (200, &json!({"id": 1})));
    let done = shop.until(1, |progress| progress["running"] == false).await;
    let count = |name: &str| done[name].as_u64().unwrap();
    assert_eq!(count("operations"), 900);
    assert_eq!(count("inserts") + count("updates") + count("deletes"), 900);
    let documents = SEEDED + count("inserts") - count("deletes");
    assert_eq!(shop.state(), (documents, SEEDED + 900));
}

#[tokio::test]
async fn nothing_changes_after_a_workload_was_stopped() {
    let shop = Shop::open().await;
    shop.start(&json!({"rate": 2000})).await;
    shop.until(1, |progress| progress["operations"].as_u64() > Some(50)).await;
    let (status, stopped) = shop.send(shop.http.delete(shop.url("/workload/1"))).await;
    assert_eq!((status, &stopped["running"]), (200, &json!(false)));
    let changes = SEEDED + stopped["operations"].as_u64().unwrap();
    assert_eq!(shop.state().1, changes);
    assert_eq!(shop.progress(1).await, stopped);
    assert_eq!(shop.state().1, changes);
}

#[tokio::test]
async fn a_workload_that_cannot_run_is_refused() {
    let shop = Shop::open().await;
    for (changes, status) in [
        (json!({"container": "nothing"}), 404),
        (json!({"rate": 0}), 400),
        (json!({"inserts": 0, "updates": 0, "deletes": 0}), 400),
        (json!({"speed": 1}), 400),
    ] {
        let (answered, body) = shop.start(&changes).await;
        assert_eq!(answered, status, "{changes}");
        assert!(body["error"].is_string(), "{body}");
    }
    assert_eq!(shop.send(shop.http.get(shop.url("/workload/9"))).await.0, 404);
    assert_eq!(shop.state(), (SEEDED, SEEDED));
}

#[tokio::test]
async fn one_command_starts_accounts_with_containers_and_documents() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, r#"{{"id":"x","k":1}}"#).unwrap();
    let seed_file = format!("source/shop/other={}", file.path().display());
    let keys = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cosmos-bridge-emulator"))
        .args(["--account", "source", "--account", "target"])
        .args(["--keys", keys.path().to_str().unwrap()])
        .args(["--container", "source/shop/orders=/orderId;partitions=4;ru=4000"])
        .args(["--container", "source/shop/other=/k"])
        .args(["--container", "target/shop/orders=/customer/region,/customerId"])
        .args(["--seed-orders", "source/shop/orders=300,seed=1,bytes=300"])
        .args(["--seed-file", &seed_file])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    timeout(DEADLINE, stdout.read_line(&mut line)).await.unwrap().unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let management = ready["management"].as_str().unwrap();
    for (account, container, documents) in
        [("source", "orders", 300), ("source", "other", 1), ("target", "orders", 0)]
    {
        let path = format!("/accounts/{account}/databases/shop/containers/{container}");
        let answer = reqwest::get(format!("{management}{path}")).await.unwrap();
        let state: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(state["documents"], documents, "{account} {container}");
    }
    // What the bridge's configuration names in the quick start.
    for account in ready["accounts"].as_array().unwrap() {
        let file = keys.path().join(format!("{}.key", account["name"].as_str().unwrap()));
        let key = std::fs::read_to_string(file).unwrap();
        assert_eq!(key.trim(), account["key"].as_str().unwrap());
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn an_option_that_makes_no_sense_stops_the_start() {
    let started = Command::new(env!("CARGO_BIN_EXE_cosmos-bridge-emulator"))
        .args(["--account", "source", "--container", "source/orders=/id"])
        .stdin(Stdio::null())
        .output();
    let ended = timeout(DEADLINE, started).await.unwrap().unwrap();
    assert!(!ended.status.success());
    let complaint = String::from_utf8(ended.stderr).unwrap();
    assert!(complaint.contains("is not `account/database/container`"), "{complaint}");
}
