//! Rules for two containers that mirror each other: for each of the two sinks, for its pipeline, and between them.

use cosmos_bridge_options::{Kind as _, Value, reference};

use super::mirror::ELSEWHERE;
use super::places::{Place, Places};
use super::routes::routes;

/// The mirrored sinks of a file.
pub(super) struct Mirrors<'d>(Vec<Side<'d>>);

/// One direction.
struct Side<'d> {
    /// Of the sink.
    name: &'d str,
    sink: Value<'d>,
    mirror: Value<'d>,
    /// The routes to the sink, with their pipelines.
    routes: Vec<(Value<'d>, Value<'d>)>,
}

impl<'d> Side<'d> {
    fn with(&self) -> Option<&'d str> {
        self.mirror.at("with")?.node().as_str()
    }

    fn pipeline(&self) -> Option<&Value<'d>> {
        self.routes.first().map(|(pipeline, _)| pipeline)
    }

    /// The container that is read.
    fn source(&self) -> Option<Place<'d>> {
        Places::of(&self.pipeline()?.at("source")?)
    }

    fn decides(&self) -> bool {
        let conflicts = self.mirror.at("conflicts");
        conflicts.is_some_and(|conflicts| conflicts.node().as_str() != Some(ELSEWHERE))
    }

    fn field(&self) -> Option<&str> {
        match self.mirror.at("field") {
            Some(field) => field.node().as_str(),
            None => Some("_mirror"),
        }
    }
}

impl<'d> Mirrors<'d> {
    pub(super) fn of(pipelines: &[(&'d str, Value<'d>)], targets: &[(&'d str, Value<'d>)]) -> Self {
        let side = |(name, sink): &(&'d str, Value<'d>)| {
            let mirror = sink.at("mirror").filter(|mirror| mirror.node().is_table())?;
            let is_to = |route: &Value<'d>| {
                route.at("to").is_some_and(|to| to.node().as_str() == Some(*name))
            };
            let of = |pipeline: &Value<'d>| {
                let routes = routes(pipeline).into_iter().filter(is_to);
                routes.map(|route| (pipeline.clone(), route)).collect::<Vec<_>>()
            };
            let routes = pipelines.iter().flat_map(|(_, pipeline)| of(pipeline)).collect();
            Some(Side { name, sink: sink.clone(), mirror, routes })
        };
        Self(targets.iter().filter_map(side).collect())
    }

    /// The sink of the other direction, if both name each other.
    fn other(&self, side: &Side<'d>) -> Option<&Side<'d>> {
        let other = self.0.iter().find(|other| side.with() == Some(other.name))?;
        (other.name != side.name && other.with() == Some(side.name)).then_some(other)
    }

    /// True for a sink that mirrors together with another one.
    pub(super) fn is_paired(&self, sink: &str) -> bool {
        self.0.iter().any(|side| side.name == sink && self.other(side).is_some())
    }

    /// True if these two containers mirror each other.
    pub(super) fn hold(&self, places: &Places<'_, 'd>, one: &Place<'_>, other: &Place<'_>) -> bool {
        self.0.iter().filter(|side| self.other(side).is_some()).any(|side| {
            let ends = side.source().zip(Places::of(&side.sink));
            ends.is_some_and(|(from, to)| {
                places.are_one(&from, one) && places.are_one(&to, other)
                    || places.are_one(&from, other) && places.are_one(&to, one)
            })
        })
    }

    /// Reports every violation.
    pub(super) fn check(&self, places: &Places<'_, 'd>) {
        for (number, side) in self.0.iter().enumerate() {
            written_as_is(side);
            read_completely(side);
            one_route(side);
            log_elsewhere(side, places);
            let is_second =
                self.0.iter().take(number).any(|earlier| side.with() == Some(earlier.name));
            self.pair(side, places, is_second);
            self.one_mirror(side, number, places);
        }
    }

    /// `is_second`: what is between the two was reported at the first one.
    fn pair(&self, side: &Side<'d>, places: &Places<'_, 'd>, is_second: bool) {
        if side.routes.is_empty() {
            // It is not used.
            return;
        }
        let Some(with) = side.mirror.at("with") else {
            if side.mirror.at("conflicts").is_none() {
                side.mirror.problem_unshown(
                    "nothing says which side decides what stays where both have changed a document",
                    "Write `with`; or, if the other direction runs in another process, conflicts = \"newest\" in \
                     one of the two files and conflicts = \"elsewhere\" in the other.",
                );
            }
            return;
        };
        // A name that is not in the file has its own problem.
        let known = with.quietly(|with| reference("sink").read(with));
        let Some(name) = side.with().filter(|_| known.is_some()) else { return };
        let own = side.name;
        if name == own {
            with.problem(
                "this is the sink itself",
                "Name the sink of the pipeline in the other direction.",
            );
            return;
        }
        let Some(other) = self.other(side) else {
            with.problem(
                format!("sink `{name}` does not mirror with this one"),
                format!(
                    "Write mirror = {{ with = \"{own}\", .. }} in it, or name the sink of the pipeline in the \
                     other direction."
                ),
            );
            return;
        };
        if other.routes.is_empty() {
            with.problem(
                format!("no route leads to sink `{name}`"),
                format!(
                    "Write a pipeline that reads the container of `{own}`, with a route to `{name}`; leave `with` \
                     out if another process has it."
                ),
            );
        }
        let container = Places::of(&side.sink);
        let reads_other = container.zip(other.source());
        if reads_other.is_some_and(|(to, from)| !places.are_one(&to, &from)) {
            with.problem(
                format!("the pipeline of sink `{name}` reads another container than this sink writes to"),
                "Two containers mirror each other: each pipeline reads what the other one writes to.",
            );
        }
        if is_second {
            return;
        }
        if side.decides() == other.decides() {
            let both = if side.decides() { "both sinks decide" } else { "neither sink decides" };
            side.mirror.at("conflicts").unwrap_or_else(|| side.mirror.clone()).problem(
                format!("{both} what stays where both sides have changed a document"),
                format!(
                    "Write conflicts = \"newest\" in one of the tables of `{own}` and `{name}`, and \"elsewhere\" in \
                     the other one."
                ),
            );
        }
        if side.field().zip(other.field()).is_some_and(|(one, other)| one != other) {
            let field = side.mirror.at("field").or_else(|| other.mirror.at("field"));
            field.unwrap_or_else(|| side.mirror.clone()).problem(
                "the other side has another field for the record",
                "Write the same `field` in both tables: each side reads what the other one has written.",
            );
        }
    }

    /// Changes of a third container would be compared with versions that are not theirs.
    fn one_mirror(&self, side: &Side<'d>, number: usize, places: &Places<'_, 'd>) {
        let Some(container) = Places::of(&side.sink) else { return };
        let source = side.source();
        let is_one = |earlier: &&Side<'d>| {
            let is_target =
                Places::of(&earlier.sink).is_some_and(|place| places.are_one(&place, &container));
            // What one mirror writes into it is an echo for the other.
            let sources = earlier.source().zip(source.as_ref());
            is_target || sources.is_some_and(|(one, other)| places.are_one(&one, other))
        };
        if let Some(earlier) = self.0.iter().take(number).find(is_one) {
            side.mirror.problem(
                format!("sink `{}` mirrors one of these two containers already", earlier.name),
                "A container has one mirror. Copy into further ones without `mirror`.",
            );
        }
    }
}

