//! Java's Change Feed Processor in both modes across a split, and a copy of a container to another
//! account that it reads and the bulk writer writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::management;
use crate::process::{self, Clients, LocalProcess};

/// Documents to copy, unless the environment variable says how many.
const DOCUMENTS: usize = 4000;
const DOCUMENTS_VARIABLE: &str = "COSMOS_BRIDGE_JAVA_DOCUMENTS";
/// What Java waits for at most, besides the time that many documents take.
const PATIENCE_SECONDS: usize = 90;

#[expect(clippy::disallowed_methods, reason = "the test command copies few documents")]
fn documents() -> usize {
    std::env::var(DOCUMENTS_VARIABLE).map_or(DOCUMENTS, |text| text.parse().unwrap())
}

/// The path of a container in the management API.
fn container(account: &str, id: &str) -> String {
    format!("/accounts/{account}/databases/shop/containers/{id}")
}

async fn checksum(accounts: &LocalProcess, account: &str, id: &str) -> Value {
    let url = accounts.url(&format!("{}/checksum", container(account, id)));
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Two accounts; the containers of the source keep history because the account does.
async fn accounts() -> LocalProcess {
    let accounts =
        LocalProcess::start(&["--account=source", "--account=target", "--history=3600"]).await;
    let accounts = accounts.unwrap();
    for (account, id, settings) in [
        ("source", "leases", json!({"partition_key": ["/id"], "partitions": 1})),
        ("source", "latest", json!({"partition_key": ["/pk"], "partitions": 1})),
        (
            "source",
            "versions",
            json!({"partition_key": ["/pk"], "partitions": 1, "previous_images": "all"}),
        ),
        ("source", "orders", json!({"partition_key": ["/pk"], "partitions": 2})),
        ("target", "copies", json!({"partition_key": ["/pk"], "partitions": 3})),
    ] {
        let url = accounts.url(&container(account, id));
        management::put(&url, &settings).await.unwrap();
    }
    accounts
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
#[tokio::test(flavor = "multi_thread")]
async fn javas_processor_reads_both_feeds_across_a_split_and_copies_a_container_in_bulk() {
    let (accounts, clients) = (accounts().await, Clients::find().await.unwrap());
    let count = documents();
    let patience = PATIENCE_SECONDS + count / 200;
    let lines: Vec<_> = (0..count)
        .map(|n| json!({"id": format!("o{n}"), "pk": format!("c-{}", n % 331), "n": n}).to_string())
        .collect();
    let seed = accounts.url(&format!("{}/documents", container("source", "orders")));
    let seeded = reqwest::Client::new().post(seed).body(lines.join("\n")).send().await;
    seeded.unwrap().error_for_status().unwrap();
    let account = |index| json!({"endpoint": accounts.account(index, "endpoint"), "key": accounts.account(index, "key")});
    let given = json!({
        "source": account(0),
        "target": account(1),
        "management": accounts.url(""),
        "documents": count,
        "patience_seconds": patience,
    });
    let mut java = clients.java("Processor");
    let limit = Duration::from_secs(2 * patience as u64);
    let (report, code) = process::run_within(limit, &mut java, &given.to_string()).await.unwrap();
    assert_eq!(code, Some(0));
    println!("Java's copy: {}", report["copy"]);

    // Each document once at least, in its last version, and one lease for each half.
    let latest = &report["latest"];
    assert_eq!((&latest["documents"], &latest["leases"]), (&json!(500), &json!(2)));
    // 100 created, of which 50 were replaced and 10 of these deleted; the order is that of the writes.
    let versions = json!({"CREATE": 50, "CREATE REPLACE": 40, "CREATE REPLACE DELETE": 10,
        "images": 60});
    assert_eq!(report["versions"], versions);

    let copy = &report["copy"];
    assert_eq!((&copy["documents"], &copy["refused"]), (&json!(count), &json!(0)));
    let copied = checksum(&accounts, "target", "copies").await;
    assert_eq!(copied, checksum(&accounts, "source", "orders").await);
    assert_eq!(copied["documents"], count);
    accounts.stop().await.unwrap();
}
