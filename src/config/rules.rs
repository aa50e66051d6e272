//! Rules between tables. They read what they need from the file themselves, so they apply to tables that
//! have other problems, too.

use std::path::{Component, Path as FilePath, PathBuf};

use cosmos_bridge_options::{Kind, Value};

use super::budget::budget;
use super::constants::lifetimes;
use super::cycles::cycles;
use super::mirrors::Mirrors;
use super::places::{Place, Places};
use super::routes::routes;
use super::{Amount, Budget, names, route_rules, sweeps, target_names};

/// Reports every violation of a rule between tables of the file.
pub(super) fn check<'d>(root: &Value<'d>, name: &str) {
    let named = |table: &Value<'d>| table.quietly(|table| table.named(""));
    let entries = |table: &str| root.at(table).as_ref().and_then(named).unwrap_or_default();
    names::distinct(&entries("credentials"), "");
    names::distinct(&entries("accounts"), "");
    let types = entries("sinks").into_iter();
    let sinks: Vec<_> = types.filter_map(|(_, sinks)| named(&sinks)).flatten().collect();
    names::distinct(&sinks, ": positions are stored by the name of the sink");
    let pipelines = entries("pipelines");
    names::distinct(&pipelines, ": positions are stored by the name of the pipeline");

    let places = Places { root };
    let targets: Vec<_> =
        root.at("sinks").and_then(|sinks| named(&sinks.at("cosmos")?)).unwrap_or_default();
    for (_, pipeline) in &pipelines {
        places.containers(pipeline, &targets);
    }
    let edges = places.edges(&pipelines, &targets);
    let mirrors = Mirrors::of(&pipelines, &targets);
    mirrors.check(&places);
    places.cycles(&edges, &mirrors);
    places.copies(&edges);
    route_rules::check(&pipelines, &targets);
    sweeps::check(&pipelines, &targets);
    let all: Vec<_> = pipelines.iter().flat_map(|(_, pipeline)| routes(pipeline)).collect();
    lifetimes(&all, &targets);
    target_names::check(root, &pipelines);
    let sources: Vec<_> =
        pipelines.iter().filter_map(|(_, pipeline)| pipeline.at("source")).collect();
    places.shared(&sources, "read");
    let logs = targets.iter().filter_map(|(_, sink)| sink.at("mirror")?.at("log"));
    let logs: Vec<_> = logs.collect();
    let targets: Vec<_> = targets.into_iter().map(|(_, sink)| sink).chain(logs).collect();
    places.shared(&targets, "write to");
    state_file(root, name);
}

/// A route from one container to another.
struct Edge<'d> {
    pipeline: &'d str,
    sink: &'d str,
    from: Place<'d>,
    to: Place<'d>,
    route: Value<'d>,
    /// True if the sink records the source document of each document.
    records_source: bool,
}

