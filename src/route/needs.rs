//! The fields that a route needs to route a delete without a previous image.
//!
//! Only the source's id and partition key of such a delete are known. A route that reads any other
//! field would find it missing and send the delete to the wrong place. So the fields that the route
//! reads are computed once, traced back through its field changes.

use cosmos_bridge_sink::Document;

use super::remap::is_id;
use crate::config::{self, Filter, KeyRule, KeySource, Path};

/// The fields of the source document that decide the target of a delete.
#[derive(Debug, PartialEq)]
pub(super) struct Needs {
    /// Each with the part of the route that needs it: `filter` or `key`.
    pub(super) fields: Vec<(&'static str, Path)>,
    /// True if the route has jq, which may read any field.
    pub(super) everything: bool,
}

impl Needs {
    /// `keys` are the rules in force: the route's own, or one `Keep` for each of the target's paths.
    pub(super) fn of(route: &config::Route, keys: &[KeyRule]) -> Self {
        let mut needs = Self { fields: Vec::new(), everything: route.jq.is_some() };
        let target = target_fields(route, keys);
        needs.fields.extend(back_through(route, target).into_iter().map(|path| ("key", path)));
        if let Some(filter) = &route.filter {
            needs.add_filter(filter);
        }
        needs
    }

    fn add_filter(&mut self, filter: &Filter) {
        match filter {
            Filter::Equals(path, _)
            | Filter::NotEquals(path, _)
            | Filter::In(path, _)
            | Filter::Exists(path, _)
            | Filter::StartsWith(path, _) => self.fields.push(("filter", path.clone())),
            Filter::All(filters) | Filter::Any(filters) => {
                for filter in filters {
                    self.add_filter(filter);
                }
            }
            Filter::Not(filter) => self.add_filter(filter),
            Filter::Jq(_) => self.everything = true,
        }
    }

    /// True if an image has every field that the route reads: the container's policy may leave fields out.
    pub(super) fn are_in(&self, image: &Document) -> bool {
        !self.everything && self.fields.iter().all(|(_, path)| image.find(path).is_some())
    }

    /// The fields that are neither the id nor part of the source's key.
    pub(super) fn beyond(&self, source_key_paths: &[Path]) -> Vec<Path> {
        let is_known =
            |path: &Path| is_id(path) || source_key_paths.iter().any(|key| path.is_within(key));
        let mut fields: Vec<Path> = Vec::new();
        for (_, path) in self.fields.iter().filter(|(_, path)| !is_known(path)) {
            if !fields.contains(path) {
                fields.push(path.clone());
            }
        }
        fields
    }

    /// Why a delete cannot be routed with the known fields; `None` if it can.
    pub(super) fn unmet(&self, known: &[&Path]) -> Option<String> {
        let is_known = |path: &Path| is_id(path) || known.iter().any(|known| path.is_within(known));
        self.needed("no previous image", is_known)
    }

    /// Why a delete cannot be routed with a previous image of which the container's policy leaves fields
    /// out.
    pub(super) fn unmet_in(&self, image: &Document) -> Option<String> {
        self.needed("only a part of a previous image", |path| image.find(path).is_some())
    }

