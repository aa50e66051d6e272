//! Endpoints: keys, names, unreachable ones, TLS.

use std::time::Duration;

use azure_data_cosmos::{AccountReference, CosmosClient, CosmosRuntime, RoutingStrategy};
use cosmos_bridge_emulator::{Effect, FaultRule, LocalAccounts, Options, StartError};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Shop, client, keyed, shop};

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
async fn a_write_whose_client_has_gone_away_is_executed_all_the_same() {
    let shop = shop(keyed(1)).await;
    let then = Effect { delay_ms: Some(400), ..Effect::default() };
    let operation = Some("writes".to_owned());
    let rule = shop.accounts.fault(FaultRule { operation, then, ..FaultRule::default() });
    let fired = || shop.accounts.world.faults.list().iter().map(|armed| armed.fired).sum::<u64>();
    let reached = async |count| {
        while fired() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };

    // HTTP/1.1: the connection is closed.
    let endpoint = shop.accounts.endpoint("source");
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let body = r#"{"id":"closed","pk":"k"}"#;
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\
         authorization: type=aad&ver=1.0&sig=token\r\n\
         x-ms-documentdb-partitionkey: [\"k\"]\r\n\r\n{body}",
        Shop::docs(),
        body.len()
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    reached(1).await;
    drop(connection);

    // HTTP/2: the stream is reset.
    let item = serde_json::json!({"id": "reset", "pk": "k"});
    tokio::select! {
        written = shop.container.upsert_item("k", "reset", item, None) => panic!("{written:?}"),
        () = reached(2) => {}
    }
    assert_eq!(shop.state().documents, 0, "both wait");
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if shop.state().documents == 2 {
            break;
        }
    }
    assert_eq!(shop.state().documents, 2);
    assert!(shop.accounts.world.faults.remove(rule));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_can_be_served_over_tls() {
    use azure_data_cosmos::options::{ConnectionPoolOptions, ServerCertificateValidation};
    let options = Options { accounts: vec!["source".to_owned()], tls: true, ..Options::default() };
    let accounts = LocalAccounts::start_with(options).await.unwrap();
    assert!(accounts.endpoint("source").starts_with("https://"));
    accounts.create_container("source", "shop", "orders", &keyed(1)).await.unwrap();
    let pool = ConnectionPoolOptions::builder()
        .with_server_certificate_validation(ServerCertificateValidation::RequiredUnlessEmulator)
        .build()
        .unwrap();
    let runtime = CosmosRuntime::builder().with_connection_pool(pool).build().await.unwrap();
    let container = crate::support::client_on(&accounts, "source", runtime).await;
    let item = serde_json::json!({"id": "a", "pk": "k"});
    container.upsert_item("k", "a", item, None).await.unwrap();
    assert!(container.read_item("k", "a", None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_token_is_accepted_only_where_one_is_configured() {
    let shop = shop(keyed(1)).await;
    let account = std::sync::Arc::clone(shop.accounts.world.account("source").unwrap());
    let check = |token: &str| {
        let header = format!("type=aad&ver=1.0&sig={token}");
        account.credentials.check(Some(&header), "GET", "/", "")
    };
    assert!(check("token").is_ok());
    assert_eq!(check("other").unwrap_err().status, 401);
    let without = LocalAccounts::start(&["source"]).await.unwrap();
    let account = std::sync::Arc::clone(without.world.account("source").unwrap());
    let header = "type=aad&ver=1.0&sig=";
    assert!(account.credentials.check(Some(header), "GET", "/", "").is_err());
    assert!(account.credentials.check(None, "GET", "/", "").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_addresses_are_served() {
    let options = Options { address: "0.0.0.0".parse().unwrap(), ..Options::default() };
    assert!(matches!(LocalAccounts::start_with(options).await, Err(StartError::NotLoopback(_))));
}
