//! The nodes `$cbs` and `$management`, which answer requests.

use std::time::SystemTime;

use serde::Deserialize;

use crate::amqp::Value;
use crate::hub::{Hub, Partition};
use crate::jwt;
use crate::lock;
use crate::message::{Request, answer};
use crate::namespace::Namespace;
use crate::sas::{self, Claim, Grant};

/// A node that receives requests on one link and answers on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Node {
    #[serde(rename = "$cbs")]
    Cbs,
    #[serde(rename = "$management")]
    Management,
}

impl Node {
    pub(crate) fn named(path: &str) -> Option<Self> {
        match path.rsplit('/').next() {
            Some("$cbs") => Some(Self::Cbs),
            Some("$management") => Some(Self::Management),
            _ => None,
        }
    }
}

/// Answers a put-token, and adds what the token allows.
pub(crate) fn put_token(
    request: &Request,
    namespace: &Namespace,
    grants: &mut Vec<Grant>,
) -> Vec<u8> {
    let refuse = |status, text: &str| answer(request, status, text, Value::Null);
    if request.text("operation") != Some("put-token") {
        return refuse(400, "The operation is not put-token.");
    }
    let Some(token) = request.body.text() else {
        return refuse(400, "The body is not a token.");
    };
    let checked = match request.text("type") {
        Some("servicebus.windows.net:sastoken") => signed(token, namespace),
        Some("jwt") => jwt::check(token, lock(&namespace.trust).as_ref()),
        _ => Err("InvalidToken: the type is neither jwt nor servicebus.windows.net:sastoken."),
    };
    match checked {
        Ok(grant) => {
            let now = SystemTime::now();
            grants.retain(|held| held.path != grant.path && now < held.expires);
            grants.push(grant);
            refuse(202, "Accepted")
        }
        Err(reason) => refuse(401, reason),
    }
}

fn signed(token: &str, namespace: &Namespace) -> Result<Grant, &'static str> {
    sas::check(token, &namespace.key_name, &lock(&namespace.key), SystemTime::now())
}

/// The rights that a request brings itself: the Java client puts no token for `$management`, but gives
/// one with each request.
fn brought(request: &Request, namespace: &Namespace) -> Option<Grant> {
    let token = request.text("security_token")?;
    let checked = match token.strip_prefix("Bearer ") {
        None if token.starts_with("SharedAccessSignature ") => signed(token, namespace),
        bearer => jwt::check(bearer.unwrap_or(token), lock(&namespace.trust).as_ref()),
    };
    checked.ok()
}

/// Answers a READ of a hub or a partition, which needs a token that allows sending or receiving.
pub(crate) fn read(request: &Request, namespace: &Namespace, grants: &[Grant]) -> Vec<u8> {
    let refuse = |status, text: &str| answer(request, status, text, Value::Null);
    if request.text("operation") != Some("READ") {
        return refuse(400, "The operation is not READ.");
    }
    let name = request.text("name").unwrap_or_default();
    let brought = brought(request, namespace);
    let mut held = grants.iter().chain(&brought);
    if !held.any(|grant| grant.covers(name, Claim::Either, SystemTime::now())) {
        return refuse(401, "Unauthorized access. 'Listen' claim(s) are required.");
    }
    let Some(hub) = namespace.hub(name) else {
        return refuse(404, "The messaging entity could not be found.");
    };
    match request.text("type") {
        Some("com.microsoft:eventhub") => answer(request, 200, "OK", of_hub(&hub)),
        Some("com.microsoft:partition") => {
            let id = request.text("partition").unwrap_or_default();
            let partition = id.parse().ok().and_then(|index: usize| hub.partitions.get(index));
            partition.map_or_else(
                || refuse(400, "The partition is out of range."),
                |partition| answer(request, 200, "OK", of_partition(&hub, id, partition)),
            )
        }
        _ => refuse(400, "The type is unknown."),
    }
}

fn map(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (Value::string(name), value)).collect())
}

fn of_hub(hub: &Hub) -> Value {
    let ids = (0..hub.partitions.len()).map(|index| Value::string(index.to_string())).collect();
    let count = i32::try_from(hub.partitions.len()).unwrap_or(i32::MAX);
    map([
        ("type", Value::string("com.microsoft:eventhub")),
        ("name", Value::string(&hub.name)),
        ("created_at", Value::Timestamp(hub.created_ms)),
        ("partition_count", Value::Int(count)),
        ("partition_ids", Value::Array(ids)),
        ("georeplication_factor", Value::Int(1)),
    ])
}

fn of_partition(hub: &Hub, id: &str, partition: &Partition) -> Value {
    partition.inspect(|log| {
        let last = log.last();
        map([
            ("type", Value::string("com.microsoft:partition")),
            ("name", Value::string(&hub.name)),
            ("partition", Value::string(id)),
            ("begin_sequence_number", Value::Long(log.first_sequence())),
            ("begin_sequence_number_epoch", Value::Int(-1)),
            ("last_enqueued_sequence_number", Value::Long(log.next_sequence() - 1)),
            ("last_enqueued_sequence_number_epoch", Value::Int(-1)),
            (
                "last_enqueued_offset",
                Value::string(last.map_or("-1".to_owned(), |event| event.offset.to_string())),
            ),
            ("last_enqueued_time_utc", Value::Timestamp(log.last_enqueued_ms())),
            ("is_partition_empty", Value::Bool(last.is_none())),
        ])
    })
}
