//! Rules about sweeps: what they need of sinks and routes.

use cosmos_bridge_options::Value;

use super::routes::routes;

/// Reports every violation.
pub(super) fn check<'d>(pipelines: &[(&str, Value<'d>)], targets: &[(&str, Value<'d>)]) {
    for (_, pipeline) in pipelines {
        let resync = pipeline.at("source").and_then(|source| source.at("on_lost_history"));
        let resync = resync.filter(|value| value.node().as_str() == Some("resync"));
        let every = pipeline.at("sweep").and_then(|sweep| sweep.at("every"));
        if let Some(written) = &resync {
            snapshots(pipeline, written);
        }
        for (written, without) in [(resync, "on_lost_history = \"park\""), (every, "no sweep")] {
            let Some(written) = written else { continue };
            let is_scheduled = without == "no sweep";
            if sinks(pipeline, targets, &written, without, is_scheduled) > 0 {
                deletes(pipeline, &written, without);
            }
            if pipeline.at("until").is_some() {
                written.problem(
                    "a sweep compares with what the source has now, also with deletes after `until`",
                    format!("Remove `until`, or write {without}."),
                );
            }
        }
    }
}

/// A sweep deletes what the source does not have, for whatever reason.
fn deletes(pipeline: &Value<'_>, written: &Value<'_>, without: &str) {
    let deletes = pipeline.at("deletes").filter(|deletes| deletes.node().as_str() != Some("all"));
    if deletes.is_some() {
        written.problem(
            "a sweep deletes every copy whose source document is gone, and `deletes` keeps some of them",
            format!("Write deletes = \"all\", or {without}."),
        );
    }
}

/// A resync sends what exists.
fn snapshots(pipeline: &Value<'_>, written: &Value<'_>) {
    let leaves_out = |route: &Value<'_>| {
        route.at("snapshot").is_some_and(|value| value.node().as_bool() == Some(false))
    };
    if routes(pipeline).iter().any(leaves_out) {
        written.problem(
            "where the history is lost, what exists is sent again, and a route with `snapshot = false` leaves it out",
            "Remove `snapshot = false`, or write on_lost_history = \"park\".",
        );
    }
}

/// How many sinks are swept. A sweep needs to know of which document a copy is.
fn sinks<'d>(
    pipeline: &Value<'d>,
    targets: &[(&str, Value<'d>)],
    written: &Value<'d>,
    without: &str,
    is_scheduled: bool,
) -> usize {
    let mut swept = 0;
    for route in routes(pipeline) {
        let Some(to) = route.at("to") else { continue };
        let target = targets.iter().find(|(name, _)| to.node().as_str() == Some(*name));
        let Some((name, sink)) = target else { continue };
        swept += 1;
        if sink.at("mirror").is_some() {
            written.problem(
                format!(
                    "sink `{name}` mirrors a container, where a document that the other side lacks may be new"
                ),
                format!("Write {without}."),
            );
        } else if sink.at("source_field").is_none() {
            written.problem(
                format!("sink `{name}` does not record which source document each copy is of, so that a \
                         sweep cannot tell which copies have to go"),
                format!("Write source_field = \"_source\" in [{}], or {without}.", sink.key()),
            );
        }
        if route.at("id").is_some() {
            written.problem(
                format!("a route changes the ids of sink `{name}`, so that a sweep cannot find the source \
                         documents"),
                format!("Remove `id` from the route, or write {without}."),
            );
        }
    }
    if is_scheduled && swept == 0 {
        written.problem(
            "no sink of this pipeline is a container, and only copies can be swept",
            "Remove the sweep.",
        );
    }
    swept
}
