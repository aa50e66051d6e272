//! Short ways to write routes and changes.

use std::sync::Arc;

use cosmos_bridge_sink::{
    Change, ContainerName, Document, KeyValue, OldCopies, Operation, Origin, PartitionKey,
};
use serde_json::Value;

use crate::config::{Buckets, KeyRule, KeySource, Path, Route, Template};
use crate::model::{Event, SourceChange};
use crate::route::{RouteError, Routed, Router, Target, TargetKey};

pub(super) fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub(super) fn paths(texts: &[&str]) -> Vec<Path> {
    texts.iter().map(|text| path(text)).collect()
}

pub(super) fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

pub(super) fn document(value: Value) -> Document {
    let Value::Object(document) = value else { panic!("a document is an object") };
    document.into()
}

pub(super) fn text(value: &str) -> KeyValue {
    KeyValue::String(value.to_owned())
}

/// To the only sink, changing nothing.
pub(super) fn identity() -> Route {
    Route {
        to: "target".to_owned(),
        filter: None,
        jq: None,
        include: Vec::new(),
        exclude: Vec::new(),
        rename: Vec::new(),
        set: Vec::new(),
        mask: Vec::new(),
        partition_key: Vec::new(),
        id: None,
        moves: false,
        snapshot: true,
        soft_delete: None,
    }
}

pub(super) fn keyed(rules: Vec<KeyRule>) -> Route {
    Route { partition_key: rules, ..identity() }
}

pub(super) fn keep(at: &str) -> KeyRule {
    KeyRule { path: path(at), value: KeySource::Keep, buckets: None }
}

pub(super) fn from(at: &str, field: &str) -> KeyRule {
    KeyRule { value: KeySource::From(path(field)), ..keep(at) }
}

pub(super) fn composed(at: &str, text: &str) -> KeyRule {
    KeyRule { value: KeySource::Template(template(text)), ..keep(at) }
}

pub(super) fn constant(at: &str, value: KeyValue) -> KeyRule {
    KeyRule { value: KeySource::Constant(value), ..keep(at) }
}

pub(super) fn bucketed(rule: KeyRule, count: u32, of: &str) -> KeyRule {
    KeyRule { buckets: Some(Buckets { count, of: path(of) }), ..rule }
}

/// All sinks are number 7, keyed at these paths.
pub(super) fn try_router(routes: &[Route], target: &[&str]) -> Result<Router, RouteError> {
    try_router_to(routes, TargetKey::Paths(paths(target)), None)
}

/// As [`routed`], with a sink that records the source document in the field `_source`.
pub(super) fn recorded(
    route: Route,
    target: &[&str],
    change: SourceChange,
) -> Result<Routed, RouteError> {
    let router = try_router_to(&[route], TargetKey::Paths(paths(target)), Some("_source"))?;
    Ok(router.route(change, &paths(&["/region"])))
}

/// All sinks are number 7, for events.
pub(super) fn event_router(route: Route) -> Router {
    try_router_to(&[route], TargetKey::Free, None).unwrap()
}

pub(super) fn try_router_to(
    routes: &[Route],
    key: TargetKey,
    source_field: Option<&str>,
) -> Result<Router, RouteError> {
    let source_field = source_field.map(str::to_owned);
    let target = Target { sink: 7, key, source_field, is_mirrored: false };
    Router::new(
        routes,
        |name| (name == "target").then(|| target.clone()),
        |_| Some(b"pepper".to_vec()),
    )
}

pub(super) fn router(routes: &[Route], target: &[&str]) -> Router {
    try_router(routes, target).unwrap()
}

pub(super) fn change(event: Event) -> SourceChange {
    keyed_change(event, vec![text("north")])
}

pub(super) fn keyed_change(event: Event, key: Vec<KeyValue>) -> SourceChange {
    let container = ContainerName {
        account: "a".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        rid: "rid".to_owned(),
    };
    let origin = Origin {
        container: Arc::new(container),
        id: "1".to_owned(),
        partition_key: PartitionKey(key),
        lsn: None,
        committed_at: None,
        nth: 0,
        expiry: None,
        is_snapshot: false,
        trace: None,
    };
    SourceChange { origin: Arc::new(origin), event }
}

pub(super) fn upsert(current: Value) -> SourceChange {
    change(Event::Upsert { current: document(current), previous: None, is_new: false })
}

/// Routes an upsert of a document from a source keyed at `/region`.
pub(super) fn routed(route: Route, target: &[&str], current: Value) -> Routed {
    router(&[route], target).route(upsert(current), &paths(&["/region"]))
}

/// The one document that was sent.
pub(super) fn sent(routed: &Routed) -> Value {
    assert!(routed.rejected.is_empty(), "{:?}", routed.rejected);
    let [addressed] = routed.changes.as_slice() else { panic!("one change: {routed:?}") };
    let Operation::Upsert { document } = &addressed.change.operation else { panic!("an upsert") };
    Value::Object(Document::clone(document).into())
}

/// The one reason for a rejection.
pub(super) fn reason(routed: &Routed) -> &str {
    assert!(routed.changes.is_empty() && routed.filtered == 0, "{routed:?}");
    let [rejection] = routed.rejected.as_slice() else { panic!("one rejection: {routed:?}") };
    &rejection.reason
}

/// `+` or `-`, id and key of each change sent.
pub(super) fn summary(changes: &[crate::route::Addressed]) -> Vec<String> {
    let summary = |change: &Change| {
        let sign = match change.operation {
            Operation::Upsert { .. } => '+',
            Operation::Delete { expired: false } => '-',
            Operation::Delete { expired: true } => '~',
        };
        let key: Vec<String> = change.partition_key.0.iter().map(shown).collect();
        let old = match &change.old_copies {
            OldCopies::None | OldCopies::Nowhere => String::new(),
            OldCopies::At(place) => {
                let key: Vec<String> = place.partition_key.0.iter().map(shown).collect();
                format!(" then -{} [{}]", place.id, key.join(", "))
            }
            OldCopies::Anywhere => " then -anywhere".to_owned(),
        };
        format!("{sign}{} [{}]{old}", change.id, key.join(", "))
    };
    changes.iter().map(|addressed| summary(&addressed.change)).collect()
}

fn shown(value: &KeyValue) -> String {
    match value {
        KeyValue::String(text) => text.clone(),
        KeyValue::Number(number) => number.to_string(),
        KeyValue::Bool(value) => value.to_string(),
        KeyValue::Null => "null".to_owned(),
        KeyValue::Undefined => "undefined".to_owned(),
    }
}
