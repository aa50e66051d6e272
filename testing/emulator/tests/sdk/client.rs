//! The scripted scenario through the Rust SDK: the clients of the other languages do the same.

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::feed::{FeedScope, Query};
use azure_data_cosmos::models::{ItemResponse, PartitionKey};
use azure_data_cosmos::options::{
    ChangeFeedMode, ChangeFeedStartFrom, ContentResponseOnWrite, OperationOptionsBuilder, Region,
};
use azure_data_cosmos::{AccountEndpoint, AccountReference, CosmosClient, RoutingStrategy};
use futures::TryStreamExt as _;
use serde_json::{Map, Value, json};

use crate::feed;
use crate::process::Result;

const SYSTEM: [&str; 6] = ["_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"];

/// The document without system properties.
pub(crate) fn plain(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(object) = document.as_object_mut() {
        object.retain(|name, _| !SYSTEM.contains(&name.as_str()));
    }
    document
}

/// The three containers and what to write to them.
pub(crate) struct Scenario<'a> {
    given: &'a Value,
    pub(crate) items: ContainerClient,
    places: ContainerClient,
    flow: ContainerClient,
}

/// What a point operation gave: `[name, status]`, and the document when there is one.
pub(crate) fn attempt(name: &str, result: azure_data_cosmos::Result<ItemResponse>) -> Value {
    match result {
        Ok(response) => {
            let status = u16::from(response.status().status_code());
            match response.into_model::<Value>() {
                Ok(document) if document.is_object() => json!([name, status, plain(&document)]),
                _ => json!([name, status]),
            }
        }
        Err(error) => json!([name, u16::from(error.status().status_code())]),
    }
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn documents(given: &Value) -> impl Iterator<Item = &Value> {
    given.as_array().unwrap().iter()
}

pub(crate) fn pk(document: &Value) -> PartitionKey {
    PartitionKey::from(feed::key(document))
}

impl<'a> Scenario<'a> {
    pub(crate) async fn new(given: &'a Value) -> Result<Self> {
        let endpoint: AccountEndpoint = text(given, "endpoint").parse()?;
        let key = text(given, "key").to_owned();
        let account = AccountReference::with_authentication_key(endpoint, key);
        let routing = RoutingStrategy::ProximityTo(Region::from("East US"));
        // Others return what they wrote by default.
        let options = OperationOptionsBuilder::new()
            .with_content_response_on_write(ContentResponseOnWrite::Enabled)
            .build();
        let builder = CosmosClient::builder().with_default_operation_options(options);
        let client = builder.build(account, routing).await?;
        let database = client.database_client(text(given, "database").to_owned());
        Ok(Self {
            given,
            items: database.container_client("items", None).await?,
            places: database.container_client("places", None).await?,
            flow: database.container_client("flow", None).await?,
        })
    }

    pub(crate) async fn run(&self) -> Result<Value> {
        let start = feed::now(&self.items).await?;
        let mut report = json!({
            "points": self.points().await?,
            "awkward": self.awkward().await?,
            "batch": self.batch().await?,
            "bulk": self.bulk().await,
            "queries": self.queries().await?,
            "hierarchical": self.hierarchical().await?,
            "ttl": self.ttl().await?,
        });
        report["latest"] = self.latest().await?;
        report["versions"] = feed::versions(&self.items, start).await?;
        report["split"] = self.split().await?;
        Ok(report)
    }

    async fn manage(&self, path: &str, body: Value) -> Result<Value> {
        let url = format!("{}{path}", text(self.given, "management"));
        crate::management::post(&url, &body).await
    }

    pub(crate) async fn create(&self, document: &Value) -> azure_data_cosmos::Result<ItemResponse> {
        self.items.create_item(pk(document), text(document, "id"), document, None).await
    }

    pub(crate) async fn read(
        &self,
        id: &str,
        key: &str,
    ) -> azure_data_cosmos::Result<ItemResponse> {
        self.items.read_item(key.to_owned(), id, None).await
    }

    async fn awkward(&self) -> Result<Value> {
        let mut out = Vec::new();
        for document in documents(&self.given["awkward"]) {
            self.create(document).await?;
        }
        for document in documents(&self.given["awkward"]) {
            let read = self.read(text(document, "id"), text(document, "pk")).await?;
            out.push(plain(&read.into_model()?));
        }
        Ok(out.into())
    }

    async fn queries(&self) -> Result<Value> {
        for document in documents(&self.given["query"]) {
            self.create(document).await?;
        }
        let mut out = Map::new();
        for wanted in documents(&self.given["queries"]) {
            let mut query = Query::from(text(wanted, "text"));
            for (name, value) in wanted["parameters"].as_object().unwrap() {
                query = query.with_parameter(name.clone(), value)?;
            }
            let scope = wanted["key"]
                .as_str()
                .map_or_else(FeedScope::full_container, |key| FeedScope::partition(key.to_owned()));
            let rows = self.items.query_items::<Value>(query, scope, None).await?;
            let rows: Vec<_> = rows.map_ok(|row| plain(&row)).try_collect().await?;
            out.insert(text(wanted, "name").to_owned(), rows.into());
        }
        let scope = FeedScope::partition("red");
        let refused = match self.items.query_items::<Value>("SELECT FROM WHERE", scope, None).await
        {
            Ok(rows) => rows.try_collect::<Vec<_>>().await.err(),
            Err(error) => Some(error),
        };
        let status = refused.map(|error| u16::from(error.status().status_code()));
        out.insert("not a query".to_owned(), json!(status));
        Ok(out.into())
    }

    async fn hierarchical(&self) -> Result<Value> {
        let mut created = Vec::new();
        for document in documents(&self.given["places"]) {
            let key = (text(document, "tenant").to_owned(), text(document, "region").to_owned());
            let id = text(document, "id");
            created.push(attempt("", self.places.create_item(key, id, document, None).await));
        }
        let created: Vec<_> = created.iter().map(|attempt| attempt[1].clone()).collect();
        let read = self.places.read_item(("zürich", "süd"), "h1", None).await;
        let missing = self.places.read_item(("zürich", "north"), "h1", None).await;
        let scope = FeedScope::partition("acme");
        let under = self.places.query_items::<Value>("SELECT c.n FROM c", scope, None).await?;
        let under: Vec<_> = under.try_collect().await?;
        let mut under: Vec<_> = under.iter().filter_map(|row| row["n"].as_i64()).collect();
        under.sort_unstable();
        let mut all = Vec::new();
        for range in feed::ranges(&self.places).await? {
            all.extend(feed::latest(&self.places, &range).await?);
        }
        all.sort_by_key(|document| document["n"].as_i64());
        let feed: Vec<_> = all.iter().map(|d| json!([d["id"], d["tenant"], d["region"]])).collect();
        Ok(json!({
            "created": created,
            "read": attempt("read", read),
            "under another key": attempt("read", missing),
            "under a prefix": under,
            "feed": feed,
        }))
    }

    async fn ttl(&self) -> Result<Value> {
        self.create(&json!({"id": "short", "pk": "ttl", "ttl": 60})).await?;
        self.create(&json!({"id": "long", "pk": "ttl", "ttl": 3600})).await?;
        self.create(&json!({"id": "always", "pk": "ttl"})).await?;
        let before = attempt("before", self.read("short", "ttl").await);
        self.manage("/clock", json!({"advance_seconds": 120})).await?;
        let mut after = Vec::new();
        for id in ["short", "long", "always"] {
            after.push(attempt(id, self.read(id, "ttl").await));
        }
        Ok(json!({"before": before, "after": after}))
    }

    async fn latest(&self) -> Result<Value> {
        let ranges = feed::ranges(&self.items).await?;
        let mut all = Vec::new();
        for range in &ranges {
            all.extend(feed::latest(&self.items, range).await?);
        }
        let keys = feed::by_key(all.into_iter().map(|document| (feed::key(&document), document)));
        Ok(json!({"ranges": ranges.len(), "keys": keys}))
    }

    /// Both feeds resumed on a range that was split after their place was taken.
    async fn split(&self) -> Result<Value> {
        let (flow, mode) = (&self.flow, ChangeFeedMode::LatestVersion);
        let before = feed::ranges(flow).await?;
        let versions = feed::now(flow).await?;
        for document in documents(&self.given["flow_before"]) {
            flow.create_item(pk(document), text(document, "id"), document, None).await?;
        }
        let (mut changes, place) =
            feed::page(flow, &before[0], ChangeFeedStartFrom::Beginning, mode, 7).await?;
        let first = changes.len();
        let path = format!("{}/split", text(self.given, "flow_path"));
        self.manage(&path, json!({"range": null, "hold": false})).await?;
        for document in documents(&self.given["flow_after"]) {
            flow.upsert_item(pk(document), text(document, "id"), document, None).await?;
        }
        changes.extend(feed::rest(flow, place, mode).await?);
        let latest = feed::currents(&changes)
            .into_iter()
            .map(|document| (feed::key(&document), json!([document["id"], document["n"]])));
        Ok(json!({
            "ranges": [before.len(), feed::ranges(flow).await?.len()],
            "first page": first,
            "latest": feed::by_key(latest),
            "versions": feed::versions(flow, versions).await?,
        }))
    }
}
