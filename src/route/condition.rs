//! A condition for changes that is no part of a route, in the language of `where`.

use super::filter::Filter;
use super::strip;
use super::unparsed::Touched;
use crate::config;
use crate::model::{Event, SourceChange};

/// Decides on a change as `where` of a route does: by the document without the service's properties.
pub struct Condition {
    filter: Filter,
    touched: Touched,
}

impl Condition {
    /// # Errors
    ///
    /// A jq expression cannot be used.
    pub fn compile(filter: &config::Filter) -> Result<Self, String> {
        let touched = Touched::by("where", filter);
        Ok(Self { filter: Filter::compile(filter)?, touched })
    }

    /// Whether the condition holds for the document of an upsert; deletes have none.
    ///
    /// # Errors
    ///
    /// A jq expression fails, or needs a part of the document that cannot be parsed.
    pub fn holds(&self, change: &mut SourceChange) -> Result<bool, String> {
        strip(&mut change.event);
        let Event::Upsert { current, .. } = &change.event else { return Ok(false) };
        self.touched.check(current)?;
        self.filter.passes(current)
    }
}
