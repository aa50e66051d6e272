//! What every request about documents passes: the container it means, the keys it is limited to, the
//! physical range it is charged to, and the throttle.

use crate::answer::{Answer, Refusal};
use crate::charge;
use crate::container::Container;
use crate::request::Request;
use crate::store::KeyRange;

/// A client that knows a container by another rid has an old one in mind.
pub fn check_rid(container: &Container, request: &Request) -> Result<(), Refusal> {
    match request.header("x-ms-cosmos-intended-collection-rid") {
        Some(rid) if rid != container.rid => Err(Refusal::bad_request(
            "The collection resource ID does not match the intended collection resource ID.",
        )
        .with_substatus(1024)),
        _ => Ok(()),
    }
}

/// The keys a read is limited to, and the physical range it is charged to.
pub fn scope(
    container: &Container,
    request: &Request,
) -> Result<(KeyRange, Option<String>), Refusal> {
    let named = request.keys_named()?;
    if named.is_some() && request.header("x-ms-read-key-type") != Some("EffectivePartitionKeyRange")
    {
        return Err(Refusal::bad_request("One of the input values is invalid."));
    }
    let mut keys = named.unwrap_or_else(KeyRange::all);
    if let Some(key) = request.partition_key(container)? {
        let own = container.key_range(&key)?;
        keys = own.intersect(&keys).unwrap_or(own);
    }
    let Some(id) = request.header("x-ms-documentdb-partitionkeyrangeid") else {
        let range = container.first_range_over(&keys)?;
        return Ok((keys, range));
    };
    // Older clients write the container's rid before the id.
    let id = id.rsplit(',').next().unwrap_or(id);
    let range = container.range(id)?;
    let keys = range.keys.intersect(&keys).unwrap_or_else(|| KeyRange::none(&range.keys));
    Ok((keys, Some(range.id)))
}

/// Refuses a request for which the range has no units left.
pub fn admit(container: &Container, range: &str) -> Option<Answer> {
    let wait = container.throttle.admit(range).err()?;
    let refusal = Refusal::new(429, "Request rate is large. More Request Units may be needed.")
        .with_substatus(3200);
    let mut answer = Answer::from(refusal).header("x-ms-retry-after-ms", wait.to_string());
    answer.range = Some(range.to_owned());
    Some(answer)
}

/// Varies the cost where the container's charges vary, and books it.
pub fn settle(container: &Container, answer: Answer, range: String, lsn: u64) -> Answer {
    book(container, container.charges.applied_to(answer), range, lsn)
}

/// Books the cost and adds what every answer about documents carries.
pub fn book(container: &Container, mut answer: Answer, range: String, lsn: u64) -> Answer {
    // A client that adds up the charges of its answers gets what is counted here.
    answer.charge = charge::as_told(answer.charge);
    if !range.is_empty() {
        container.throttle.charge(&range, answer.charge);
        answer = answer
            .header("x-ms-session-token", format!("{range}:1#{lsn}#0={lsn}"))
            .header("x-ms-documentdb-partitionkeyrangeid", range.clone());
        if !answer.headers.iter().any(|(name, _)| *name == "lsn") {
            answer = answer.header("lsn", lsn.to_string());
        }
        answer.range = Some(range);
    }
    answer
}
