//! Watches how long the source still has the history that the positions of a pipeline need.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::pipeline::Pipeline;
use crate::observe::HistoryLeft;

/// How often it is looked, and stored up to when the positions have everything: a start after an outage then
/// knows that to the minute. A short history is looked at more often.
const LONGEST: Duration = Duration::from_mins(1);
const SHORTEST: Duration = Duration::from_secs(1);
const TIMES_IN_A_HISTORY: u32 = 100;

/// When the positions with which each sink is opened had everything. Those of a sink that has none begin now, or
/// where those of the others are. In seconds since the epoch.
pub(super) fn opened_at(names: &[&str], stored: &BTreeMap<String, i64>, now: i64) -> Vec<i64> {
    let others = names.iter().filter_map(|name| stored.get(*name)).min().copied().unwrap_or(now);
    names.iter().map(|name| stored.get(*name).copied().unwrap_or(others)).collect()
}

/// Tells it in the log, and stores it, for as long as it is polled.
pub(super) async fn watch(pipeline: &Pipeline) -> Infallible {
    let Some(history) = pipeline.settings.history else { return std::future::pending().await };
    let mut tick = interval((history / TIMES_IN_A_HISTORY).clamp(SHORTEST, LONGEST));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = jiff::Timestamp::now().as_second();
        let left = pipeline.meter.history_left(now);
        let mut current_at = BTreeMap::new();
        for (number, sink) in pipeline.meter.sinks().into_iter().enumerate() {
            let of_sink = left.iter().filter(|left| left.sink == number);
            let Some(least) = of_sink.min_by_key(|left| left.current_at) else { continue };
            let HistoryLeft { current_at: at, .. } = least;
            current_at.insert(sink.sink.clone(), *at);
            sink.history_log.note(&sink.pipeline, &sink.sink, least, history);
        }
        // A failure is one of the disk, of which the positions tell; the next time stores it.
        let stored = pipeline.ports.positions.store_current(&pipeline.settings.name, &current_at);
        if let Err(error) = stored.await {
            debug!(pipeline = pipeline.settings.name, %error, "up to when positions have everything is not stored");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::opened_at;

    #[test]
    fn a_sink_without_positions_begins_now_or_where_the_others_are() {
        let stored = |rows: &[(&str, i64)]| -> BTreeMap<String, i64> {
            rows.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect()
        };
        let names = ["archive", "events"];
        assert_eq!(opened_at(&names, &stored(&[]), 100), [100, 100]);
        assert_eq!(opened_at(&names, &stored(&[("archive", 7)]), 100), [7, 7]);
        assert_eq!(opened_at(&names, &stored(&[("archive", 7), ("events", 9)]), 100), [7, 9]);
        assert_eq!(opened_at(&names, &stored(&[("other", 7)]), 100), [100, 100]);
    }
}
