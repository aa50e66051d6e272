//! Documents with members that cannot be parsed: which routes can send them on.

use cosmos_bridge_sink::Document;

use crate::config::{self, Filter, KeyRule, KeySource, Path, Template};

/// The members of a document that a route reads or changes. What it does not touch is sent as it was
/// read, also if it cannot be parsed.
#[derive(Debug)]
pub(super) struct Touched {
    /// With the part of the route that names the field.
    fields: Vec<(&'static str, Path)>,
    /// True if the route has jq, which needs the whole document.
    everything: bool,
    /// True if the sink publishes events, which have to be JSON.
    is_event: bool,
    /// True if the route leaves out or masks fields by name.
    hides: bool,
}

impl Touched {
    /// `keys` are the rules in force, see [`Needs::of`](super::needs::Needs::of).
    pub(super) fn of(route: &config::Route, keys: &[KeyRule], is_event: bool) -> Self {
        let everything = route.jq.is_some();
        let hides = !route.exclude.is_empty() || !route.mask.is_empty();
        let mut touched = Self { fields: Vec::new(), everything, is_event, hides };
        if let Some(filter) = &route.filter {
            touched.add_filter("where", filter);
        }
        if let Some(soft) = &route.soft_delete {
            touched.add_filter("soft_delete", &soft.filter);
        }
        // A top-level field is kept or left out as a whole.
        let below = |path: &&Path| path.segments().len() > 1;
        touched.add("include", route.include.iter().filter(below));
        touched.add("exclude", route.exclude.iter().filter(below));
        touched.add("rename", route.rename.iter().flat_map(|(from, to)| [from, to]));
        touched.add("set", route.set.iter().map(|(path, _)| path));
        touched.add("mask", route.mask.iter().map(|(path, _)| path));
        for rule in keys {
            touched.add("partition_key", [&rule.path]);
            match &rule.value {
                KeySource::Keep | KeySource::Constant(_) => {}
                KeySource::From(path) => touched.add("partition_key", [path]),
                KeySource::Template(template) => touched.add("partition_key", template.fields()),
            }
            touched.add("partition_key", rule.buckets.iter().map(|buckets| &buckets.of));
        }
        touched.add("id", route.id.iter().flat_map(Template::fields));
        touched
    }

    /// What a condition reads that is no part of a route.
    pub(super) fn by(part: &'static str, filter: &Filter) -> Self {
        let mut touched =
            Self { fields: Vec::new(), everything: false, is_event: false, hides: false };
        touched.add_filter(part, filter);
        touched
    }

    fn add<'p>(&mut self, part: &'static str, paths: impl IntoIterator<Item = &'p Path>) {
        self.fields.extend(paths.into_iter().map(|path| (part, path.clone())));
    }

    fn add_filter(&mut self, part: &'static str, filter: &Filter) {
        match filter {
            Filter::Equals(path, _)
            | Filter::NotEquals(path, _)
            | Filter::In(path, _)
            | Filter::Exists(path, _)
            | Filter::StartsWith(path, _) => self.add(part, [path]),
            Filter::All(filters) | Filter::Any(filters) => {
                for filter in filters {
                    self.add_filter(part, filter);
                }
            }
            Filter::Not(filter) => self.add_filter(part, filter),
            Filter::Jq(_) => self.everything = true,
        }
    }

    /// Fails if the route touches a member of the document that cannot be parsed.
    pub(super) fn check(&self, document: &Document) -> Result<(), String> {
        if !document.has_unparsed() {
            return Ok(());
        }
        let cause = document.unparsed_cause().unwrap_or_default();
        if self.everything {
            return Err(format!(
                "the route's jq needs the whole document, a part of which cannot be parsed: {cause}"
            ));
        }
        if self.is_event && !document.is_json() {
            return Err(format!("an event needs a document that is JSON: {cause}"));
        }
        // A control character in a name could keep the field from being found that is to be hidden.
        if self.hides && !document.is_json() && document.has_unparsed_name() {
            return Err(format!(
                "`exclude` and `mask` of the route need the names of all fields, one of which cannot be \
                 parsed: {cause}"
            ));
        }
        let is_unparsed =
            |path: &Path| path.segments().first().is_some_and(|name| document.is_unparsed(name));
        match self.fields.iter().find(|(_, path)| is_unparsed(path)) {
            Some((part, path)) => {
                Err(format!("`{part}` of the route needs {path}, which cannot be parsed: {cause}"))
            }
            None => Ok(()),
        }
    }
}
