//! The SDK's driver, which returns the bytes of an answer and sends the bytes of a document.
//!
//! The SDK is built on it, makes a tree of a page before it returns it, writes only what can be serialized,
//! and does not lend its own driver. So these are others of the account: one with the same settings reads the
//! change feeds. One for which Gateway 2.0 is off (`pool`) is built for the first document that cannot be
//! parsed, or the first request with several documents. Nothing else uses them.

use std::num::NonZeroU32;
use std::sync::Arc;

use azure_core::Bytes;
use azure_core::http::Url;
use azure_core::http::headers::{HeaderName, HeaderValue};
use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::diagnostics::DiagnosticsContext;
use azure_data_cosmos::feed::{ContinuationToken, FeedRange as SdkRange};
use azure_data_cosmos::options::{
    ChangeFeedStartFrom, ConnectionPoolOptions, MaxItemCountHint, OperationOptions,
    OperationOptionsBuilder, UserAgentSuffix,
};
use azure_data_cosmos_driver::driver::{CosmosDriver, CosmosDriverRuntime, OperationPlan};
use azure_data_cosmos_driver::models::partition_key_range::PartitionKeyRange;
use azure_data_cosmos_driver::models::{
    AccountReference, ContainerReference, CosmosOperation, CosmosResponse, ItemReference,
    PartitionKey, Precondition,
};
use azure_data_cosmos_driver::options::{DriverOptions, PlanOptions};

use super::account_options::{connection_pool_builder, operation_options, regions, user_agent};
use super::{CosmosError, bulk};
use crate::config::{self, Access, Proof};
use crate::identity::Identity;
use crate::model::Mode;

/// A driver of one account.
pub(super) struct Driver(Arc<CosmosDriver>);

/// What a driver is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    ChangeFeeds,
    Writes,
}

/// Which page is read.
pub(super) struct PageRequest {
    pub(super) mode: Mode,
    pub(super) range: SdkRange,
    /// Used without a token.
    pub(super) start: ChangeFeedStartFrom,
    pub(super) token: Option<ContinuationToken>,
    pub(super) size: NonZeroU32,
    pub(super) options: OperationOptions,
}

/// The pages of a feed range, in order.
pub(super) struct PageReader {
    driver: Arc<CosmosDriver>,
    container: ContainerReference,
    plan: OperationPlan,
    options: OperationOptions,
}

/// How a document is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum WriteKind {
    Upsert,
    Create,
    Replace,
}

/// A document to write, as text that need not be JSON.
pub(super) struct TextWrite {
    pub(super) kind: WriteKind,
    pub(super) key: PartitionKey,
    pub(super) id: String,
    pub(super) text: Vec<u8>,
    /// The `ETag` that the document in the container has to have.
    pub(super) if_match: Option<String>,
}

/// A page as the service sent it.
pub(super) struct PageBytes {
    pub(super) body: Bytes,
    pub(super) token: ContinuationToken,
    pub(super) diagnostics: Arc<DiagnosticsContext>,
    pub(super) status: u16,
    pub(super) head_lsn: Option<u64>,
}

impl Driver {
    pub(super) async fn build(
        attempt: &str,
        purpose: Purpose,
        config: &config::Account,
        access: &Access,
        identity: Option<&Arc<Identity>>,
    ) -> Result<Self, CosmosError> {
        let endpoint: Url = access
            .endpoint
            .parse()
            .map_err(|_| CosmosError::invalid(attempt, "invalid endpoint"))?;
        let account = match (&access.proof, identity) {
            (Proof::Key(key), _) => {
                AccountReference::with_account_key(endpoint, key.expose().to_owned())
            }
            (Proof::Entra(_), Some(identity)) => {
                AccountReference::with_credential(endpoint, identity.for_sdk())
            }
            (Proof::Entra(name), None) => {
                return Err(CosmosError::invalid(attempt, format!("unknown credential `{name}`")));
            }
        };
        let failed = |error| CosmosError::new(attempt, &error);
        let suffix: UserAgentSuffix = user_agent().map_err(failed)?;
        let options = DriverOptions::builder(account)
            .with_preferred_regions(regions(config))
            .with_operation_options(operation_options(config))
            .with_user_agent_suffix(suffix)
            .build();
        let pool = pool(purpose, config).map_err(failed)?;
        let runtime = CosmosDriverRuntime::builder().with_connection_pool(pool);
        let runtime = runtime.build().await.map_err(failed)?;
        Ok(Self(runtime.create_driver(options).await.map_err(failed)?))
    }

    /// Finds a container by its names.
    pub(super) async fn container(
        &self,
        database: &str,
        container: &str,
    ) -> Result<ContainerReference, SdkError> {
        self.0.resolve_container(database, container, OperationOptions::default()).await
    }

