//! Offers: provisioned throughput as clients read and replace it. A container without its own
//! throughput has none, as in a serverless account and below a database that shares its.

use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};

use crate::account::Account;
use crate::answer::{Answer, Refusal};
use crate::charge;
use crate::container::Container;
use crate::forward::internal;
use crate::key::hex;
use crate::request::{Place, Request};
use crate::throttle::Throughput;

/// A container or database that has throughput.
struct Offered {
    rid: String,
    /// With a trailing slash.
    self_link: String,
    throughput: Throughput,
    owner: Owner,
}

enum Owner {
    Container(Arc<Container>),
    Database(String),
}

/// Serves one request for offers.
pub async fn serve(account: &Account, request: &Request, place: &Place) -> Result<Answer, Refusal> {
    let mut offered = offered(account);
    match (place, &request.method) {
        (Place::Offer(id), method) => {
            let offered = offered
                .iter_mut()
                .find(|offered| offered.id() == *id)
                .ok_or_else(|| Refusal::new(404, "the offer does not exist"))?;
            if *method == Method::PUT {
                offered.replace(account, wanted(&request.body)?).await?;
            }
            Ok(Answer::new(200, charge::METADATA)
                .header("x-ms-offer-replace-pending", "false")
                .json(&offered.to_json()))
        }
        (_, &Method::POST) => {
            let query: Value = serde_json::from_slice(&request.body)
                .map_err(|_| Refusal::bad_request("the body is not JSON"))?;
            let query = query.to_string();
            if query.to_ascii_lowercase().contains("where") {
                offered.retain(|offered| offered.is_named_in(&query));
            }
            Ok(list(&offered))
        }
        _ => Ok(list(&offered)),
    }
}

fn offered(account: &Account) -> Vec<Offered> {
    let containers = account.containers().into_iter().filter_map(|container| {
        Some(Offered {
            rid: container.rid.clone(),
            self_link: container.naming.self_link().to_owned(),
            throughput: container.throttle.offered()?,
            owner: Owner::Container(container),
        })
    });
    let databases = account.shared().into_iter().map(|(name, shared)| Offered {
        rid: shared.rid,
        self_link: shared.self_link,
        throughput: shared.throughput,
        owner: Owner::Database(name),
    });
    containers.chain(databases).collect()
}

/// What a replacement asks for. A client that writes back what it read sends both members for
/// autoscale, so the maximum decides.
fn wanted(body: &[u8]) -> Result<Throughput, Refusal> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let content = &body["content"];
    let units = |value: &Value| {
        value.as_u64().and_then(|units| u32::try_from(units).ok()).filter(|units| *units > 0)
    };
    let autoscale = units(&content["offerAutopilotSettings"]["maxThroughput"]);
    autoscale
        .map(Throughput::Autoscale)
        .or(units(&content["offerThroughput"]).map(Throughput::Manual))
        .ok_or_else(|| Refusal::bad_request("content.offerThroughput is missing"))
}

fn list(offered: &[Offered]) -> Answer {
    let offers: Vec<Value> = offered.iter().map(Offered::to_json).collect();
    let count = offers.len();
    Answer::new(200, charge::METADATA)
        .header("x-ms-item-count", count.to_string())
        .json(&json!({"_rid": "", "Offers": offers, "_count": count}))
}

impl Offered {
    fn id(&self) -> String {
        // In hexadecimal, because clients sign ids of offers in lower case.
        format!("offer_{}", hex(self.rid.as_bytes()))
    }

    async fn replace(&mut self, account: &Account, wanted: Throughput) -> Result<(), Refusal> {
        match &self.owner {
            Owner::Container(container) => container.throttle.offer(Some(wanted)),
            Owner::Database(name) => account.share(name, wanted).await.map_err(internal)?,
        }
        self.throughput = wanted;
        Ok(())
    }

    /// Clients ask by rid or by self link, as a literal or as a parameter. Both stand before a
    /// closing quote; the self link of a database is also the beginning of its containers' links.
    fn is_named_in(&self, query: &str) -> bool {
        [self.rid.as_str(), self.self_link.trim_matches('/')].iter().any(|name| {
            query.match_indices(name).any(|(at, _)| {
                let rest = query.get(at + name.len()..).unwrap_or_default();
                rest.trim_start_matches('/').starts_with(['"', '\'', '\\'])
            })
        })
    }

    fn to_json(&self) -> Value {
        let id = self.id();
        let units = self.throughput.limit();
        let (kind, content) = match self.throughput {
            Throughput::Manual(_) => ("manual", json!({"offerThroughput": units})),
            // In addition to the maximum there is the current throughput; for an idle container it is a tenth.
            Throughput::Autoscale(_) => (
                "autoscale",
                json!({
                    "offerThroughput": units / 10,
                    "offerAutopilotSettings": {"maxThroughput": units},
                }),
            ),
        };
        json!({
            "id": id,
            "_rid": id,
            "_self": format!("offers/{id}/"),
            "_etag": format!("\"{id}-{kind}-{units}\""),
            "_ts": 0,
            "resource": self.self_link,
            "offerResourceId": self.rid,
            "offerType": "Invalid",
            "offerVersion": "V2",
            "content": content,
        })
    }
}