    fn needed(&self, image: &str, is_known: impl Fn(&Path) -> bool) -> Option<String> {
        if self.everything {
            return Some(format!("the delete carries {image}, and the route's jq needs one"));
        }
        let (part, path) = self.fields.iter().find(|(_, path)| !is_known(path))?;
        let part = if *part == "key" { "the target's key" } else { "the route's filter" };
        Some(format!("the delete carries {image}, and {part} needs {path}"))
    }
}

impl Needs {
    /// The parts of a source document's identity that neither key nor id of the target are made of:
    /// documents that differ only there are one document in the target. Empty if the route has jq, which
    /// may do anything.
    pub(super) fn lost(&self, source_key_paths: &[Path]) -> Vec<Path> {
        let is_used = |path: &Path| {
            self.fields.iter().any(|(part, field)| *part == "key" && path.is_within(field))
        };
        let identity = source_key_paths.iter().cloned().chain(Path::parse("/id"));
        identity.filter(|path| !self.everything && !is_used(path)).collect()
    }
}

/// The fields of the changed document that key and id are made of.
fn target_fields(route: &config::Route, keys: &[KeyRule]) -> Vec<Path> {
    let mut fields: Vec<Path> = Vec::new();
    for rule in keys {
        match &rule.value {
            KeySource::Keep => fields.push(rule.path.clone()),
            KeySource::From(path) => fields.push(path.clone()),
            KeySource::Template(template) => fields.extend(template.fields().cloned()),
            KeySource::Constant(_) => {}
        }
        fields.extend(rule.buckets.iter().map(|buckets| buckets.of.clone()));
    }
    match &route.id {
        Some(template) => fields.extend(template.fields().cloned()),
        None => fields.extend(Path::parse("/id")),
    }
    fields
}

/// The fields of the source document that these fields of the changed document come from.
fn back_through(route: &config::Route, mut fields: Vec<Path>) -> Vec<Path> {
    for (to, _) in route.set.iter().rev() {
        fields.retain(|field| !field.is_within(to));
    }
    fields = fields.iter().flat_map(|field| before_renames(field, &route.rename)).collect();
    // An excluded field is always absent.
    fields.retain(|field| !route.exclude.iter().any(|path| field.is_within(path)));
    if !route.include.is_empty() {
        let kept = |field: &Path| {
            is_id(field)
                || route.include.iter().any(|path| field.is_within(path) || path.is_within(field))
        };
        fields.retain(kept);
    }
    fields
}

/// Where a field comes from. All renames are of the document before them.
fn before_renames(field: &Path, renames: &[(Path, Path)]) -> Vec<Path> {
    let mut before = Vec::new();
    for (from, to) in renames {
        if field.is_within(to) || to.is_within(field) {
            let rest = field.segments().get(to.segments().len()..).unwrap_or_default();
            before.extend(joined(from, rest));
        }
    }
    // Where nothing is renamed to it, or what would be is missing, it is as it was, unless it goes away.
    if !renames.iter().any(|(from, _)| field.is_within(from)) {
        before.push(field.clone());
    }
    before
}

fn joined(path: &Path, rest: &[String]) -> Option<Path> {
    let name = |name: &String| format!("/\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let text: String = path.segments().iter().chain(rest).map(name).collect();
    Path::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The renames, a field, and the fields that it comes from.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

    #[test]
    fn a_field_comes_from_all_that_is_renamed_to_it() {
        let path = |text: &str| Path::parse(text).unwrap();
        let swap: &[(&str, &str)] = &[("/a", "/b"), ("/b", "/a")];
        let chain = &[("/a", "/b"), ("/b", "/c")];
        let back = &[("/b", "/c"), ("/a", "/b")];
        let nested = &[("/a", "/b/x"), ("/c/d", "/e")];
        let cases: [Case<'_>; 16] = [
            (swap, "/a", &["/b"]),
            (swap, "/b", &["/a"]),
            (swap, "/b/x", &["/a/x"]),
            (swap, "/c", &["/c"]),
            (chain, "/a", &[]),
            (chain, "/b", &["/a"]),
            (chain, "/c", &["/b", "/c"]),
            (back, "/a", &[]),
            (back, "/b", &["/a"]),
            (back, "/c", &["/b", "/c"]),
            (nested, "/b", &["/a", "/b"]),
            (nested, "/b/x/y", &["/a/y", "/b/x/y"]),
            (nested, "/b/z", &["/b/z"]),
            (nested, "/c", &["/c"]),
            (nested, "/c/d/f", &[]),
            (nested, "/e", &["/c/d", "/e"]),
        ];
        for (renames, field, expected) in cases {
            let renames: Vec<_> = renames.iter().map(|(from, to)| (path(from), path(to))).collect();
            let expected: Vec<_> = expected.iter().map(|text| path(text)).collect();
            assert_eq!(before_renames(&path(field), &renames), expected, "{renames:?} {field}");
        }
    }

    #[test]
    fn what_is_read_of_an_image_is_what_id_and_key_do_not_tell_each_once() {
        let path = |text: &str| Path::parse(text).unwrap();
        let fields = ["/id", "/k", "/k/part", "/a", "/b/c", "/a", "/kind"];
        let fields = fields.map(|text| ("filter", path(text))).to_vec();
        let needs = Needs { fields, everything: false };
        let beyond = needs.beyond(&[path("/k")]);
        assert_eq!(beyond, ["/a", "/b/c", "/kind"].map(path));
    }
}
