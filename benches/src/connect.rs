//! Connects with the same options as the bridge (`src/cosmos/account.rs`).

use std::time::Duration;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, ContentResponseOnWrite,
    EndToEndOperationLatencyPolicy, OperationOptionsBuilder, RoutingStrategy,
    ThrottlingRetryOptionsBuilder,
};
use azure_data_cosmos::{AccountEndpoint, AccountReference, CosmosClient, CosmosRuntime};

use crate::Failure;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// `name` is database and container, such as `shop/orders`.
pub(crate) async fn container(
    endpoint: &str,
    key: &str,
    name: &str,
) -> Result<ContainerClient, Failure> {
    let endpoint: AccountEndpoint = endpoint.parse()?;
    let account = AccountReference::with_authentication_key(endpoint, key.to_owned());
    let pool = ConnectionPoolOptions::builder().with_is_http2_allowed(true).build()?;
    let runtime = CosmosRuntime::builder().with_connection_pool(pool).build().await?;
    let options = OperationOptionsBuilder::new()
        .with_throttling_retry_options(
            ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build(),
        )
        .with_content_response_on_write(ContentResponseOnWrite::Disabled)
        .with_end_to_end_latency_policy(EndToEndOperationLatencyPolicy::new(REQUEST_TIMEOUT))
        .with_session_capturing_disabled(true)
        .build();
    let client = CosmosClient::builder()
        .with_runtime(runtime)
        .with_default_operation_options(options)
        .with_binary_encoding_options(BinaryEncodingOptions::default().with_enabled(false))
        .build(account, RoutingStrategy::PreferredRegions(Vec::new()))
        .await?;
    let (database, container) = name.split_once('/').ok_or("expected database/container")?;
    let database = client.database_client(database.to_owned());
    Ok(database.container_client(container.to_owned(), None).await?)
}
