//! Requests about accounts, databases, containers, ranges and offers.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::admission::check_rid;
use crate::answer::{Answer, Refusal};
use crate::container::SETTINGS;
use crate::forward::{forward, internal};
use crate::offers;
use crate::request::{Place, Request};
use crate::throttle::Throughput;

/// Serves one request for metadata.
pub async fn serve(account: &Account, request: &Request, place: &Place) -> Result<Answer, Refusal> {
    match (place, &request.method) {
        (Place::Offers | Place::Offer(_), _) => offers::serve(account, request, place).await,
        (Place::Listing(None), &Method::POST) if !is_query(request) => {
            create_database(account, request).await
        }
        (Place::Listing(Some(database)), &Method::POST) if !is_query(request) => {
            create_container(account, request, database).await
        }
        (Place::Container(database, id), &Method::PUT) => {
            replace_container(account, request, database, id).await
        }
        (Place::Container(database, id), &Method::DELETE) => {
            let answer = forward(account, request, request.body.clone()).await?;
            if answer.status == 204 {
                account.forget(database, Some(id));
            }
            Ok(answer)
        }
        (Place::Database(database), &Method::DELETE) => {
            let answer = forward(account, request, request.body.clone()).await?;
            if answer.status == 204 {
                account.forget(database, None);
            }
            Ok(answer)
        }
        (Place::Container(database, id) | Place::Ranges(database, id), _) => {
            if let Ok(container) = account.container(database, id) {
                check_rid(&container, request)?;
            }
            let answer = forward(account, request, request.body.clone()).await?;
            Ok(overlay(account, answer, Some(database)))
        }
        (Place::Listing(database), _) => {
            let answer = forward(account, request, request.body.clone()).await?;
            Ok(overlay(account, answer, database.as_deref()))
        }
        (Place::Account, _) => {
            let mut answer = forward(account, request, request.body.clone()).await?;
            if let Ok(mut shown) = serde_json::from_slice::<Value>(&answer.body)
                && answer.status == 200
            {
                account.regions.overlay(&mut shown);
                answer.body = shown.to_string().into();
            }
            Ok(answer)
        }
        (Place::Elsewhere, _) => {
            Err(Refusal::new(501, format!("{} {} is not served", request.method, request.path)))
        }
        _ => forward(account, request, request.body.clone()).await,
    }
}

/// Whether a request that could write is a query.
pub fn is_query(request: &Request) -> bool {
    request.flag("x-ms-documentdb-isquery") || request.flag("x-ms-documentdb-query")
}

async fn create_database(account: &Account, request: &Request) -> Result<Answer, Refusal> {
    let _control = account.control.lock().await;
    let throughput = throughput(request)?;
    let answer = forward(account, request, request.body.clone()).await?;
    if let Some(throughput) = throughput.filter(|_| answer.status == 201) {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let id = body["id"].as_str().unwrap_or_default();
        account.share(id, throughput).await.map_err(internal)?;
    }
    Ok(answer)
}

async fn create_container(
    account: &Account,
    request: &Request,
    database: &str,
) -> Result<Answer, Refusal> {
    let _control = account.control.lock().await;
    let mut body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| Refusal::bad_request("the body is not JSON"))?;
    let settings = take_settings(&mut body);
    number_version(&mut body);
    let throughput = throughput(request)?;
    let answer = forward(account, request, body.to_string().into()).await?;
    if answer.status != 201 {
        return Ok(answer);
    }
    let id = body["id"].as_str().unwrap_or_default();
    let container = account.adopt(database, id, settings, false).await.map_err(internal)?;
    container.throttle.offer(throughput);
    Ok(overlay(account, answer, Some(database)))
}

/// Provisioned throughput in a request's headers.
fn throughput(request: &Request) -> Result<Option<Throughput>, Refusal> {
    if let Some(text) = request.header("x-ms-offer-throughput") {
        let units = text.trim().parse().map_err(|_| Refusal::bad_request("bad throughput"))?;
        return Ok(Some(Throughput::Manual(units)));
    }
    let settings = request.header("x-ms-cosmos-offer-autopilot-settings");
    let settings: Option<Value> = settings.and_then(|text| serde_json::from_str(text).ok());
    let units = settings.and_then(|settings| settings["maxThroughput"].as_u64());
    Ok(units.and_then(|units| u32::try_from(units).ok()).map(Throughput::Autoscale))
}

async fn replace_container(
    account: &Account,
    request: &Request,
    database: &str,
    id: &str,
) -> Result<Answer, Refusal> {
    let _control = account.control.lock().await;
    let container = account.container(database, id)?;
    check_rid(&container, request)?;
    let mut body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| Refusal::bad_request("the body is not JSON"))?;
    let settings = take_settings(&mut body);
    number_version(&mut body);
    let unique = container.setting("uniqueKeyPolicy").unwrap_or_default();
    if settings.get("uniqueKeyPolicy").cloned().unwrap_or_default() != unique {
        return Err(Refusal::new(403, "the unique key policy of a container cannot be changed"));
    }
    let answer = forward(account, request, body.to_string().into()).await?;
    if answer.status == 200 {
        container.apply_settings(settings);
    }
    Ok(overlay(account, answer, Some(database)))
}

/// The version of a partition key is a number; some clients write it as `V2`.
fn number_version(body: &mut Value) {
    let Some(version) = body.pointer_mut("/partitionKey/version") else { return };
    let text = version.as_str().map(|text| text.trim_start_matches(['V', 'v']));
    if let Some(number) = text.and_then(|text| text.parse::<u64>().ok()) {
        *version = Value::from(number);
    }
}

/// Moves the settings the gateway owns out of a container's JSON.
pub fn take_settings(body: &mut Value) -> Map<String, Value> {
    let Some(object) = body.as_object_mut() else { return Map::new() };
    SETTINGS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), object.remove(*name)?)))
        .filter(|(_, value)| !value.is_null())
        .filter(|(_, value)| *value != json!({"uniqueKeys": []}))
        .collect()
}

/// Lays the gateway's settings over containers in an answer.
fn overlay(account: &Account, mut answer: Answer, database: Option<&str>) -> Answer {
    let Some(database) = database else { return answer };
    let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return answer };
    let lay = |metadata: &mut Value| {
        let id = metadata["id"].as_str().unwrap_or_default().to_owned();
        if let Ok(container) = account.container(database, &id) {
            container.overlay(metadata);
        }
    };
    if let Some(listed) = body.get_mut("DocumentCollections").and_then(Value::as_array_mut) {
        listed.iter_mut().for_each(lay);
    } else if body.get("partitionKey").is_some() {
        lay(&mut body);
    } else {
        return answer;
    }
    answer.body = Bytes::from(body.to_string());
    answer
}
