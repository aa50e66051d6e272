//! `soft_delete` of a route.

use std::time::Duration;

use cosmos_bridge_options::{choice, duration, options};

use super::Filter;
use super::filters::filter;

/// The service's longest time to live is 68 years; a year (of 365.25 days) is enough to keep what is deleted.
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(8766);

options! {
    /// Documents that are marked as deleted, and not deleted.
    pub struct SoftDelete {
        /// Which documents are marked, as they are in the source: a condition as in where of the route, which
        /// must pass them.
        filter as "where": Filter = required("Write where = { path = \"/deleted\", equals = true }."),
            filter();
        /// "delete": the document is deleted in the target. "ttl": it is written, and expires there after
        /// ttl. Sinks of events publish a delete in both cases.
        then: SoftDeleteThen = "delete", choice(vec![
            ("delete", SoftDeleteThen::Delete),
            ("ttl", SoftDeleteThen::Ttl),
        ]);
        /// How long a marked document stays in the target, with then = "ttl".
        ttl: Option<Duration> = optional, duration(LIFETIMES), example "7d";
    }
    rules(table) {
        match (then, &ttl) {
            (Some(SoftDeleteThen::Ttl), Some(None)) => table.value().problem(
                "the time that a marked document stays is missing",
                "Add ttl = \"7d\".",
            ),
            (Some(SoftDeleteThen::Delete), Some(Some(_))) => {
                if let Some(ttl) = table.get("ttl") {
                    ttl.problem(
                        "a document that is deleted has no time to live",
                        "Leave it out, or write then = \"ttl\".",
                    );
                }
            }
            _ => {}
        }
    }
}

/// What becomes of a marked document in a target that holds documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftDeleteThen {
    Delete,
    Ttl,
}
