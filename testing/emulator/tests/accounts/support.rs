//! Accounts, clients and raw requests for tests.

use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::feed::ContinuationToken;
use azure_data_cosmos::feed::FeedScope;
use azure_data_cosmos::models::ChangeFeedItem;
use azure_data_cosmos::options::{
    ChangeFeedMode, ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint, UserAgentSuffix,
};
use azure_data_cosmos::{
    AccountReference, CosmosClient, CosmosError, CosmosRuntime, RoutingStrategy,
};
use bytes::Bytes;
use cosmos_bridge_emulator::answer::Answer;
use cosmos_bridge_emulator::request::Request;
use cosmos_bridge_emulator::serve::Outcome;
use cosmos_bridge_emulator::{ContainerSettings, LocalAccounts, Options, gateway};
use futures::StreamExt as _;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

pub(crate) const DATABASE: &str = "shop";
pub(crate) const CONTAINER: &str = "orders";

/// One account with one container, and a client of it.
pub(crate) struct Shop {
    pub(crate) accounts: LocalAccounts,
    pub(crate) container: ContainerClient,
}

pub(crate) async fn shop(settings: ContainerSettings) -> Shop {
    let accounts = LocalAccounts::start_with(Options {
        accounts: vec!["source".to_owned()],
        token: Some("token".to_owned()),
        ..Options::default()
    })
    .await
    .unwrap();
    accounts.create_container("source", DATABASE, CONTAINER, &settings).await.unwrap();
    let container = client(&accounts, "source").await;
    Shop { accounts, container }
}

pub(crate) fn keyed(partitions: u32) -> ContainerSettings {
    ContainerSettings::new(&["/pk"], partitions)
}

pub(crate) async fn client(accounts: &LocalAccounts, account: &str) -> ContainerClient {
    // A separate runtime, because the shared one would outlive the test's reactor.
    let runtime = CosmosRuntime::builder().build().await.unwrap();
    client_on(accounts, account, runtime).await
}

pub(crate) async fn client_on(
    accounts: &LocalAccounts,
    account: &str,
    runtime: CosmosRuntime,
) -> ContainerClient {
    let client = cosmos_on(accounts, account, runtime, None).await;
    client.database_client(DATABASE).container_client(CONTAINER, None).await.unwrap()
}

/// A client of a whole account, with a suffix to its user agent.
pub(crate) async fn cosmos(
    accounts: &LocalAccounts,
    account: &str,
    suffix: Option<UserAgentSuffix>,
) -> CosmosClient {
    let runtime = CosmosRuntime::builder().build().await.unwrap();
    cosmos_on(accounts, account, runtime, suffix).await
}

async fn cosmos_on(
    accounts: &LocalAccounts,
    account: &str,
    runtime: CosmosRuntime,
    suffix: Option<UserAgentSuffix>,
) -> CosmosClient {
    let endpoint = accounts.endpoint(account).parse().unwrap();
    let reference = AccountReference::with_authentication_key(endpoint, accounts.key(account));
    let mut builder = CosmosClient::builder().with_runtime(runtime);
    if let Some(suffix) = suffix {
        builder = builder.with_user_agent_suffix(suffix);
    }
    builder.build(reference, RoutingStrategy::ProximityTo("East US".into())).await.unwrap()
}

impl Shop {
    pub(crate) async fn upsert(&self, id: &str, pk: &str, n: i64) {
        let item = json!({"id": id, "pk": pk, "n": n});
        self.container.upsert_item(pk.to_owned(), id, item, None).await.unwrap();
    }

    pub(crate) fn state(&self) -> cosmos_bridge_emulator::ContainerState {
        self.accounts.state("source", DATABASE, CONTAINER).unwrap()
    }

    pub(crate) async fn split(&self) -> Vec<String> {
        self.accounts.split("source", DATABASE, CONTAINER).await.unwrap()
    }

    /// Sends a request through the gateway, below HTTP.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        match self.raw_outcome(method, path, headers, body).await {
            Outcome::Answered(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn raw_outcome(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Outcome {
        let account = Arc::clone(self.accounts.world.account("source").unwrap());
        let mut map = HeaderMap::new();
        map.insert("authorization", "type=aad&ver=1.0&sig=token".parse().unwrap());
        for (name, value) in headers {
            map.insert(
                hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                hyper::header::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        gateway::serve(&account, Request::new(method, path, map, body)).await
    }

    pub(crate) fn docs() -> String {
        format!("/dbs/{DATABASE}/colls/{CONTAINER}/docs")
    }

    /// A page of the raw feed: its status, etag and body.
    pub(crate) async fn raw_feed(&self, headers: &[(&str, &str)]) -> (u16, String, Value) {
        let answer = self.raw("GET", &Self::docs(), headers, "").await;
        let etag = header(&answer, "etag").unwrap_or_default();
        (answer.status, etag, serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

pub(crate) fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone())
}

/// Reads the feed until every range answers that there is nothing new.
pub(crate) struct Reader {
    pub(crate) ids: Vec<String>,
    pub(crate) items: Vec<ChangeFeedItem<Value>>,
    pub(crate) token: ContinuationToken,
    pub(crate) pages: usize,
}

pub(crate) async fn read(
    container: &ContainerClient,
    start: ChangeFeedStartFrom,
    token: Option<ContinuationToken>,
    mode: ChangeFeedMode,
    page: u32,
) -> Result<Reader, CosmosError> {
    let mut options = ChangeFeedOptions::default()
        .with_mode(mode)
        .with_max_item_count(MaxItemCountHint::Limit(NonZeroU32::new(page).unwrap()));
    if let Some(token) = token {
        options = options.with_continuation_token(token);
    }
    let mut feed = container
        .query_change_feed::<Value>(FeedScope::full_container(), start, Some(options))
        .await?;
    let (mut items, mut pages, mut empty) = (Vec::new(), 0, 0);
    // An iterator serves its ranges in turn, so one empty page says nothing about the others.
    while empty < 16 {
        let Some(next) = feed.next().await else { break };
        let next = next?.into_items();
        pages += 1;
        empty = if next.is_empty() { empty + 1 } else { 0 };
        items.extend(next);
        assert!(pages < 10_000, "the feed does not come to an end");
    }
    let ids = items
        .iter()
        .filter_map(|item| item.current()?.get("id")?.as_str().map(str::to_owned))
        .collect();
    Ok(Reader { ids, items, token: feed.to_continuation_token()?, pages })
}

pub(crate) async fn read_latest(shop: &Shop, token: Option<ContinuationToken>) -> Reader {
    let start = ChangeFeedStartFrom::Beginning;
    read(&shop.container, start, token, ChangeFeedMode::LatestVersion, 10).await.unwrap()
}

pub(crate) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

pub(crate) fn numbered(prefix: &str, count: usize) -> Vec<String> {
    sorted((0..count).map(|n| format!("{prefix}{n}")).collect())
}
