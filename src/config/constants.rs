//! Constants of routes that no target accepts.

use cosmos_bridge_cosmos::{TTL_MAX, is_ttl};
use cosmos_bridge_options::{Value, read_json};

/// Checks what routes to these Cosmos DB sinks set as the time to live of each document.
pub(super) fn lifetimes<'d>(routes: &[Value<'d>], targets: &[(&str, Value<'d>)]) {
    for route in routes {
        let to = route.at("to");
        let to = to.as_ref().and_then(|to| to.node().as_str());
        if !targets.iter().any(|(name, _)| to == Some(*name)) {
            continue;
        }
        let Some(ttl) = route.at("set").and_then(|set| set.at("/ttl")) else { continue };
        let seconds = ttl.quietly(read_json).and_then(|seconds| seconds.as_i64());
        if !seconds.is_some_and(is_ttl) {
            ttl.problem(
                "the service accepts no such `ttl`: each document would become a dead letter",
                format!("Write a number of seconds from 1 to {TTL_MAX}, or -1 for no expiry."),
            );
        }
    }
}
