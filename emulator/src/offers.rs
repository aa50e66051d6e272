//! Offers: provisioned throughput as clients read and replace it.

use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};

use crate::account::Account;
use crate::answer::{Answer, Refusal};
use crate::charge;
use crate::container::Container;
use crate::key::hex;
use crate::request::{Place, Request};

/// Serves one request for offers.
pub fn serve(account: &Account, request: &Request, place: &Place) -> Result<Answer, Refusal> {
    let offered: Vec<Arc<Container>> = account
        .containers()
        .into_iter()
        .filter(|container| container.throttle.throughput().is_some())
        .collect();
    match (place, &request.method) {
        (Place::Offer(id), method) => {
            let container = offered
                .iter()
                .find(|container| offer_id(container) == *id)
                .ok_or_else(|| Refusal::new(404, "the offer does not exist"))?;
            if *method == Method::PUT {
                container.throttle.set_throughput(Some(wanted(&request.body)?));
            }
            Ok(Answer::new(200, charge::METADATA)
                .header("x-ms-offer-replace-pending", "false")
                .json(&offer(container)))
        }
        (_, &Method::POST) => {
            let query: Value = serde_json::from_slice(&request.body)
                .map_err(|_| Refusal::bad_request("the body is not JSON"))?;
            let query = query.to_string();
            // Clients ask by rid or by self link, as a literal or as a parameter.
            let asked = |container: &&Arc<Container>| {
                !query.to_ascii_lowercase().contains("where")
                    || query.contains(&container.rid)
                    || query.contains(container.naming.self_link().trim_matches('/'))
            };
            Ok(list(offered.iter().filter(asked)))
        }
        _ => Ok(list(offered.iter())),
    }
}

fn wanted(body: &[u8]) -> Result<u32, Refusal> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let content = &body["content"];
    let units = content["offerThroughput"]
        .as_u64()
        .or_else(|| content["offerAutopilotSettings"]["maxThroughput"].as_u64());
    units
        .and_then(|units| u32::try_from(units).ok())
        .filter(|units| *units > 0)
        .ok_or_else(|| Refusal::bad_request("content.offerThroughput is missing"))
}

fn list<'a>(containers: impl Iterator<Item = &'a Arc<Container>>) -> Answer {
    let offers: Vec<Value> = containers.map(|container| offer(container)).collect();
    let count = offers.len();
    Answer::new(200, charge::METADATA)
        .header("x-ms-item-count", count.to_string())
        .json(&json!({"_rid": "", "Offers": offers, "_count": count}))
}

fn offer_id(container: &Container) -> String {
    // In hexadecimal, because clients sign ids of offers in lower case.
    format!("offer_{}", hex(container.rid.as_bytes()))
}

fn offer(container: &Container) -> Value {
    let id = offer_id(container);
    let throughput = container.throttle.throughput().unwrap_or_default();
    json!({
        "id": id,
        "_rid": id,
        "_self": format!("offers/{id}/"),
        "_etag": format!("\"{id}-{throughput}\""),
        "_ts": 0,
        "resource": container.naming.self_link(),
        "offerResourceId": container.rid,
        "offerType": "Invalid",
        "offerVersion": "V2",
        "content": {"offerThroughput": throughput},
    })
}
