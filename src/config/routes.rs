//! `[[pipelines.NAME.routes]]`.

use cosmos_bridge_options::{
    Form, Kind, Table, Value, any_json, boolean, field_template, kind, list, options, path,
    path_from, reference, table_like,
};

use super::filters::{Filter, filter, jq};
use super::keys::{KeyRule, KeySource, is_id, is_short_id, partition_key, set_values_of_keys};
use super::masks::{Mask, mask};
use super::soft_delete::SoftDelete;
use super::{Path, Template};

options! {
    /// Every change goes to each route whose `where` holds. The steps are done in this order; system
    /// properties are removed before any of them.
    pub struct Route {
        /// The name of a sink.
        to: String = required("Name one of the [sinks.TYPE.NAME] tables."), reference("sink");
        /// Which documents, as they are in the source; all of them if not written. A path is a slash and a
        /// name, repeated; a name that holds a slash is in double quotes: '/"a/b"'.
        filter as "where": Option<Filter> = optional, filter(),
            example { path = "/status", equals = "paid" };
        /// One document in, one out; no output leaves the change out.
        jq: Option<String> = optional, jq(), example ".total |= round";
        /// Keep only these fields; id is always kept.
        include: Vec<Path> = [], list(path()).check(is_distinct);
        /// Leave these fields out. Not together with include.
        exclude: Vec<Path> = [], list(path()).check(is_distinct).check(keeps_the_id);
        /// From = to.
        rename: Vec<(Path, Path)> = {}, paths(path().check(is_not_the_id)).check(is_sound_rename),
            example { "/createdAt" = "/created/at" };
        /// Constants.
        set: Vec<(Path, serde_json::Value)> = {}, paths(any_json()),
            example { "/copiedBy" = "cosmos-bridge" };
        /// A text instead of the value, or its salted SHA-256.
        mask: Vec<(Path, Mask)> = {}, paths(mask()), example { "/customer/email" = "***" };
        /// The target's partition key, one to three levels; [] if the document already has it. A level is
        /// a field, or says how the field is made.
        partition_key: Vec<KeyRule> = [], partition_key();
        /// The id in the target, made of fields; the source's id if not written.
        id: Option<Template> = optional, field_template().check(is_short_id), example "{/customerId}:{/id}";
        /// A changed document may lead to another key or id in the target than before, or no longer pass
        /// `where`, and the feed does not tell the document before: the sink looks for the old copy and
        /// removes it. Needs source_field of the sink. Costs a query for each document of which the last
        /// write is not remembered, shared by the changes of one write.
        moves: bool = false, boolean();
        /// Documents that are marked as deleted, and not deleted, in the source.
        soft_delete: Option<SoftDelete> = optional, table_like(
            "a table",
            "Write soft_delete = { where = { path = \"/deleted\", equals = true } }."
        ), example { where = { path = "/deleted", equals = true } };
        /// Also send what existed before the pipeline first started, where mode is
        /// "all-versions-and-deletes" and start is "beginning": events of it are called snapshot.
        snapshot: bool = true, boolean();
    }
    rules(table) {
        if let (Some(included), Some(excluded)) = (&include, &exclude)
            && !included.is_empty() && !excluded.is_empty()
            && let Some(value) = table.get("exclude")
        {
            value.problem(
                "a route either includes or excludes",
                "Keep `include` alone: all other fields are left out.",
            );
        }
        if let (Some(keys), Some(masks), Some(set)) = (&partition_key, &mask, table.get("set")) {
            set_values_of_keys(&set, keys, masks);
        }
        if let (Some(keys), Some(excluded), Some(renamed), Some(set)) =
            (&partition_key, &exclude, &rename, &set)
        {
            let given = renamed.iter().map(|(_, to)| to).chain(set.iter().map(|(path, _)| path));
            keys_are_left(table, keys, excluded, &given.collect::<Vec<_>>());
        }
    }
}

/// The routes of a pipeline as they are written, also if they have mistakes.
pub(super) fn routes<'d>(pipeline: &Value<'d>) -> Vec<Value<'d>> {
    let routes = pipeline.at("routes").and_then(|routes| routes.quietly(Value::list));
    routes.unwrap_or_default()
}

/// Rejects a route that removes a field which its own partition key needs, and does not make it again.
fn keys_are_left(table: &Table<'_>, keys: &[KeyRule], excluded: &[Path], given: &[&Path]) {
    for rule in keys {
        let field = match &rule.value {
            KeySource::Keep => &rule.path,
            KeySource::From(from) => from,
            KeySource::Template(_) | KeySource::Constant(_) => continue,
        };
        let given_back = given.iter().any(|to| to.covers(field) || field.covers(to));
        if let Some(value) = table.get("exclude")
            && !given_back
            && excluded.iter().any(|excluded| excluded.covers(field))
        {
            let message = format!("this leaves out {field}, which the partition key needs");
            value.problem(message, "Keep the field.");
        }
    }
}

#[expect(clippy::ptr_arg, reason = "the kind's own type")]
fn is_distinct(value: &Value<'_>, paths: &Vec<Path>) -> bool {
    let twice = paths
        .iter()
        .enumerate()
        .find(|(index, path)| paths.iter().take(*index).any(|p| p == *path));
    if let Some((_, path)) = twice {
        value.problem(format!("the list names {path} twice"), "Name it once.");
    }
    twice.is_none()
}

#[expect(clippy::ptr_arg, reason = "the kind's own type")]
fn keeps_the_id(value: &Value<'_>, paths: &Vec<Path>) -> bool {
    let keeps = !paths.iter().any(is_id);
    if !keeps {
        value.problem("a document cannot be without its id", "Leave /id out of the list.");
    }
    keeps
}

#[expect(clippy::ptr_arg, reason = "the kind's own type")]
fn is_sound_rename(value: &Value<'_>, pairs: &Vec<(Path, Path)>) -> bool {
    for (index, (from, to)) in pairs.iter().enumerate() {
        if from == to {
            value.problem(format!("{from} is renamed to itself"), "Leave it out.");
            return false;
        }
        if pairs.iter().take(index).any(|(_, earlier)| earlier == to) {
            value.problem(format!("two fields are renamed to {to}"), "Give each its own path.");
            return false;
        }
    }
    true
}

fn is_not_the_id(value: &Value<'_>, path: &Path) -> bool {
    let is_other = !is_id(path);
    if !is_other {
        value.problem_unshown(
            "only `id` of a route changes a document's id",
            "Write a template in the route, such as id = \"{/tenant}:{/id}\".",
        );
    }
    is_other
}

/// A table whose keys are paths, none of them that of the id.
fn paths<K: Kind>(content: K) -> impl Kind<Output = Vec<(Path, K::Output)>> {
    let words = "a table of paths";
    let form = Form::map(words, content.form());
    kind(form, move |value| {
        let entry = |(written, entry): (&str, Value<'_>)| {
            let path = path_from(&entry, written).filter(|path| is_not_the_id(&entry, path));
            let content = content.read(&entry);
            path.zip(content)
        };
        let entries: Vec<_> = value.named(words)?.into_iter().map(entry).collect();
        let entries: Vec<(Path, K::Output)> = entries.into_iter().collect::<Option<_>>()?;
        for (index, (path, _)) in entries.iter().enumerate() {
            // `/a` and `/"a"` are two keys for one path.
            if entries.iter().take(index).any(|(earlier, _)| earlier == path) {
                value.problem_unshown(format!("the table names {path} twice"), "Name it once.");
                return None;
            }
        }
        Some(entries)
    })
}
