//! An account of two regions whose writes move, through the Rust SDK as the bridge uses it, and through
//! the Python SDK.

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::Region;
use azure_data_cosmos::{AccountReference, CosmosClient, CosmosRuntime, RoutingStrategy};
use serde_json::{Value, json};

use crate::management;
use crate::process::{self, Clients, LocalProcess};

const EAST: &str = "East US";
const WEST: &str = "West US";

struct Scene {
    accounts: LocalProcess,
}

impl Scene {
    async fn start() -> Self {
        let accounts = LocalProcess::start(&[
            "--account=wide",
            "--regions=East US,West US",
            "--container=wide/shop/orders=/pk;partitions=2",
        ]);
        Self { accounts: accounts.await.unwrap() }
    }

    async fn client(&self) -> ContainerClient {
        let endpoint = self.accounts.account(0, "endpoint").parse().unwrap();
        let key = self.accounts.account(0, "key");
        let account = AccountReference::with_authentication_key(endpoint, key);
        let regions = vec![Region::new(EAST), Region::new(WEST)];
        let runtime = CosmosRuntime::builder().build().await.unwrap();
        let client = CosmosClient::builder().with_runtime(runtime);
        let client = client.build(account, RoutingStrategy::PreferredRegions(regions)).await;
        client.unwrap().database_client("shop").container_client("orders", None).await.unwrap()
    }

    async fn change(&self, region: &str, body: Value) {
        let path = format!("/accounts/wide/regions/{}", region.replace(' ', "%20"));
        management::put(&self.accounts.url(&path), &body).await.unwrap();
    }

    /// The region as the management interface shows it.
    async fn region(&self, name: &str) -> Value {
        let text = reqwest::get(self.accounts.url("/accounts/wide/regions")).await.unwrap();
        let all: Vec<Value> = serde_json::from_str(&text.text().await.unwrap()).unwrap();
        all.into_iter().find(|region| region["name"] == name).unwrap()
    }
}

/// The status of one write.
async fn write(container: &ContainerClient, id: &str) -> u16 {
    match container.create_item("k", id, json!({"id": id, "pk": "k"}), None).await {
        Ok(response) => u16::from(response.status().status_code()),
        Err(error) => u16::from(error.status().status_code()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_follows_the_writes_of_an_account_to_another_region() {
    let scene = Scene::start().await;
    let container = scene.client().await;
    assert_eq!(write(&container, "one").await, 201);
    let east = scene.region(EAST).await;
    assert!(east["requests"].as_u64() > Some(0), "{east}");

    scene.change(WEST, json!({"writes": true})).await;
    assert_eq!(write(&container, "two").await, 201);
    let (east, west) = (scene.region(EAST).await, scene.region(WEST).await);
    assert!(east["refused"].as_u64() > Some(0) && west["refused"] == 0, "{east} {west}");
    assert!(west["requests"].as_u64() > Some(0), "{west}");
    // Reads go on in the preferred region.
    let before = east["requests"].as_u64();
    assert!(container.read_item("k", "two", None).await.is_ok());
    assert!(scene.region(EAST).await["requests"].as_u64() > before);

    // In an outage of that region they go on in the other one.
    scene.change(EAST, json!({"offline": true})).await;
    let before = west["requests"].as_u64();
    assert!(container.read_item("k", "two", None).await.is_ok());
    assert!(scene.region(WEST).await["requests"].as_u64() > before);

    // After a failover back a new client finds the account at its own address.
    scene.change(EAST, json!({"offline": false, "writes": true})).await;
    scene.change(WEST, json!({"offline": true})).await;
    assert_eq!(write(&scene.client().await, "three").await, 201);
    scene.accounts.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_follows_the_writes_of_an_account_to_another_region() {
    let (scene, clients) = (Scene::start().await, Clients::find().await.unwrap());
    let given = json!({
        "endpoint": scene.accounts.account(0, "endpoint"),
        "key": scene.accounts.account(0, "key"),
        "account": "wide",
        "management": scene.accounts.url(""),
        "regions": [EAST, WEST],
    });
    let mut client = clients.python("tests/sdk_regions.py");
    let (report, code) = process::run(&mut client, &given.to_string()).await.unwrap();
    assert_eq!(code, Some(0));
    let expected = json!({"at first": "python 1", "after the failover": "python 2",
        "read in an outage": "python 1", "after the outage": "python 3"});
    assert_eq!(report, expected);
    assert!(scene.region(WEST).await["requests"].as_u64() > Some(0));
    let path = "/accounts/wide/databases/shop/containers/orders/documents";
    assert_eq!(management::lines(&scene.accounts.url(path)).await.unwrap().len(), 3);
    scene.accounts.stop().await.unwrap();
}