/// The documents of both sides are the same.
fn written_as_is(side: &Side<'_>) {
    const TTL: &str = "Write ttl = \"as-is\" in the sink: both sides have the same documents.";
    let sink = &side.sink;
    let word = |key: &str| sink.at(key).filter(|value| value.node().as_str().is_some());
    if let Some(write) = word("write").filter(|write| write.node().as_str() != Some("upsert")) {
        write.problem(
            "a mirrored container gets every change",
            "Leave it out: whether a document is written is decided by its versions.",
        );
    }
    if let Some(field) = sink.at("source_field") {
        field.problem(
            "a mirrored container has the record of `mirror` instead",
            "Leave it out; `field` of `mirror` names the field.",
        );
    }
    if let Some(collision) = sink.at("on_collision") {
        collision.problem(
            "no two documents share a place in a mirrored container",
            "Leave it out; `conflicts` of `mirror` says what becomes of two versions.",
        );
    }
    match sink.at("ttl") {
        Some(ttl) if ttl.node().as_str() == Some("as-is") => {}
        Some(ttl) => ttl.problem("this would change the `ttl` of documents", TTL),
        None => {
            let ttl = sink.keyed(format!("{}.ttl", sink.key()));
            ttl.problem_unshown("the default would change the `ttl` of documents", TTL);
        }
    }
}

/// Every change is compared with the other side, and with what it has replaced.
fn read_completely(side: &Side<'_>) {
    let Some(pipeline) = side.pipeline() else { return };
    let mode = pipeline.at("source").and_then(|source| source.at("mode"));
    let is_complete =
        mode.as_ref().is_some_and(|mode| mode.node().as_str() == Some("all-versions-and-deletes"));
    if !is_complete {
        let message =
            format!("sink `{}` mirrors, which needs every version and every delete", side.name);
        let hint = "Write mode = \"all-versions-and-deletes\" in the source.";
        match mode {
            Some(mode) => mode.problem(message, hint),
            None => pipeline
                .keyed(format!("{}.source.mode", pipeline.key()))
                .problem_unshown(message, hint),
        }
    }
    if let Some(deletes) = pipeline.at("deletes").filter(|one| one.node().as_str() != Some("all")) {
        deletes.problem(
            format!("sink `{}` mirrors, which needs every version and every delete", side.name),
            "Leave it out, or mirror in a pipeline of its own.",
        );
    }
}

fn one_route(side: &Side<'_>) {
    let name = side.name;
    for (_, route) in side.routes.iter().skip(1) {
        let to = route.at("to").unwrap_or_else(|| route.clone());
        to.problem(
            format!("another route leads to sink `{name}`, which mirrors one container"),
            "Use another sink without `mirror`, of another container.",
        );
    }
    for (_, route) in &side.routes {
        let steps = route.quietly(|route| route.named("")).unwrap_or_default();
        for (_, step) in steps.into_iter().filter(|(key, _)| *key != "to") {
            step.problem_unshown(
                format!("sink `{name}` mirrors, so its route leaves documents as they are"),
                "Leave it out: keys, ids and contents are the same on both sides.",
            );
        }
    }
}

fn log_elsewhere(side: &Side<'_>, places: &Places<'_, '_>) {
    let Some(log) = side.mirror.at("log") else { return };
    let Some(place) = Places::of(&log) else { return };
    let ends = [Places::of(&side.sink), side.source()];
    if ends.iter().flatten().any(|end| places.are_one(end, &place)) {
        log.problem(
            "this is one of the containers that mirror each other",
            "Name a container of its own, with the partition key /id.",
        );
    }
}