impl<'d> Places<'_, 'd> {
    /// A pipeline must not read what it writes, nor write one container through two sinks.
    fn containers(&self, pipeline: &Value<'d>, targets: &[(&str, Value<'d>)]) {
        let from = pipeline.at("source").and_then(|source| Self::of(&source));
        let mut earlier: Vec<(&str, Place<'_>)> = Vec::new();
        for value in routes(pipeline).iter().filter_map(|route| route.at("to")) {
            let Some(name) = value.node().as_str() else { continue };
            let target = targets.iter().find(|(target, _)| *target == name);
            let Some(target) = target.and_then(|(_, sink)| Self::of(sink)) else { continue };
            if from.as_ref().is_some_and(|from| self.are_one(from, &target)) {
                value.problem(
                    format!("`{name}` writes to the container that this pipeline reads"),
                    "Every write would be read again, without end. Choose another container.",
                );
                continue;
            }
            let twin = earlier
                .iter()
                .find(|(other, place)| *other != name && self.are_one(place, &target));
            if let Some((twin, _)) = twin {
                value.problem(
                    format!("`{twin}` and `{name}` write to the same container"),
                    "Two sinks would overtake each other there. Use one sink in both routes.",
                );
            }
            earlier.push((name, target));
        }
    }

    /// The routes from container to container.
    fn edges(
        &self,
        pipelines: &[(&'d str, Value<'d>)],
        targets: &[(&'d str, Value<'d>)],
    ) -> Vec<Edge<'d>> {
        let mut edges = Vec::new();
        for (pipeline, table) in pipelines {
            let Some(from) = table.at("source").and_then(|source| Self::of(&source)) else {
                continue;
            };
            for route in routes(table).iter().filter_map(|route| route.at("to")) {
                let target = targets.iter().find(|(name, _)| route.node().as_str() == Some(*name));
                let Some((sink, table)) = target else { continue };
                if let Some(to) = Self::of(table)
                    && !self.are_one(&from, &to)
                {
                    let records_source = table.at("source_field").is_some();
                    let from = from.clone();
                    edges.push(Edge { pipeline, sink, from, to, route, records_source });
                }
            }
        }
        edges
    }

    /// Pipelines must not copy in a cycle: each change would come back to its source, without end. Two containers
    /// that mirror each other count as one.
    fn cycles(&self, edges: &[Edge<'d>], mirrors: &Mirrors<'d>) {
        let edges: Vec<_> = edges.iter().filter(|edge| !mirrors.is_paired(edge.sink)).collect();
        for edge in edges.iter().filter(|edge| mirrors.hold(self, &edge.from, &edge.to)) {
            edge.route.problem(
                "these two containers mirror each other, and this route copies between them as well",
                "Each change would be written twice, by different rules. Remove the route.",
            );
        }
        let are_one = |one: &Place<'_>, other: &Place<'_>| {
            self.are_one(one, other) || mirrors.hold(self, one, other)
        };
        let ends: Vec<_> = edges.iter().map(|edge| (&edge.from, &edge.to)).collect();
        for cycle in cycles(&ends, |one, other| are_one(one, other)) {
            let names = cycle.iter().map(|number| format!("`{}`", edges[*number].pipeline));
            let names = names.collect::<Vec<_>>().join(", ");
            edges[cycle[0]].route.problem(
                format!("pipelines copy in a cycle: {names}"),
                "Every change would be copied without end. Remove one of these routes.",
            );
        }
    }

    /// A sink that records the source of each document keeps one copy of each.
    fn copies(&self, edges: &[Edge<'d>]) {
        for (number, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.records_source) {
            let is_second = edges.iter().take(number).any(|other| {
                self.are_one(&other.from, &edge.from) && self.are_one(&other.to, &edge.to)
            });
            if is_second {
                edge.route.problem(
                    "another route leads from this container to this sink, which has source_field",
                    "Such a sink keeps one copy of each source document. Make one route of them, or \
                     remove source_field.",
                );
            }
        }
    }

    /// All tables that read (or write) one container share one budget, so they must say the same.
    fn shared(&self, tables: &[Value<'d>], verb: &str) {
        let mut first_of: Vec<(Place<'_>, &Value<'_>)> = Vec::new();
        for table in tables {
            let Some(place) = Self::of(table) else { continue };
            match first_of.iter().find(|(first, _)| self.are_one(first, &place)) {
                Some((_, first)) => spend_alike(first, table, verb),
                None => first_of.push((place, table)),
            }
        }
    }
}

fn spend_alike(first: &Value<'_>, second: &Value<'_>, verb: &str) {
    /// What cannot be read has its own problem.
    fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_some_and(|(one, other)| one != other)
    }
    let budget_of = |table: &Value<'_>| match table.at("budget") {
        Some(value) => value.quietly(|value| budget().read(value)),
        None => Some(Budget::from(Amount::Unlimited)),
    };
    let yields = |table: &Value<'_>| match table.at("good_neighbour") {
        Some(value) => value.node().as_bool(),
        None => Some(false),
    };
    let options = [
        ("budget", differ(budget_of(first), budget_of(second))),
        ("good_neighbour", differ(yields(first), yields(second))),
    ];
    for (key, _) in options.iter().filter(|(_, differ)| *differ) {
        let (other, written) = (first.at(key), second.at(key));
        let how = match (&other, &written) {
            (Some(_), Some(_)) => "this differs from",
            (Some(_), None) => "this is missing, unlike",
            (None, _) => "this is missing in",
        };
        let other = other.as_ref().unwrap_or(first);
        let (key_of_other, line) = (other.key(), other.line());
        let message =
            format!("{how} `{key_of_other}` (line {line}), and both {verb} one container");
        let hint =
            format!("They share one budget: write the same `{key}` in both tables, or in neither.");
        if let Some(written) = written {
            written.problem(message, hint);
        } else {
            let place = second.keyed(format!("{}.{key}", second.key()));
            place.problem_unshown(message, hint);
        }
    }
}

/// The state must not overwrite a file that the configuration needs.
fn state_file(root: &Value<'_>, name: &str) {
    const HINT: &str = "Choose another file for the state.";
    let written = root.at("state").and_then(|state| state.at("file"));
    let base_dir = root.file().base_dir();
    let text = match &written {
        Some(value) => match value.node().as_str() {
            Some(text) => text,
            None => return,
        },
        None => "cosmos-bridge.db",
    };
    let state = base_dir.join(text);
    let value = written.unwrap_or_else(|| root.keyed("state.file".to_owned()));
    if state.is_dir() {
        value.problem("this is a folder", HINT);
    }
    let itself = FilePath::new(name).file_name().unwrap_or_default();
    let mut needed = vec![(base_dir.join(itself), "the configuration itself")];
    for (table, what) in SECRETS {
        let secrets = root.file().resources_below(table).secrets;
        needed
            .extend(secrets.iter().filter_map(|(_, secret)| Some((secret.file()?.clone(), what))));
    }
    if let Some((_, what)) = needed.iter().find(|(file, _)| one_file(file, &state)) {
        value.problem(format!("this is {what}"), HINT);
    }
}

/// Tables that may name files of secrets.
const SECRETS: [(&str, &str); 6] = [
    ("accounts", "the file of an account's secret"),
    ("credentials", "the file of a credential's secret"),
    ("sinks", "the file of a sink's secret"),
    ("admin", "the file of the admin address's token"),
    ("traces", "the file of a secret of the traces"),
    ("pipelines", "the file of a salt"),
];

/// True if two paths lead to the same file, as far as that can be known before it exists.
fn one_file(one: &FilePath, other: &FilePath) -> bool {
    let real = |path: &FilePath| std::fs::canonicalize(path).unwrap_or_else(|_| plain(path));
    plain(one) == plain(other) || real(one) == real(other)
}

/// Without `.` and `..`, by the text alone.
fn plain(path: &FilePath) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    plain
}
