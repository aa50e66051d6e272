//! Decides through which link each change of a write is sent, and in what order. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cosmos_bridge_sink::{Answers, Change};
use sha2::{Digest as _, Sha256};

use crate::hash::partition_of;
use crate::{Partitioning, Settings};

/// The service refuses longer partition keys.
const KEY_CHARACTERS_MAX: usize = 128;

/// Changes of one write that are sent through one link in order.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) address: String,
    /// The key of the whole batch, if the service chooses the partition.
    pub(crate) key: Option<String>,
    /// The changes by their index in the write, each with its own key.
    pub(crate) events: Vec<(usize, Option<String>)>,
}

/// Divides changes into rounds of chains. Rejects changes that have no key.
///
/// The chains of one round are sent in parallel, and the next round starts when all of them have
/// ended. If the key of a document changes, its later changes are in another chain of a later
/// round, and so are sent after its earlier changes.
pub(crate) fn chains(
    settings: &Settings,
    changes: &[Change],
    partitions: &[String],
    answers: &mut Answers<'_>,
) -> Vec<Vec<Chain>> {
    let mut chains: BTreeMap<(usize, (String, Option<String>)), Vec<_>> = BTreeMap::new();
    let mut latest: HashMap<_, (usize, (String, Option<String>))> = HashMap::new();
    for (number, change) in changes.iter().enumerate() {
        let key = match key(settings, change) {
            Ok(key) => key,
            Err(reason) => {
                answers.reject(number, reason);
                continue;
            }
        };
        let chain = address(settings, partitions, key.as_deref());
        let document = change.document_id();
        let round = match latest.get(&document) {
            None => 0,
            Some((round, held)) if *held == chain => *round,
            Some((round, _)) => round + 1,
        };
        latest.insert(document, (round, chain.clone()));
        chains.entry((round, chain)).or_default().push((number, key));
    }
    let mut rounds = Vec::new();
    for ((round, (address, key)), events) in chains {
        rounds.resize_with(rounds.len().max(round + 1), Vec::new);
        rounds[round].push(Chain { address, key, events });
    }
    rounds
}

/// The key of a change; `None` if the partition is fixed. The error is the reason of a rejection.
pub(crate) fn key(settings: &Settings, change: &Change) -> Result<Option<String>, String> {
    if settings.options.partition.is_some() {
        return Ok(None);
    }
    let key = settings.options.key.render(change);
    let key = key.map_err(|error| format!("no partition key: {error}"))?;
    Ok(Some(fitting(&key).into_owned()))
}

/// The address for a key, and the key of the whole batch.
fn address(
    settings: &Settings,
    partitions: &[String],
    key: Option<&str>,
) -> (String, Option<String>) {
    let hub = &settings.hub;
    match (settings.options.partition, settings.options.partitioning) {
        (Some(partition), _) => (format!("{hub}/Partitions/{partition}"), None),
        (None, Partitioning::Service) => (hub.clone(), key.map(str::to_owned)),
        (None, Partitioning::Client) => {
            let index = partition_of(key.unwrap_or_default(), partitions.len());
            (format!("{hub}/Partitions/{}", partitions[index]), None)
        }
    }
}

/// A key that the service accepts. The hash replaces a key that is too long, and an empty key: the
/// service would treat it as no key, and events without a key have no order.
fn fitting(key: &str) -> Cow<'_, str> {
    if !key.is_empty() && key.chars().count() <= KEY_CHARACTERS_MAX {
        return Cow::Borrowed(key);
    }
    Cow::Owned(STANDARD.encode(Sha256::digest(key.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn keys_that_the_service_would_not_accept_are_replaced_by_their_hash() {
        let long = "k".repeat(129);
        for (key, is_kept) in
            [("k", true), ("ü".repeat(128).as_str(), true), (&long, false), ("", false)]
        {
            let fitted = fitting(key);
            assert_eq!(*fitted == *key, is_kept, "{key}");
            assert!(!fitted.is_empty() && fitted.chars().count() <= 128);
        }
        assert_ne!(fitting(&long), fitting(&"k".repeat(130)));
    }
}
