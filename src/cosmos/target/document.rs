//! Reads a whole document that the target has.

use azure_data_cosmos::Query;
use azure_data_cosmos::feed::FeedScope;
use azure_data_cosmos::models::PartitionKey as SdkKey;
use azure_data_cosmos::options::{ItemReadOptions, QueryOptions};
use cosmos_bridge_cosmos::{Answer, Class, FoundDocument, classify};
use cosmos_bridge_sink::{Document, PartitionKey};
use futures::StreamExt;

use super::super::container_clients::Clients;
use super::super::error::answer_of;
use super::super::key::sdk_key;
use super::super::path_segment::is_path_segment;
use super::answers::broken_off;
use super::lookup::quorum;
use super::{Target, WRITING};

impl Target {
    /// One document as a quorum of replicas has it.
    pub(super) async fn read_document(&self, key: &PartitionKey, id: &str) -> FoundDocument {
        let sdk_key = match sdk_key(key) {
            Ok(key) => key,
            Err(error) => return failed(answer_of(&error)),
        };
        let clients = match self.container.clients.clients(WRITING).await {
            Ok(clients) => clients,
            Err(error) => return failed(error.answer),
        };
        if is_path_segment(id) {
            self.point_read(&clients, sdk_key, id).await
        } else {
            self.query_document(&clients, sdk_key, id).await
        }
    }

    async fn point_read(&self, clients: &Clients, key: SdkKey, id: &str) -> FoundDocument {
        let options = ItemReadOptions::default().with_operation_options(quorum());
        let response = match clients.container.read_item(key, id, Some(options)).await {
            Ok(response) => response,
            Err(error) => {
                let answer = self.failed(clients, &error).await;
                let is_missing = classify(answer.status, answer.sub_status) == Class::Missing;
                let status = if is_missing { 200 } else { answer.status };
                return failed(Answer { status, ..answer });
            }
        };
        let answer = self.done(response.status(), response.headers(), &response.diagnostics());
        let text = response.into_body().single().ok();
        match text.and_then(|text| Document::parse(&text).ok()) {
            Some(document) => FoundDocument { answer, requests: 1, document: Some(document) },
            None => failed(broken_off(answer)),
        }
    }

    /// For an id that no path can name.
    async fn query_document(&self, clients: &Clients, key: SdkKey, id: &str) -> FoundDocument {
        let query = Query::from("SELECT * FROM c WHERE c.id = @id").with_parameter("@id", id);
        let query = match query {
            Ok(query) => query,
            Err(error) => return failed(answer_of(&error)),
        };
        let options = QueryOptions::default().with_operation_options(quorum());
        let scope = FeedScope::partition(key);
        let rows = clients.container.query_items::<Document>(query, scope, Some(options)).await;
        let mut pages = match rows {
            Ok(rows) => rows.into_pages(),
            Err(error) => return failed(self.failed(clients, &error).await),
        };
        let mut found = FoundDocument::default();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    let mut answer = self.failed(clients, &error).await;
                    answer.charge += found.answer.charge;
                    return failed(answer);
                }
            };
            let attempts = page.diagnostics();
            self.note(&attempts);
            found.answer.charge += attempts.total_request_charge().value();
            found.requests += attempts.requests().len();
            found.document = found.document.or(page.into_items().into_iter().next());
        }
        found.answer.status = 200;
        found
    }
}

fn failed(answer: Answer) -> FoundDocument {
    FoundDocument { answer, requests: 1, document: None }
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_cosmos::Container as _;
    use cosmos_bridge_emulator::world::ContainerSettings;
    use cosmos_bridge_sink::{KeyValue, PartitionKey};

    use super::Target;
    use crate::cosmos::local::Local;

    /// What the version of a document is made of, also under ids that no path can name.
    #[tokio::test]
    async fn a_document_is_read_whole_with_its_properties_or_is_not_there() {
        let local = Local::start(&ContainerSettings::new(&["/k"], 2)).await;
        let target = Target::new(local.container.clone());
        let lines = "{\"id\":\"1\",\"k\":\"a\",\"n\":1}\n{\"id\":\"x/y\",\"k\":\"a\",\"n\":2}";
        local.accounts.seed("source", "shop", "orders", lines).unwrap();
        for (id, key, n) in [
            ("1", "a", Some(1)),
            ("x/y", "a", Some(2)),
            ("1", "b", None),
            ("2", "a", None),
            ("x?y", "a", None),
        ] {
            let key = PartitionKey(vec![KeyValue::String(key.to_owned())]);
            let found = target.document(&key, id).await;
            assert_eq!(found.answer.status, 200, "{id}");
            assert!(found.answer.charge > 0.0 && found.requests > 0, "{id}");
            let document = found.document;
            let number = document.as_ref().map(|document| document.get("n").unwrap());
            assert_eq!(number, n.map(serde_json::Value::from), "{id}");
            let has = |name| document.as_ref().is_none_or(|document| document.contains(name));
            assert!(has("_etag") && has("_ts"), "{id}");
        }
    }
}
