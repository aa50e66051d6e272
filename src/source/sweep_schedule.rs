//! When a sink is swept: after its history was lost, and by a schedule.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::pipeline::Pipeline;
use super::state_write::until_written;
use super::sweep::{Sweep, Swept, SweptSink};
use crate::backoff::Backoff;
use crate::observe::{FailureLog, tenths};
use crate::state::{StateError, StoredSweep};

/// How often it is looked whether a sweep is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a sweep that failed, or that left copies of which it was not certain, is repeated; each time after twice as long.
const FIRST_REPEAT: Duration = Duration::from_mins(10);
const LAST_REPEAT: Duration = Duration::from_hours(24);

/// What is to be done about a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    No,
    /// The schedule begins now.
    Begin,
    Sweep,
}

fn due(stored: Option<StoredSweep>, every: Option<Duration>, now: i64) -> Due {
    let stored = stored.unwrap_or_default();
    if stored.resyncs > stored.swept {
        return Due::Sweep;
    }
    let Some(every) = every else { return Due::No };
    let Some(finished_at) = stored.finished_at else { return Due::Begin };
    let since = u64::try_from(now - finished_at).unwrap_or(0);
    if since >= every.as_secs() { Due::Sweep } else { Due::No }
}

/// What is to be done about each sink that may be swept, and how many losses of its history are known.
async fn all_due(pipeline: &Pipeline, now: i64) -> Result<Vec<(Due, i64)>, StateError> {
    let Pipeline { settings, ports, sinks, .. } = pipeline;
    let stored = ports.positions.sweeps(&settings.name).await?;
    let of = |swept: &SweptSink| {
        let known = stored.get(&sinks[swept.sink].buffer.meter().sink).copied();
        (due(known, swept.every, now), known.unwrap_or_default().resyncs)
    };
    Ok(ports.sweeps.iter().map(of).collect())
}

/// Tells which sweeps are due, before anything is read.
pub(super) async fn resume(pipeline: &Pipeline) -> Result<(), StateError> {
    if pipeline.ports.sweeps.is_empty() {
        return Ok(());
    }
    let due = all_due(pipeline, jiff::Timestamp::now().as_second()).await?;
    publish(pipeline, &due, &HashMap::new());
    Ok(())
}

/// A sweep that has to be repeated.
struct Tried {
    /// The losses of the history that were known.
    losses: i64,
    backoff: Backoff,
    not_before: Instant,
}

/// A sweep that was tried for the same losses, and has to be repeated, holds nothing up: that may take long.
fn publish(pipeline: &Pipeline, due: &[(Due, i64)], tried: &HashMap<usize, Tried>) {
    let mut holding = 0;
    for (swept, (due, losses)) in pipeline.ports.sweeps.iter().zip(due) {
        let is_due = *due == Due::Sweep;
        pipeline.sinks[swept.sink].buffer.meter().set_sweep_due(is_due);
        let was_tried = tried.get(&swept.sink).is_some_and(|tried| tried.losses == *losses);
        holding += usize::from(is_due && !was_tried);
    }
    pipeline.progress.set_sweeps(holding);
}

/// Sweeps when it is due, for as long as it is polled.
pub(super) async fn watch(pipeline: &Pipeline) -> Infallible {
    let Pipeline { settings, ports, sinks, .. } = pipeline;
    let may_become_due = |swept: &SweptSink| {
        settings.resyncs || swept.every.is_some() || sinks[swept.sink].buffer.meter().is_sweep_due()
    };
    if !ports.sweeps.iter().any(may_become_due) {
        return std::future::pending().await;
    }
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tried = HashMap::new();
    loop {
        tick.tick().await;
        let all = match all_due(pipeline, jiff::Timestamp::now().as_second()).await {
            Ok(all) => all,
            Err(error) => {
                debug!(pipeline = settings.name, %error, "the sweeps cannot be read from the state");
                continue;
            }
        };
        publish(pipeline, &all, &tried);
        for (swept, (due, losses)) in ports.sweeps.iter().zip(all) {
            match due {
                Due::No => {}
                Due::Begin => done(pipeline, swept, losses).await,
                Due::Sweep => sweep_once(pipeline, swept, losses, &mut tried).await,
            }
        }
    }
}

