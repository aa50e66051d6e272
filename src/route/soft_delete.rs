//! Documents that are marked as deleted.

use cosmos_bridge_sink::Document;

use super::filter::Filter;
use super::holds::Holds;
use crate::config::{self, SoftDeleteThen};

/// [`config::SoftDelete`], compiled for one sink.
pub(super) struct SoftDelete {
    filter: Filter,
    /// In seconds; `None` if the target's document is deleted, or a delete is published.
    ttl: Option<u64>,
}

impl SoftDelete {
    pub(super) fn compile(soft: &config::SoftDelete, holds: Holds) -> Result<Self, String> {
        let filter = Filter::compile(&soft.filter)?;
        let is_kept = soft.then == SoftDeleteThen::Ttl && !holds.is_events();
        let ttl = soft.ttl.filter(|_| is_kept).map(|ttl| ttl.as_secs());
        Ok(Self { filter, ttl })
    }

    /// What becomes of a document as it is in the source; `None` if it is not marked.
    pub(super) fn of(&self, document: &Document) -> Result<Option<Marked>, String> {
        let is_marked = self.filter.passes(document)?;
        Ok(is_marked.then_some(self.ttl.map_or(Marked::Deleted, Marked::ExpiresAfter)))
    }
}

/// What becomes of a marked document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    Deleted,
    /// In seconds.
    ExpiresAfter(u64),
}
