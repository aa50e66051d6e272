//! `[[pipelines.<name>.routes]]`.

use super::filters::{filter, jq};
use super::keys::partition_key;
use super::reader::Value;
use super::sinks::reference;
use super::table::Table;
use super::{KeySource, Mask, Path, Route};

pub(super) fn route<'d>(
    value: &Value<'d>,
    sinks: &[&str],
    to: &mut Vec<(String, Value<'d>)>,
) -> Option<Route> {
    let table = value.table("a table", "")?;
    let named = table.required("to", "Name one of the [sinks.TYPE.NAME] tables.");
    let name = named.as_ref().and_then(|value| reference(value, sinks, "sink"));
    to.extend(name.clone().zip(named));

    let filter = table.maybe("where", filter);
    let jq = table.maybe("jq", jq);
    let include = table.or("include", Vec::new(), distinct_paths);
    let exclude = table.or("exclude", Vec::new(), excluded);
    let rename = table.or("rename", Vec::new(), rename);
    let set = table.or("set", Vec::new(), |set| changes(set, Value::json));
    let mask = table.or("mask", Vec::new(), |masks| changes(masks, mask));
    let partition_key = table.or("partition_key", Vec::new(), partition_key);
    let id = table.maybe("id", Value::template);
    if let (Some(kept), Some(left_out)) = (&include, &exclude)
        && !kept.is_empty()
        && !left_out.is_empty()
        && let Some(value) = table.get("exclude")
    {
        value.problem(
            "a route either includes or excludes",
            "Keep `include` alone: whatever it does not name is left out.",
        );
    }
    let route = || {
        Some(Route {
            to: name?,
            filter: filter?,
            jq: jq?,
            include: include?,
            exclude: exclude?,
            rename: rename?,
            set: set?,
            mask: mask?,
            partition_key: partition_key?,
            id: id?,
        })
    };
    let route = route();
    if let Some(route) = &route {
        key_is_left(&table, route);
    }
    table.finish();
    route
}

/// Refuses a route that takes away the field its own partition key is to keep.
fn key_is_left(table: &Table<'_>, route: &Route) {
    for rule in &route.partition_key {
        let field = match &rule.value {
            KeySource::Keep => &rule.path,
            KeySource::From(from) => from,
            KeySource::Template(_) | KeySource::Constant(_) => continue,
        };
        let given = route.rename.iter().map(|(_, to)| to).chain(route.set.iter().map(|(p, _)| p));
        let given_back = given.into_iter().any(|to| to.covers(field) || field.covers(to));
        if let Some(value) = table.get("exclude")
            && !given_back
            && route.exclude.iter().any(|excluded| excluded.covers(field))
        {
            let message = format!("this leaves out {field}, which the partition key needs");
            value.problem(message, "Keep the field.");
        }
    }
}

/// Paths of which none is named twice.
fn distinct_paths(value: &Value<'_>) -> Option<Vec<Path>> {
    let paths = value.all(Value::path)?;
    for (index, path) in paths.iter().enumerate() {
        if paths.iter().take(index).any(|earlier| earlier == path) {
            value.problem(format!("the list names {path} twice"), "Name it once.");
            return None;
        }
    }
    Some(paths)
}

fn excluded(value: &Value<'_>) -> Option<Vec<Path>> {
    let paths = distinct_paths(value)?;
    let ids: Vec<_> = paths.iter().filter(|path| is_id(path)).collect();
    if !ids.is_empty() {
        value.problem("a document cannot be without its id", "Leave /id out of the list.");
    }
    ids.is_empty().then_some(paths)
}

fn rename(value: &Value<'_>) -> Option<Vec<(Path, Path)>> {
    let pairs = changes(value, |to| unless_id(to, to.path()?))?;
    for (index, (from, to)) in pairs.iter().enumerate() {
        if from == to {
            value.problem(format!("{from} is renamed to itself"), "Leave it out.");
            return None;
        }
        if pairs.iter().take(index).any(|(_, earlier)| earlier == to) {
            value.problem(format!("two fields are renamed to {to}"), "Give each its own path.");
            return None;
        }
    }
    Some(pairs)
}

/// A table of paths that may not be the id's.
fn changes<'d, T>(
    value: &Value<'d>,
    read: impl Fn(&Value<'d>) -> Option<T>,
) -> Option<Vec<(Path, T)>> {
    let entries = value.named("a table of paths")?.into_iter();
    let read: Vec<_> = entries
        .map(|(written, entry)| {
            let path = entry.path_from(written).and_then(|path| unless_id(&entry, path));
            let content = read(&entry);
            path.zip(content)
        })
        .collect();
    let read: Vec<(Path, T)> = read.into_iter().collect::<Option<_>>()?;
    for (index, (path, _)) in read.iter().enumerate() {
        // `/a` and `/"a"` are two keys for one path.
        if read.iter().take(index).any(|(earlier, _)| earlier == path) {
            value.problem_unshown(format!("the table names {path} twice"), "Name it once.");
            return None;
        }
    }
    Some(read)
}

fn unless_id(value: &Value<'_>, path: Path) -> Option<Path> {
    if is_id(&path) {
        value.problem_unshown(
            "a document's id is changed by `id` alone",
            "Write a template in the route, such as id = \"{/tenant}:{/id}\".",
        );
        return None;
    }
    Some(path)
}

/// Whether the path is `/id` or lies below it.
pub(super) fn is_id(path: &Path) -> bool {
    path.segments().first().is_some_and(|first| first == "id")
}

fn mask(value: &Value<'_>) -> Option<Mask> {
    const HINT: &str = "Write \"***\", or { sha256 = { salt = { file = \"PATH\" } } }.";
    if let Some(text) = value.node.as_str() {
        return Some(Mask::Text(text.to_owned()));
    }
    let table = value.table("text or a hash", HINT)?;
    let hash = table.required("sha256", HINT).and_then(|hash| {
        let table = hash.secret_table("a table", HINT)?;
        let salt = table.required("salt", "Without a salt, anybody can guess the values.");
        let salt = salt.as_ref().and_then(Value::readable_secret);
        table.finish();
        Some(Mask::Sha256 { salt: salt? })
    });
    table.finish();
    hash
}
