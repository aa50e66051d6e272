//! Chooses the sinks of each change, and its id and partition key in each.
//!
//! Pure: the same change gives the same result on every machine and after every restart. For each
//! change and route, the result is exactly one of sent, filtered and rejected.

mod access;
mod condition;
mod fields;
mod filter;
mod holds;
mod jq;
mod mirror;
mod needs;
mod plan;
mod remap;
mod routed;
mod soft_delete;
mod source;
#[cfg(test)]
mod tests;
mod unparsed;

use cosmos_bridge_sink::SYSTEM_PROPERTIES;

pub use self::condition::Condition;
use self::fields::{Fields, FieldsProblem};
use self::filter::Filter;
pub use self::holds::Holds;
use self::needs::Needs;
use self::plan::{Plan, Route};
use self::remap::{Keys, Remap, is_id};
use self::soft_delete::SoftDelete;
use self::source::Source;
use self::unparsed::Touched;
use crate::config::{self, KeyRule, KeySource, Path, SecretRef};
use crate::model::{Event, SourceChange};
pub use routed::{Addressed, Owed, Rejection, Routed};

/// Where a route's sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The index of the sink in the pipeline.
    pub sink: usize,
    pub key: TargetKey,
    /// The field that the sink records the source of each document in. With it, the sink finds the
    /// copies of a source document wherever they are.
    pub source_field: Option<String>,
    /// The target and the source mirror each other.
    pub is_mirrored: bool,
}

/// The partition key of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetKey {
    /// The fields at these paths, one to three, which each document must have.
    Paths(Vec<Path>),
    /// The key that the route sets, or the source's: events have no key path.
    Free,
}

/// Why routes cannot be compiled. `route` is the number of a route in the pipeline, from 1.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouteError {
    #[error("route {route} names an unknown sink `{sink}`")]
    UnknownSink { route: usize, sink: String },
    #[error("route {route} sets the partition key {}, but the target's is {}", shown(.configured), shown(.target))]
    KeyPathMismatch { route: usize, configured: Vec<Path>, target: Vec<Path> },
    #[error("route {route} has a target with conflicting partition key paths {}", shown(.target))]
    KeyPaths { route: usize, target: Vec<Path> },
    #[error("route {route} has a target whose partition key {path} lies in its own source_field")]
    SourceField { route: usize, path: Path },
    #[error("route {route}: {problem}")]
    Jq { route: usize, problem: String },
    #[error("route {route} masks {path} with a salt that was not read")]
    Salt { route: usize, path: Path },
}

fn shown(paths: &[Path]) -> String {
    let paths: Vec<String> = paths.iter().map(Path::to_string).collect();
    format!("[{}]", paths.join(", "))
}

/// What a route needs of the document before a change, because id and key of the source do not suffice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNeeds {
    /// The index of the sink in the pipeline.
    pub sink: usize,
    pub fields: Vec<Path>,
    /// True if the route has jq, which may read any field.
    pub any_field: bool,
    pub holds: Holds,
}

impl ImageNeeds {
    pub fn reads_more(&self) -> bool {
        self.any_field || !self.fields.is_empty()
    }
}

/// The routes of one pipeline.
pub struct Router {
    routes: Vec<Route>,
}

impl Router {
    /// `target_of` returns the target of a sink; `salt_of` the text of a salt.
    pub fn new(
        routes: &[config::Route],
        target_of: impl Fn(&str) -> Option<Target>,
        salt_of: impl Fn(&SecretRef) -> Option<Vec<u8>>,
    ) -> Result<Self, RouteError> {
        let compile = |(number, route)| compile(number, route, &target_of, &salt_of);
        let routes = (1..).zip(routes).map(compile).collect::<Result<_, _>>()?;
        Ok(Self { routes })
    }

