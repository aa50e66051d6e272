//! Which changes of a write go through which link, and in what order. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cosmos_bridge_sink::{Change, Outcome, Unrenderable};
use sha2::{Digest as _, Sha256};

use crate::hash::partition_of;
use crate::tally::Tally;
use crate::{Partitioning, Settings};

/// The service refuses longer partition keys.
const KEY_CHARACTERS_MAX: usize = 128;

/// Changes of one write that go through one link in order.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) address: String,
    /// Of the whole batch, where the service finds the partition.
    pub(crate) key: Option<String>,
    /// The changes by their place in the write, each with its own key.
    pub(crate) events: Vec<(usize, Option<String>)>,
}

/// Puts changes into rounds of chains; settles those that have no key.
///
/// Chains of a round go side by side, those of the next when all of them are through. A document
/// whose key has changed goes on a round later in another chain, behind its earlier changes.
pub(crate) fn chains(
    settings: &Settings,
    changes: &[Change],
    partitions: &[String],
    tally: &mut Tally,
) -> Vec<Vec<Chain>> {
    let mut chains: BTreeMap<(usize, (String, Option<String>)), Vec<_>> = BTreeMap::new();
    let mut latest: HashMap<_, (usize, (String, Option<String>))> = HashMap::new();
    for (number, change) in changes.iter().enumerate() {
        let key = match key(settings, change) {
            Ok(key) => key,
            Err(error) => {
                let reason = format!("there is no partition key: {error}");
                tally.settle(number, Outcome::Rejected { reason });
                continue;
            }
        };
        let chain = place(settings, partitions, key.as_deref());
        let document = (&change.partition_key, change.id.as_str());
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

/// The key of a change; `None` where the partition is fixed.
fn key(settings: &Settings, change: &Change) -> Result<Option<String>, Unrenderable> {
    match &settings.partitioning {
        Partitioning::Fixed { .. } => Ok(None),
        Partitioning::Client { key } | Partitioning::Service { key } => {
            Ok(Some(fitting(&key.render(change)?).into_owned()))
        }
    }
}

/// The address for a key, and the key of the whole batch.
fn place(
    settings: &Settings,
    partitions: &[String],
    key: Option<&str>,
) -> (String, Option<String>) {
    let hub = &settings.hub;
    let to = |id: &str| format!("{hub}/Partitions/{id}");
    match &settings.partitioning {
        Partitioning::Fixed { id } => (to(id), None),
        Partitioning::Service { .. } => (hub.clone(), key.map(str::to_owned)),
        Partitioning::Client { .. } => {
            let index = partition_of(key.unwrap_or_default(), partitions.len());
            (to(&partitions[index]), None)
        }
    }
}

/// A key that the service takes: its hash in place of one that is too long. An empty one would be
/// none, and events of no key have no order.
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
    fn keys_that_the_service_would_not_take_become_their_hash() {
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
