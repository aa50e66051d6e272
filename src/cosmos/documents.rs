//! Reads single documents with the SDK.

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::feed::{FeedScope, Query};
use cosmos_bridge_cosmos::Class;
use cosmos_bridge_sink::{Document, PartitionKey};
use futures::StreamExt;

use super::container_clients::Clients;
use super::error::{answer_of, is_unparseable};
use super::key::sdk_key;
use super::path_segment::is_path_segment;
use super::{ContainerHandle, CosmosError, ReadDocument};

/// Reads the current version of a document: a point read, or a query where the key is not known or no
/// path can name the id.
pub(super) async fn read(
    container: &ContainerHandle,
    id: &str,
    key: Option<&PartitionKey>,
) -> Result<ReadDocument, CosmosError> {
    let attempt = format!("reading a document of `{}`", container.name);
    let clients = container.clients.clients(&attempt).await?;
    let read = match key {
        Some(key) if is_path_segment(id) => point_read(&clients, id, key).await,
        key => query(&clients, id, key).await.map(Ok),
    };
    let invalid = |message: String, charge| {
        let mut invalid = CosmosError::invalid(attempt.clone(), message);
        invalid.answer.charge = charge;
        invalid
    };
    match read {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(Unparsed { cause, charge })) => Err(invalid(cause, charge)),
        // A query returns what it parsed.
        Err(error) if is_unparseable(&error) => {
            let answer = answer_of(&error);
            Err(invalid(answer.message, answer.charge))
        }
        Err(error) => {
            let error = container.clients.failed(&clients, &attempt, &error).await;
            if error.class() != Class::Missing {
                return Err(error);
            }
            Ok(ReadDocument { documents: Vec::new(), charge: error.answer.charge })
        }
    }
}

/// An answer that is not a whole document: it broke off, and the next replay reads it.
struct Unparsed {
    cause: String,
    /// In request units.
    charge: f64,
}

async fn point_read(
    clients: &Clients,
    id: &str,
    key: &PartitionKey,
) -> Result<Result<ReadDocument, Unparsed>, SdkError> {
    let response = clients.container.read_item(sdk_key(key)?, id, None).await?;
    let charge = response.diagnostics().total_request_charge().value();
    let text = response.into_body().single()?;
    let read = |document| ReadDocument { documents: vec![document], charge };
    let unparsed = |error: serde_json::Error| Unparsed { cause: error.to_string(), charge };
    Ok(Document::parse(&text).map(read).map_err(unparsed))
}

async fn query(
    clients: &Clients,
    id: &str,
    key: Option<&PartitionKey>,
) -> Result<ReadDocument, SdkError> {
    let query = Query::from("SELECT * FROM c WHERE c.id = @id").with_parameter("@id", id)?;
    let scope = match key {
        Some(key) => FeedScope::partition(sdk_key(key)?),
        None => FeedScope::full_container(),
    };
    let items = clients.container.query_items::<Document>(query, scope, None).await?;
    let mut pages = items.into_pages();
    let mut read = ReadDocument::default();
    while let Some(page) = pages.next().await {
        let page = page?;
        read.charge += page.diagnostics().total_request_charge().value();
        read.documents.extend(page.into_items());
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_emulator::world::ContainerSettings;
    use cosmos_bridge_sink::{KeyValue, PartitionKey};

    use super::read;
    use crate::cosmos::local::Local;

    /// A replay writes what it reads here: another document would be written over the right one, and one that
    /// is not found is deleted.
    #[tokio::test]
    async fn a_document_is_read_by_its_key_or_under_every_key_and_may_be_gone() {
        let local = Local::start(&ContainerSettings::new(&["/k"], 2)).await;
        let lines = r#"{"id":"1","k":"a"}
            {"id":"1","k":"b"}
            {"id":"x?y","k":"a"}
            {"id":"x/y","k":"a"}
            {"id":"..","k":"a"}"#;
        local.accounts.seed("source", "shop", "orders", lines).unwrap();
        for (id, key, expected) in [
            ("1", Some("a"), vec!["a"]),
            ("1", Some("b"), vec!["b"]),
            ("1", None, vec!["a", "b"]),
            ("1", Some("c"), vec![]),
            ("2", Some("a"), vec![]),
            ("2", None, vec![]),
            // No path of a request can name it.
            ("x?y", Some("a"), vec!["a"]),
            ("x?y", Some("b"), vec![]),
            ("x/y", Some("a"), vec!["a"]),
            ("..", Some("a"), vec!["a"]),
        ] {
            let key = key.map(|key: &str| PartitionKey(vec![KeyValue::String(key.to_owned())]));
            let found = read(&local.container, id, key.as_ref()).await.unwrap();
            let mut keys: Vec<_> =
                found.documents.iter().map(|document| document.get("k").unwrap()).collect();
            keys.sort_unstable_by_key(ToString::to_string);
            assert_eq!(keys, expected, "{id} {key:?}");
            assert!(found.documents.iter().all(|document| document.get("id").unwrap() == id));
            assert!(found.charge > 0.0);
        }
    }
}