    /// Writes one document of a container.
    pub(super) async fn write(
        &self,
        container: &ContainerReference,
        write: TextWrite,
    ) -> Result<CosmosResponse, SdkError> {
        let TextWrite { kind, key, id, text, if_match } = write;
        let item = ItemReference::from_name(container, key, id);
        let operation = match kind {
            WriteKind::Upsert => CosmosOperation::upsert_item(item),
            WriteKind::Create => CosmosOperation::create_item(item),
            WriteKind::Replace => CosmosOperation::replace_item(item),
        };
        let mut operation = operation.with_body(text);
        if let Some(etag) = if_match {
            operation = operation.with_precondition(Precondition::if_match(etag));
        }
        Box::pin(self.0.execute_singleton_operation(operation, OperationOptions::default())).await
    }

    /// Sends the body of a transactional batch.
    pub(super) async fn write_batch(
        &self,
        container: &ContainerReference,
        key: PartitionKey,
        body: Vec<u8>,
    ) -> Result<CosmosResponse, SdkError> {
        let operation = CosmosOperation::batch(container.clone(), key).with_body(body);
        Box::pin(self.0.execute_singleton_operation(operation, OperationOptions::default())).await
    }

    /// The physical partitions of a container, in order; from the cache, if they need not be read again.
    pub(super) async fn partitions(
        &self,
        container: &ContainerReference,
        refresh: bool,
    ) -> Result<Option<Vec<PartitionKeyRange>>, SdkError> {
        self.0.resolve_all_partition_key_ranges(container, refresh).await
    }

    /// Sends the body of a request with documents of several keys to one physical partition.
    ///
    /// The driver's own batch operation has fixed headers, and one key. The creation of a document is the
    /// same request without them: with an empty key, which the driver does not send, and without a
    /// document, whose id would be in the body.
    pub(super) async fn write_bulk(
        &self,
        container: &ContainerReference,
        range: &str,
        body: Vec<u8>,
    ) -> Result<CosmosResponse, SdkError> {
        let no_key = PartitionKey::try_from(Vec::new())?;
        let item = ItemReference::from_name(container, no_key, "");
        let operation = CosmosOperation::create_item(item).with_body(body);
        let fixed = bulk::HEADERS
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let range = HeaderValue::from(range.to_owned());
        let range = (HeaderName::from_static(bulk::RANGE_HEADER), range);
        let headers = fixed.into_iter().chain([range]).collect();
        let options = OperationOptionsBuilder::new().with_custom_headers(headers).build();
        Box::pin(self.0.execute_singleton_operation(operation, options)).await
    }

    /// The pages of a container's change feed.
    pub(super) async fn pages(
        &self,
        container: ContainerReference,
        request: PageRequest,
    ) -> Result<PageReader, SdkError> {
        let driver = Arc::clone(&self.0);
        let PageRequest { mode, range, start, token, size, options } = request;
        let operation = match mode {
            Mode::LatestVersion => CosmosOperation::change_feed(container.clone(), Some(range)),
            Mode::AllVersionsAndDeletes => CosmosOperation::change_feed_all_versions_and_deletes(
                container.clone(),
                Some(range),
            ),
        };
        let operation = operation
            .with_max_item_count(MaxItemCountHint::Limit(size))
            .with_change_feed_start(start);
        let plan = PlanOptions::default();
        let plan = driver.plan_operation(operation, &options, token.as_ref(), &plan);
        let plan = Box::pin(plan).await?;
        Ok(PageReader { driver, container, plan, options })
    }
}

impl PageReader {
    /// Reads the next page; `None` if the driver ends the feed, which has no end. After an error the reader
    /// cannot be used again.
    pub(super) async fn next(&mut self) -> Result<Option<PageBytes>, SdkError> {
        let Self { driver, container, plan, options } = self;
        let page = driver.execute_plan(plan, Some(container.clone()), options.clone());
        let Some(response) = Box::pin(page).await? else { return Ok(None) };
        let diagnostics = response.diagnostics();
        let (status, head_lsn) =
            (u16::from(response.status().status_code()), response.headers().lsn);
        let body = response.into_body();
        let body = if body.is_empty() { Bytes::new() } else { body.single()? };
        let token = plan.to_continuation_token()?;
        Ok(Some(PageBytes { body, token, diagnostics, status, head_lsn }))
    }
}

/// The driver's other protocol for documents knows the kinds of requests, and drops headers that it does not
/// know.
fn pool(
    purpose: Purpose,
    config: &config::Account,
) -> azure_data_cosmos::Result<ConnectionPoolOptions> {
    let pool = connection_pool_builder(config);
    match purpose {
        Purpose::ChangeFeeds => pool.build(),
        Purpose::Writes => pool.with_gateway_v2_disabled(true).build(),
    }
}
