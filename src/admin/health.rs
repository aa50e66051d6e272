//! Whether the bridge is ready. Values in, values out.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::observe::{Meter, Phase};

/// Something because of which the bridge is not ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// How long it has been so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Starting,
    Stopping,
    SinkDown,
    NoProgress,
    Parked,
}

impl Cause {
    pub(super) const ALL: [Self; 5] =
        [Self::Starting, Self::Stopping, Self::SinkDown, Self::NoProgress, Self::Parked];

    /// As metrics and answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::SinkDown => "sink_down",
            Self::NoProgress => "no_progress",
            Self::Parked => "parked",
        }
    }
}

impl Reason {
    fn of(cause: Cause) -> Self {
        Self { cause, pipeline: None, sink: None, range: None, for_seconds: None }
    }
}

/// How long something may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) sink_down: Duration,
    pub(super) no_progress: Duration,
}

impl From<&config::Admin> for Limits {
    fn from(admin: &config::Admin) -> Self {
        Self { sink_down: admin.sink_down, no_progress: admin.no_progress }
    }
}

/// Why the bridge is not ready; nothing if it is. `now` in seconds since the epoch.
pub(super) fn reasons(meter: &Meter, limits: Limits, now: i64) -> Vec<Reason> {
    match meter.phase() {
        Phase::Starting => return vec![Reason::of(Cause::Starting)],
        Phase::Stopping => return vec![Reason::of(Cause::Stopping)],
        Phase::Running => {}
    }
    let mut reasons = Vec::new();
    for sink in meter.sinks() {
        if let Some(lasting) = sink.trouble.lasting().filter(|time| *time >= limits.sink_down) {
            reasons.push(Reason {
                sink: Some(sink.name.clone()),
                for_seconds: Some(lasting.as_secs()),
                ..Reason::of(Cause::SinkDown)
            });
        }
    }
    for pipeline in meter.pipelines() {
        let of = |cause| Reason { pipeline: Some(pipeline.name.clone()), ..Reason::of(cause) };
        let (ranges, follows) = (pipeline.ranges(), pipeline.follows());
        let parked = pipeline.parked();
        if ranges.is_empty() && parked.is_empty() && !pipeline.ended.load(Relaxed) {
            reasons.push(of(Cause::Starting));
        }
        for parked in parked {
            let (sink, range) = (parked.sink, Some(parked.range));
            reasons.push(Reason { sink, range, ..of(Cause::Parked) });
        }
        for range in ranges {
            for (sight, follow) in range.sights(now).iter().zip(&follows) {
                if sight.is_parked || sight.since_progress < limits.no_progress {
                    continue;
                }
                reasons.push(Reason {
                    sink: Some(follow.sink.clone()),
                    range: Some(range.range.clone()),
                    for_seconds: Some(sight.since_progress.as_secs()),
                    ..of(Cause::NoProgress)
                });
            }
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Limits, Reason, reasons};
    use crate::observe::{
        Meter, Parked, Phase, PipelineMeter, RangeMeter, SinkMeter, SinkProgress,
    };

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);
    const LIMITS: Limits = Limits { sink_down: MINUTE, no_progress: Duration::from_secs(90) };

    /// One pipeline that copies to one sink, caught up.
    struct Run {
        meter: Meter,
        pipeline: Arc<PipelineMeter>,
        range: Arc<RangeMeter>,
        sink: Arc<SinkMeter>,
    }

    impl Run {
        fn new() -> Self {
            let meter = Meter::default();
            let pipeline = Arc::new(PipelineMeter::new("orders"));
            pipeline.add_sink("archive");
            let range = Arc::new(RangeMeter::new("[,FF)", 1));
            let sink = Arc::new(SinkMeter::new("archive"));
            meter.add_pipeline(Arc::clone(&pipeline));
            meter.add_sink(Arc::clone(&sink));
            Self { meter, pipeline, range, sink }
        }

        fn begins(&self) {
            self.meter.enters(Phase::Running);
            self.pipeline.replace_range(None, &[Arc::clone(&self.range)]);
            self.has_all();
        }

        /// The feed has nothing newer.
        fn has_all(&self) {
            self.range.answered(true);
            self.range.heard(true);
            self.notes(SinkProgress { has_all: true, ..SinkProgress::default() });
        }

        /// A page came.
        fn takes(&self) {
            self.range.answered(false);
            self.range.heard(false);
            self.notes(SinkProgress { oldest: Some(0), ..SinkProgress::default() });
        }

        fn notes(&self, reach: SinkProgress) {
            let moved = Some(Instant::now());
            self.range.note([SinkProgress { moved, ..reach }].into_iter());
        }

        fn told(&self) -> String {
            let word = |reason: Reason| {
                let Reason { cause, pipeline, sink, range, for_seconds } = reason;
                let parts = [pipeline, sink, range, for_seconds.map(|time| time.to_string())];
                let parts = parts.map(|part| part.unwrap_or_else(|| "-".to_owned()));
                format!("{} {}", cause.name(), parts.join(" "))
            };
            let told = reasons(&self.meter, LIMITS, 0).into_iter().map(word);
            told.collect::<Vec<_>>().join(", ")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_not_ready_before_it_reads_nor_while_it_stops() {
        let run = Run::new();
        assert_eq!(run.told(), "starting - - - -");
        run.meter.enters(Phase::Running);
        assert_eq!(run.told(), "starting orders - - -");
        run.begins();
        assert_eq!(run.told(), "");
        run.meter.enters(Phase::Stopping);
        assert_eq!(run.told(), "stopping - - - -");
    }

    /// Rows: what happens, how long it goes on, and what is told then.
    #[tokio::test(start_paused = true)]
    async fn reasons_come_at_their_limit_and_go_with_their_cause() {
        type Step = (&'static str, fn(&Run), u64, &'static str);
        let steps: &[Step] = &[
            ("it polls", Run::has_all, 60, ""),
            ("it polls", Run::has_all, 0, ""),
            ("the sink fails", |run| run.sink.trouble.failed("refused"), 59, ""),
            ("it polls", Run::has_all, 1, "sink_down - archive - 60"),
            ("it fails on", |run| run.sink.trouble.failed("no"), 5, "sink_down - archive - 65"),
            ("it works", |run| run.sink.trouble.recovered(), 5, ""),
            ("a page that nobody takes", Run::takes, 89, ""),
            ("nothing", |_| {}, 1, "no_progress orders archive [,FF) 90"),
            // That the feed is read tells nothing while the sink takes nothing.
            ("an answer", |run| run.range.answered(true), 1, "no_progress orders archive [,FF) 91"),
            ("another page", Run::takes, 0, ""),
            ("all is safe", Run::has_all, 89, ""),
            (
                "no poll is answered",
                |run| run.range.refused(),
                1,
                "no_progress orders archive [,FF) 90",
            ),
            ("one is", |run| run.range.answered(true), 0, ""),
            // Without an error either.
            ("no poll is answered", |_| {}, 90, "no_progress orders archive [,FF) 90"),
            ("one is", Run::has_all, 0, ""),
        ];
        let run = Run::new();
        run.begins();
        for (what, happens, seconds, told) in steps {
            happens(&run);
            advance(SECOND * u32::try_from(*seconds).unwrap()).await;
            assert_eq!(run.told(), *told, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_parked_needs_a_person_and_is_told_once() {
        let run = Run::new();
        run.begins();
        let parked = |sink: Option<&str>| Parked {
            range: "[,FF)".to_owned(),
            sink: sink.map(str::to_owned),
            error: "gone".to_owned(),
        };
        run.pipeline.park(parked(Some("archive")));
        run.notes(SinkProgress { is_parked: true, oldest: Some(0), ..SinkProgress::default() });
        advance(5 * MINUTE).await;
        assert_eq!(run.told(), "parked orders archive [,FF) -");
        run.pipeline.park(parked(None));
        run.pipeline.replace_range(Some(&run.range), &[]);
        assert_eq!(run.told(), "parked orders archive [,FF) -, parked orders - [,FF) -");
    }
}
