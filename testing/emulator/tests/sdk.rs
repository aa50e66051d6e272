//! The official SDKs of five languages run one scripted scenario against separate accounts and must
//! report the same: statuses, documents, the order of both change feeds per key, resumed across a split.
//! Java's Change Feed Processor and bulk writer have a test of their own.
//!
//! The SDKs of other languages are installed by `tests/scripts/clients.sh`; without them this fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "sdk/bulk.rs"]
mod bulk;
#[path = "sdk/client.rs"]
mod client;
#[path = "sdk/compare.rs"]
mod compare;
#[path = "sdk/expected.rs"]
mod expected;
#[path = "sdk/feed.rs"]
mod feed;
#[path = "sdk/keys.rs"]
mod keys;
#[path = "sdk/management.rs"]
mod management;
#[path = "sdk/points.rs"]
mod points;
#[path = "sdk/postal.rs"]
mod postal;
#[path = "sdk/process.rs"]
mod process;
#[path = "sdk/processor.rs"]
mod processor;
#[path = "sdk/regions.rs"]
mod regions;

use client::Scenario;
use compare::{canonical, differences};
use process::{Clients, LocalProcess, Result};
use serde_json::{Map, Value, json};
use tokio::process::Command;

/// The documents that the scenario writes, by all clients.
const SCENARIO: &str = include_str!("sdk_scenario.json");
/// Documents written to the container that is split, before and after it.
const FLOW_BEFORE: u32 = 40;
const FLOW_AFTER: u32 = 20;

#[derive(Clone, Copy, Debug)]
enum Sdk {
    Rust,
    Python,
    JavaScript,
    Java,
    Go,
}

/// What a client reported, and what its account held afterwards.
struct Ran {
    report: Value,
    documents: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn five_official_clients_get_the_same_answers() {
    let clients = Clients::find().await.unwrap();
    let (rust, python, javascript, java, mut go) = tokio::try_join!(
        run(Sdk::Rust, &clients),
        run(Sdk::Python, &clients),
        run(Sdk::JavaScript, &clients),
        run(Sdk::Java, &clients),
        run(Sdk::Go, &clients)
    )
    .unwrap();
    // What has to be merged over partitions is refused to a client that cannot do it.
    assert_eq!(take(&mut go.report["queries"], "all partitions in order"), 400);
    // Its keys are no JSON where they have characters beyond U+FFFF.
    assert_eq!(take(&mut go.report, "refused"), json!([["ключ-日本-🚀", 400]]));
    for (name, other) in
        [("Python", &python), ("JavaScript", &javascript), ("Java", &java), ("Go", &go)]
    {
        let of_rust = match name {
            "Go" => part(&rust.report, &other.report),
            _ => rust.report.clone(),
        };
        let different = differences(&of_rust, &other.report);
        assert!(different.is_empty(), "Rust's report and that of {name}: {different:#?}");
        let different = differences(&rust.documents, &other.documents);
        assert!(different.is_empty(), "the documents left by Rust and {name}: {different:#?}");
    }
    expected::check(&rust.report, &scenario());
}

/// Runs one client against a separate account.
async fn run(sdk: Sdk, clients: &Clients) -> Result<Ran> {
    let account = LocalProcess::start(&["--account", "interop"]).await?;
    let mut given = scenario();
    given["endpoint"] = account.account(0, "endpoint").into();
    given["key"] = account.account(0, "key").into();
    given["management"] = account.url("").into();
    given["database"] = "interop".into();
    given["flow_path"] = container("flow").into();
    given["items_path"] = container("items").into();
    prepare(&account).await?;
    let report = match sdk {
        Sdk::Rust => Scenario::new(&given).await?.run().await?,
        Sdk::Python => report(&mut clients.python("tests/sdk_python.py"), &given).await?,
        Sdk::JavaScript => report(&mut clients.node("tests/sdk_javascript.mjs"), &given).await?,
        Sdk::Java => report(&mut clients.java("Scenario"), &given).await?,
        Sdk::Go => report(&mut clients.go(), &given).await?,
    };
    let mut documents = json!({});
    for name in ["items", "places", "flow"] {
        let path = format!("{}/documents?limit=10000", container(name));
        documents[name] = management::lines(&account.url(&path)).await?.into();
    }
    account.stop().await?;
    Ok(Ran { report: canonical(report, &given), documents: canonical(documents, &given) })
}

fn take(object: &mut Value, name: &str) -> Value {
    object.as_object_mut().and_then(|object| object.remove(name)).unwrap_or_default()
}

/// The parts of a report that another one has: of the whole, and of each part.
fn part(report: &Value, of: &Value) -> Value {
    let (Some(report), Some(of)) = (report.as_object(), of.as_object()) else {
        return report.clone();
    };
    let kept = report.iter().filter(|(name, _)| of.contains_key(*name));
    kept.map(|(name, value)| (name.clone(), part(value, &of[name]))).collect::<Map<_, _>>().into()
}

/// The report of a client in another language.
async fn report(command: &mut Command, given: &Value) -> Result<Value> {
    let (report, code) = process::run(command, &given.to_string()).await?;
    if code == Some(0) { Ok(report) } else { Err("a client reported, then failed".into()) }
}

/// The path of a container in the management API.
fn container(id: &str) -> String {
    format!("/accounts/interop/databases/interop/containers/{id}")
}

async fn prepare(account: &LocalProcess) -> Result<()> {
    let containers = [
        (
            "items",
            json!({"partition_key": ["/pk"], "partitions": 4, "default_ttl": -1,
                         "retention_seconds": 3600, "previous_images": "all"}),
        ),
        ("places", json!({"partition_key": ["/tenant", "/region"], "partitions": 2})),
        (
            "flow",
            json!({"partition_key": ["/pk"], "partitions": 1, "retention_seconds": 3600,
                         "previous_images": "all"}),
        ),
    ];
    for (name, settings) in containers {
        management::put(&account.url(&container(name)), &settings).await?;
    }
    Ok(())
}

/// The scenario's file, and the documents that follow a rule.
fn scenario() -> Value {
    let mut scenario: Value = serde_json::from_str(SCENARIO).unwrap();
    let document = |id: u32, n: u32| json!({"id": format!("f{id:02}"), "pk": format!("flow-{}", id % 10), "n": n});
    scenario["flow_before"] = (0..FLOW_BEFORE).map(|n| document(n, n)).collect();
    // Half of them replace earlier ones.
    let first = FLOW_BEFORE - FLOW_AFTER / 2;
    scenario["flow_after"] = (first..first + FLOW_AFTER).map(|n| document(n, n + 100)).collect();
    scenario
}
