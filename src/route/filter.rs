//! `where`: decides if a change passes the route.

use cosmos_bridge_sink::Document;
use serde_json::Value;

use super::access::equal;
use super::jq::Jq;
use crate::config::{self, Path};

/// [`config::Filter`] with its expressions compiled.
///
/// A missing field equals nothing, not even null; `NotEquals` passes it.
pub(super) enum Filter {
    Equals(Path, Value),
    NotEquals(Path, Value),
    In(Path, Vec<Value>),
    Exists(Path, bool),
    StartsWith(Path, String),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Jq(Jq),
}

impl Filter {
    pub(super) fn compile(filter: &config::Filter) -> Result<Self, String> {
        let all = |filters: &[config::Filter]| {
            filters.iter().map(Self::compile).collect::<Result<Vec<_>, _>>()
        };
        Ok(match filter {
            config::Filter::Equals(path, value) => Self::Equals(path.clone(), value.clone()),
            config::Filter::NotEquals(path, value) => Self::NotEquals(path.clone(), value.clone()),
            config::Filter::In(path, values) => Self::In(path.clone(), values.clone()),
            config::Filter::Exists(path, wanted) => Self::Exists(path.clone(), *wanted),
            config::Filter::StartsWith(path, start) => {
                Self::StartsWith(path.clone(), start.clone())
            }
            config::Filter::All(filters) => Self::All(all(filters)?),
            config::Filter::Any(filters) => Self::Any(all(filters)?),
            config::Filter::Not(filter) => Self::Not(Box::new(Self::compile(filter)?)),
            config::Filter::Jq(expression) => Self::Jq(Jq::compile(expression)?),
        })
    }

    /// True if the document passes. Fails only if a jq expression fails.
    pub(super) fn passes(&self, document: &Document) -> Result<bool, String> {
        Ok(match self {
            Self::Equals(path, value) => {
                document.find(path).is_some_and(|field| equal(&field, value))
            }
            Self::NotEquals(path, value) => {
                !document.find(path).is_some_and(|field| equal(&field, value))
            }
            Self::In(path, values) => document
                .find(path)
                .is_some_and(|field| values.iter().any(|value| equal(&field, value))),
            Self::Exists(path, wanted) => document.find(path).is_some() == *wanted,
            Self::StartsWith(path, start) => document.find(path).is_some_and(|field| {
                field.as_str().is_some_and(|text| text.starts_with(start.as_str()))
            }),
            Self::All(filters) => {
                for filter in filters {
                    if !filter.passes(document)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(filters) => {
                for filter in filters {
                    if filter.passes(document)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(filter) => !filter.passes(document)?,
            Self::Jq(jq) => jq.test(document)?,
        })
    }
}