async fn sweep_once(
    pipeline: &Pipeline,
    swept: &SweptSink,
    losses: i64,
    tried: &mut HashMap<usize, Tried>,
) {
    let before = tried.remove(&swept.sink).filter(|tried| tried.losses == losses);
    let waits = before.as_ref().is_some_and(|tried| Instant::now() < tried.not_before);
    if waits || !may_sweep(pipeline, swept) {
        tried.extend(before.map(|before| (swept.sink, before)));
    } else if sweep(pipeline, swept).await == Some(true) {
        done(pipeline, swept, losses).await;
    } else {
        let mut backoff =
            before.map_or_else(|| Backoff::new(FIRST_REPEAT, LAST_REPEAT), |tried| tried.backoff);
        let not_before = Instant::now() + backoff.next_wait(None);
        tried.insert(swept.sink, Tried { losses, backoff, not_before });
    }
}

/// Only once what exists is copied: until then writes of it are on their way, which a sweep would not see.
fn may_sweep(pipeline: &Pipeline, swept: &SweptSink) -> bool {
    let ranges = pipeline.meter.ranges();
    let is_copying = ranges.iter().any(|range| range.is_copying(swept.sink));
    !ranges.is_empty() && !is_copying && !pipeline.ports.stop.is_cancelled()
}

/// Stores that a sweep has repaired these losses, or that a schedule begins.
async fn done(pipeline: &Pipeline, swept: &SweptSink, losses: i64) {
    let Pipeline { settings, ports, meter, sinks, .. } = pipeline;
    let sink = &sinks[swept.sink].buffer.meter().sink;
    let now = jiff::Timestamp::now().as_second();
    let write = || ports.positions.note_swept(&settings.name, sink, losses, now);
    until_written(&meter.store_failures, &ports.stop, write).await;
}

/// True if the sweep has ended and is certain of every copy. `None` when stopped.
async fn sweep(pipeline: &Pipeline, swept: &SweptSink) -> Option<bool> {
    let Pipeline { ports, settings, .. } = pipeline;
    let meter = pipeline.sinks[swept.sink].buffer.meter();
    let (pipeline, sink) = (&settings.name, &meter.sink);
    info!(pipeline, sink, "sweeping: looking for copies whose source documents are gone");
    let began = Instant::now();
    let (source_budget, stop) = (&*ports.governor, &ports.stop);
    let failures = FailureLog::new(format!("sweeping sink `{sink}` of pipeline `{pipeline}`"));
    let result = Sweep { sink: swept, source_budget, meter, failures, stop }.run().await?;
    let Swept { ids, recorded, deleted, unknown, kept, uncertain, charge, delete_charge } =
        match result {
            Ok(done) => done,
            Err(fault) => {
                let hint = fault.hint();
                warn!(pipeline, sink, error = %fault, hint, "a sweep failed; it is repeated later");
                return Some(false);
            }
        };
    let (ru, delete_ru) = (tenths(charge), tenths(delete_charge));
    let seconds = tenths(began.elapsed().as_secs_f64());
    info!(pipeline, sink, ids, deleted, kept, uncertain, unknown, ru, delete_ru, seconds, "swept");
    let hint = "They are of other containers, or a route changes the id or a key field of the source: \
                docs/sweep.md.";
    if unknown > 0 && unknown == recorded {
        warn!(
            pipeline,
            sink, unknown, hint, "nothing tells which documents the copies are of; they stay"
        );
    } else if unknown > 0 {
        info!(
            pipeline,
            sink, unknown, hint, "nothing tells which documents some copies are of; they stay"
        );
    }
    Some(uncertain == 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Due, due};
    use crate::state::StoredSweep;

    #[test]
    fn a_sink_is_swept_after_each_loss_and_by_its_schedule() {
        let stored =
            |resyncs, swept, finished_at| Some(StoredSweep { resyncs, swept, finished_at });
        let hour = Some(Duration::from_hours(1));
        for (stored, every, expected) in [
            (None, None, Due::No),
            (None, hour, Due::Begin),
            (stored(0, 0, Some(0)), None, Due::No),
            (stored(1, 0, None), None, Due::Sweep),
            (stored(1, 0, Some(9_999)), hour, Due::Sweep),
            (stored(1, 1, Some(6_401)), hour, Due::No),
            (stored(1, 1, Some(6_400)), hour, Due::Sweep),
            (stored(2, 1, Some(9_999)), None, Due::Sweep),
            // The clock went back.
            (stored(0, 0, Some(20_000)), hour, Due::No),
        ] {
            assert_eq!(due(stored, every, 10_000), expected, "{stored:?} {every:?}");
        }
    }
}