    /// Tells the routes which fields previous images have; all, if this is not called.
    #[must_use]
    pub fn with_images(mut self, hold: impl Fn(&Path) -> bool, are_whole: bool) -> Self {
        for route in &mut self.routes {
            let Needs { fields, everything } = &route.needs;
            route.has_partial_images = !are_whole
                && (*everything || fields.iter().any(|(_, path)| !is_id(path) && !hold(path)));
        }
        self
    }

    /// What exists may be copied again, where the history is lost: documents may have moved, stopped to pass a filter, or
    /// been marked as deleted since they were written, and nothing tells it.
    #[must_use]
    pub fn copying_again(mut self, copies_again: bool) -> Self {
        self.routes.iter_mut().for_each(|route| route.copies_again = copies_again);
        self
    }

    /// What each route needs of the documents before their changes.
    pub fn image_needs(&self, source_key_paths: &[Path]) -> Vec<ImageNeeds> {
        let needs = |route: &Route| ImageNeeds {
            sink: route.sink,
            fields: route.needs.beyond(source_key_paths),
            any_field: route.needs.everything,
            holds: route.holds,
        };
        self.routes.iter().map(needs).collect()
    }

    /// The sinks of documents in which source documents that differ only in these fields are one
    /// document.
    pub fn merging(&self, source_key_paths: &[Path]) -> Vec<(usize, Vec<Path>)> {
        let routes = self.routes.iter().filter(|route| !route.holds.is_events());
        let lost = routes.map(|route| (route.sink, route.needs.lost(source_key_paths)));
        lost.filter(|(_, fields)| !fields.is_empty()).collect()
    }

    /// How many routes a sink has.
    pub fn routes_to(&self, sink: usize) -> usize {
        self.routes.iter().filter(|route| route.sink == sink).count()
    }

    /// True if a route to the sink takes documents that existed before the pipeline first started.
    pub fn takes_snapshot(&self, sink: usize) -> bool {
        self.routes.iter().any(|route| route.sink == sink && route.takes_snapshot)
    }

    /// Never panics. `source_key_paths` are the paths of a delete's key values in the document.
    ///
    /// Routes every delete: the caller applies the policy for deletes.
    pub fn route(&self, mut change: SourceChange, source_key_paths: &[Path]) -> Routed {
        let is_mirrored = self.routes.iter().any(|route| route.holds == Holds::Mirrored);
        let as_read = is_mirrored.then(|| change.event.clone());
        strip(&mut change.event);
        let plans: Vec<_> =
            self.routes.iter().map(|route| route.plan(&change, source_key_paths)).collect();
        let owed = |(route, plan): (&Route, &Result<Plan, String>)| Owed {
            sink: route.sink,
            changes: plan.as_ref().map_or(1, |plan| route.owes(plan)),
        };
        let owed = self.routes.iter().zip(&plans).map(owed).collect();
        let mut routed = Routed { owed, ..Routed::default() };
        for (number, (route, plan)) in (1..).zip(self.routes.iter().zip(&plans)) {
            if let Err(reason) = plan {
                let (sink, reason, change) = (route.sink, reason.clone(), change.clone());
                routed.rejected.push(Rejection { route: number, sink, reason, change });
            }
        }
        let SourceChange { origin, event } = change;
        let needed = plans.iter().flatten().filter(|plan| plan.needs_source()).count();
        let mut source = Source::of(event, needed);
        for (route, plan) in self.routes.iter().zip(plans) {
            match plan {
                Err(_) => {}
                Ok(Plan::Filtered) => routed.filtered += 1,
                Ok(plan) if route.holds == Holds::Mirrored => {
                    let event = as_read.as_ref();
                    routed
                        .changes
                        .extend(event.and_then(|event| route.mirror(plan, event, &origin)));
                }
                Ok(plan) => route.carry_out(plan, &mut source, &origin, &mut routed.changes),
            }
        }
        routed
    }
}

