//! Endpoints: keys, names, unreachable ones, TLS.

use azure_data_cosmos::{AccountReference, CosmosClient, CosmosRuntime, RoutingStrategy};
use cosmos_bridge_emulator::{LocalAccounts, Options, StartError};

use crate::support::{client, keyed, shop};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused() {
    let accounts = LocalAccounts::start(&["source", "target"]).await.unwrap();
    let endpoint = accounts.endpoint("source").parse().unwrap();
    let account = AccountReference::with_authentication_key(endpoint, accounts.key("target"));
    let runtime = CosmosRuntime::builder().build().await.unwrap();
    let built = CosmosClient::builder()
        .with_runtime(runtime)
        .build(account, RoutingStrategy::ProximityTo("East US".into()))
        .await;
    assert_eq!(built.err().map(|error| u16::from(error.status().status_code())), Some(401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_endpoint_is_unreachable_and_comes_back_with_its_data() {
    let mut shop = shop(keyed(1)).await;
    shop.upsert("a", "k", 1).await;
    shop.accounts.stop_listener("source").await;
    assert!(shop.container.read_item("k", "a", None).await.is_err());
    shop.accounts.restart_listener("source").await.unwrap();
    let again = client(&shop.accounts, "source").await;
    assert!(again.read_item("k", "a", None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_addresses_are_served() {
    let options = Options { address: "0.0.0.0".parse().unwrap(), ..Options::default() };
    assert!(matches!(LocalAccounts::start_with(options).await, Err(StartError::NotLoopback(_))));
}
