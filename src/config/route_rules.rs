//! Rules between a route, its source and its sink.

use cosmos_bridge_options::Value;

use super::routes::routes;

/// Reports every violation.
pub(super) fn check<'d>(pipelines: &[(&str, Value<'d>)], targets: &[(&str, Value<'d>)]) {
    moves(pipelines, targets);
    lifetimes_of_marked(pipelines, targets);
    snapshots(pipelines);
}

/// Only a sink that records the source of each document can find where its copy was before.
fn moves<'d>(pipelines: &[(&str, Value<'d>)], targets: &[(&str, Value<'d>)]) {
    for route in pipelines.iter().flat_map(|(_, pipeline)| routes(pipeline)) {
        let Some(moves) = route.at("moves").filter(|moves| moves.node().as_bool() == Some(true))
        else {
            continue;
        };
        let Some(to) = route.at("to") else { continue };
        let target = targets.iter().find(|(name, _)| to.node().as_str() == Some(*name));
        match target {
            None => moves.problem(
                "only a sink of type cosmos holds documents that can move",
                "Leave moves out: an event has the key that its document has.",
            ),
            Some((_, sink)) if sink.at("source_field").is_none() => moves.problem(
                "the sink does not record which source document each document is a copy of",
                format!("Write source_field = \"_source\" in [{}].", sink.key()),
            ),
            Some(_) => {}
        }
    }
}

/// Only a pipeline that reads what exists before the changes can leave it out for one of its sinks.
fn snapshots(pipelines: &[(&str, Value<'_>)]) {
    for (_, pipeline) in pipelines {
        let of_source = |key| pipeline.at("source").and_then(|source| source.at(key));
        let is =
            |key, text| of_source(key).is_some_and(|value| value.node().as_str() == Some(text));
        if is("mode", "all-versions-and-deletes") && is("start", "beginning") {
            continue;
        }
        let written = routes(pipeline).into_iter().filter_map(|route| route.at("snapshot"));
        for snapshot in written.filter(|snapshot| snapshot.node().as_bool() == Some(false)) {
            snapshot.problem(
                "there is no snapshot to leave out",
                "Leave it out, or write mode = \"all-versions-and-deletes\" and start = \"beginning\" \
                 in the source.",
            );
        }
    }
}

/// A sink that leaves existing documents as they are gives none of them a time to live.
fn lifetimes_of_marked<'d>(pipelines: &[(&str, Value<'d>)], targets: &[(&str, Value<'d>)]) {
    for route in pipelines.iter().flat_map(|(_, pipeline)| routes(pipeline)) {
        let Some(then) = route.at("soft_delete").and_then(|soft| soft.at("then")) else { continue };
        let Some(to) = route.at("to") else { continue };
        let target = targets.iter().find(|(name, _)| to.node().as_str() == Some(*name));
        let write = target.and_then(|(_, sink)| sink.at("write"));
        let leaves = write.is_some_and(|write| write.node().as_str() == Some("insert-if-absent"));
        if then.node().as_str() == Some("ttl") && leaves {
            then.problem(
                "the sink leaves documents that exist as they are, so that no marked document expires",
                "Write then = \"delete\", or write = \"upsert\" in the sink.",
            );
        }
    }
}