fn compile(
    number: usize,
    route: &config::Route,
    target_of: &impl Fn(&str) -> Option<Target>,
    salt_of: &impl Fn(&SecretRef) -> Option<Vec<u8>>,
) -> Result<Route, RouteError> {
    let unknown = || RouteError::UnknownSink { route: number, sink: route.to.clone() };
    let target = target_of(&route.to).ok_or_else(unknown)?;
    let bad_jq = |problem| RouteError::Jq { route: number, problem };
    let holds = match (&target.key, &target.source_field) {
        (TargetKey::Free, _) => Holds::Events,
        (TargetKey::Paths(_), _) if target.is_mirrored => Holds::Mirrored,
        (TargetKey::Paths(_), None) => Holds::Documents,
        (TargetKey::Paths(_), Some(_)) => Holds::Recorded { moves: route.moves },
    };
    if let (Some(field), TargetKey::Paths(paths)) = (&target.source_field, &target.key)
        && let Some(path) = paths.iter().find(|path| path.segments().first() == Some(field))
    {
        return Err(RouteError::SourceField { route: number, path: path.clone() });
    }
    let keys = key_rules(number, route, target.key)?;
    let filter = route.filter.as_ref().map(Filter::compile).transpose().map_err(bad_jq)?;
    let fields = Fields::compile(route, salt_of).map_err(|problem| match problem {
        FieldsProblem::Jq(problem) => bad_jq(problem),
        FieldsProblem::Salt(path) => RouteError::Salt { route: number, path },
    })?;
    let needs = Needs::of(route, keys.rules());
    let touched = Touched::of(route, keys.rules(), holds.is_events());
    let remap = Remap { keys, id: route.id.clone() };
    let (sink, has_partial_images) = (target.sink, false);
    let takes_snapshot = route.snapshot;
    let soft_delete = route.soft_delete.as_ref().map(|soft| SoftDelete::compile(soft, holds));
    let soft_delete = soft_delete.transpose().map_err(bad_jq)?;
    Ok(Route {
        sink,
        filter,
        fields,
        remap,
        needs,
        touched,
        holds,
        takes_snapshot,
        copies_again: false,
        soft_delete,
        has_partial_images,
    })
}

/// The route's own rules, or one that keeps the field at each of the target's key paths.
fn key_rules(number: usize, route: &config::Route, target: TargetKey) -> Result<Keys, RouteError> {
    let target = match target {
        TargetKey::Paths(paths) => paths,
        TargetKey::Free if route.partition_key.is_empty() => return Ok(Keys::Source),
        TargetKey::Free => route.partition_key.iter().map(|rule| rule.path.clone()).collect(),
    };
    let overlaps = |(at, path): (usize, &Path)| {
        let others = target.iter().enumerate().filter(|(other, _)| *other != at);
        below_id(path) || others.into_iter().any(|(_, other)| path.is_within(other))
    };
    if target.is_empty() || target.iter().enumerate().any(overlaps) {
        return Err(RouteError::KeyPaths { route: number, target });
    }
    if route.partition_key.is_empty() {
        let keep = |path| KeyRule { path, value: KeySource::Keep, buckets: None };
        return Ok(Keys::Rules(target.into_iter().map(keep).collect()));
    }
    if !route.partition_key.iter().map(|rule| &rule.path).eq(&target) {
        let configured = route.partition_key.iter().map(|rule| rule.path.clone()).collect();
        return Err(RouteError::KeyPathMismatch { route: number, configured, target });
    }
    Ok(Keys::Rules(route.partition_key.clone()))
}

/// True for fields of the id, which do not exist: an id is a string.
fn below_id(path: &Path) -> bool {
    matches!(path.segments(), [first, _, ..] if first == "id")
}

fn strip(event: &mut Event) {
    let (current, previous) = match event {
        Event::Upsert { current, previous, .. } => (Some(current), previous.as_mut()),
        Event::Delete { previous, .. } => (None, previous.as_mut()),
    };
    for document in current.into_iter().chain(previous) {
        document.retain(|name| name.is_none_or(|name| !SYSTEM_PROPERTIES.contains(&name)));
    }
}
