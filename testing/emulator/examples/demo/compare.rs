//! Every document of the source against what the target answers for it.

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::BinaryEncodingOptions;
use azure_data_cosmos::{AccountReference, CosmosClient, CosmosError, CosmosRuntime};
use azure_data_cosmos::{RoutingStrategy, options::Region};
use cosmos_bridge_emulator::LocalAccounts;
use futures::StreamExt as _;
use serde_json::{Map, Value};

use crate::report::{Report, say};
use crate::{Failure, SOURCE, TARGET};

/// Concurrent reads.
const READS: usize = 32;
/// Differences that are shown; the ids of generated orders are no secret.
const SHOWN: usize = 10;
/// What an account adds to a document.
const SYSTEM: [&str; 5] = ["_rid", "_self", "_etag", "_attachments", "_ts"];

/// Reads each document of the source from the target under its new key, as any client would, and
/// compares the containers' checksums, which also shows whether the target has more.
pub(crate) async fn compare(accounts: &LocalAccounts, report: &mut Report) -> Result<(), Failure> {
    let target = target(accounts).await?;
    let documents = accounts.documents(SOURCE.0, SOURCE.1, SOURCE.2)?;
    let mut found =
        futures::stream::iter(documents).map(|text| check(&target, text)).buffer_unordered(READS);
    let mut shown = 0;
    while let Some(found) = found.next().await {
        let (id, what) = match found? {
            Found::Equal => {
                report.equal += 1;
                continue;
            }
            Found::Different(id) => {
                report.different += 1;
                (id, "is different in the target")
            }
            Found::Missing(id) => {
                report.missing += 1;
                (id, "is not in the target under its new key")
            }
        };
        if shown < SHOWN {
            say(&format!("{id} {what}"));
            shown += 1;
        }
    }
    report.checksums = Some((
        accounts.checksum(SOURCE.0, SOURCE.1, SOURCE.2)?,
        accounts.checksum(TARGET.0, TARGET.1, TARGET.2)?,
    ));
    Ok(())
}

enum Found {
    Equal,
    Different(String),
    Missing(String),
}

async fn check(target: &ContainerClient, text: String) -> Result<Found, Failure> {
    let source: Map<String, Value> = serde_json::from_str(&text)?;
    let field = |value: Option<&Value>| {
        value.and_then(Value::as_str).map(str::to_owned).ok_or("an order without id, or key")
    };
    let id = field(source.get("id"))?;
    let region = field(source.get("customer").and_then(|customer| customer.get("region")))?;
    let customer = field(source.get("customerId"))?;
    let read = match target.read_item((region, customer), &id, None).await {
        Ok(response) => response.into_model::<Map<String, Value>>()?,
        Err(error) if is_missing(&error) => return Ok(Found::Missing(id)),
        Err(error) => return Err(error.into()),
    };
    let same = read.iter().filter(|(name, _)| !SYSTEM.contains(&name.as_str())).eq(source.iter());
    Ok(if same { Found::Equal } else { Found::Different(id) })
}

fn is_missing(error: &CosmosError) -> bool {
    u16::from(error.status().status_code()) == 404
}

async fn target(accounts: &LocalAccounts) -> Result<ContainerClient, Failure> {
    let endpoint = accounts.endpoint(TARGET.0).parse()?;
    let account = AccountReference::with_authentication_key(endpoint, accounts.key(TARGET.0));
    let runtime = CosmosRuntime::builder().build().await?;
    let client = CosmosClient::builder()
        .with_runtime(runtime)
        // Text, so that numbers are compared as the account holds them.
        .with_binary_encoding_options(BinaryEncodingOptions::default().with_enabled(false))
        .build(account, RoutingStrategy::PreferredRegions(Vec::<Region>::new()))
        .await?;
    Ok(client.database_client(TARGET.1).container_client(TARGET.2, None).await?)
}
