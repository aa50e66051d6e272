//! Decides whether the bridge is ready. Pure: values in, values out.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::model::Label;
use crate::observe::{Meter, Phase};

/// One reason why the bridge is not ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// How long the reason has existed.
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

impl Label for Cause {
    const ALL: &'static [Self] =
        &[Self::Starting, Self::Stopping, Self::SinkDown, Self::NoProgress, Self::Parked];

    fn name(self) -> &'static str {
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

/// How long a condition may last before the bridge is not ready.
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

/// Why the bridge is not ready; empty if it is. `now` in seconds since the epoch.
pub(super) fn unready_reasons(meter: &Meter, limits: Limits, now: i64) -> Vec<Reason> {
    match meter.phase() {
        Phase::Starting => return vec![Reason::of(Cause::Starting)],
        Phase::Stopping => return vec![Reason::of(Cause::Stopping)],
        Phase::Running => {}
    }
    let mut reasons = Vec::new();
    for sink in meter.sinks() {
        if let Some(failing_for) =
            sink.write_failures.failing_for().filter(|time| *time >= limits.sink_down)
        {
            reasons.push(Reason {
                sink: Some(sink.name.clone()),
                for_seconds: Some(failing_for.as_secs()),
                ..Reason::of(Cause::SinkDown)
            });
        }
    }
    for pipeline in meter.pipelines() {
        let of = |cause| Reason { pipeline: Some(pipeline.name.clone()), ..Reason::of(cause) };
        let (ranges, sinks) = (pipeline.ranges(), pipeline.sinks());
        let parked = pipeline.parked();
        if ranges.is_empty() && parked.is_empty() && !pipeline.ended.load(Relaxed) {
            reasons.push(of(Cause::Starting));
        }
        for parked in parked {
            let (sink, range) = (parked.sink, Some(parked.range));
            reasons.push(Reason { sink, range, ..of(Cause::Parked) });
        }
        for range in ranges {
            for (status, sink) in range.sink_statuses(now).iter().zip(&sinks) {
                if status.is_parked || status.since_progress < limits.no_progress {
                    continue;
                }
                reasons.push(Reason {
                    sink: Some(sink.sink.clone()),
                    range: Some(range.range.clone()),
                    for_seconds: Some(status.since_progress.as_secs()),
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

    use super::{Limits, Reason, unready_reasons};
    use crate::model::{Label, SinkProgress};
    use crate::observe::{Meter, Parked, Phase, PipelineMeter, ScriptedRange, SinkMeter};

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);
    const LIMITS: Limits = Limits { sink_down: MINUTE, no_progress: Duration::from_secs(90) };

    /// One pipeline with one sink.
    struct Run {
        meter: Meter,
        pipeline: Arc<PipelineMeter>,
        range: ScriptedRange,
        sink: Arc<SinkMeter>,
    }

    impl Run {
        fn new() -> Self {
            let meter = Meter::default();
            let pipeline = Arc::new(PipelineMeter::new("orders"));
            pipeline.add_sink("archive");
            let range = ScriptedRange::new();
            let sink = Arc::new(SinkMeter::new("archive"));
            meter.add_pipeline(Arc::clone(&pipeline));
            meter.add_sink(Arc::clone(&sink));
            Self { meter, pipeline, range, sink }
        }

        fn start(&self) {
            self.meter.set_phase(Phase::Running);
            self.pipeline.replace_range(None, &[Arc::clone(&self.range.meter)]);
            self.catch_up();
        }

        /// The feed has nothing newer.
        fn catch_up(&self) {
            let had_all = Some(Instant::now());
            self.note(SinkProgress { is_caught_up: true, had_all, ..SinkProgress::default() });
            self.range.answered();
        }

        /// The sink accepts a page.
        fn accept_page(&self) {
            self.note(SinkProgress { oldest: Some(0), ..SinkProgress::default() });
        }

        fn note(&self, progress: SinkProgress) {
            self.range.sink(SinkProgress { moved_at: Some(Instant::now()), ..progress });
        }

        fn reasons(&self) -> String {
            let word = |reason: Reason| {
                let Reason { cause, pipeline, sink, range, for_seconds } = reason;
                let parts = [pipeline, sink, range, for_seconds.map(|time| time.to_string())];
                let parts = parts.map(|part| part.unwrap_or_else(|| "-".to_owned()));
                format!("{} {}", cause.name(), parts.join(" "))
            };
            let reasons = unready_reasons(&self.meter, LIMITS, 0).into_iter().map(word);
            reasons.collect::<Vec<_>>().join(", ")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_not_ready_before_it_reads_nor_while_it_stops() {
        let run = Run::new();
        assert_eq!(run.reasons(), "starting - - - -");
        run.meter.set_phase(Phase::Running);
        assert_eq!(run.reasons(), "starting orders - - -");
        run.start();
        assert_eq!(run.reasons(), "");
        run.meter.set_phase(Phase::Stopping);
        assert_eq!(run.reasons(), "stopping - - - -");
    }

    /// Rows: what happens, how many seconds pass, and the reasons after that.
    #[tokio::test(start_paused = true)]
    async fn reasons_come_at_their_limit_and_go_with_their_cause() {
        type Step = (&'static str, fn(&Run), u64, &'static str);
        let steps: &[Step] = &[
            ("it polls", Run::catch_up, 60, ""),
            ("it polls", Run::catch_up, 0, ""),
            ("the sink fails", |run| run.sink.write_failures.failed("refused"), 59, ""),
            ("it polls", Run::catch_up, 1, "sink_down - archive - 60"),
            (
                "it fails on",
                |run| run.sink.write_failures.failed("no"),
                5,
                "sink_down - archive - 65",
            ),
            ("it works", |run| run.sink.write_failures.recovered(), 5, ""),
            ("a page that the sink does not write", Run::accept_page, 89, ""),
            ("nothing", |_| {}, 1, "no_progress orders archive [,FF) 90"),
            // Responses of the feed are no progress while the sink writes nothing.
            ("a response", |run| run.range.answered(), 1, "no_progress orders archive [,FF) 91"),
            ("another page", Run::accept_page, 0, ""),
            ("all is safe", Run::catch_up, 89, ""),
            ("polls fail", |run| run.range.failed(), 1, "no_progress orders archive [,FF) 90"),
            ("a poll succeeds", |run| run.range.answered(), 0, ""),
            // The same without an error.
            ("polls get no response", |_| {}, 90, "no_progress orders archive [,FF) 90"),
            ("a poll succeeds", Run::catch_up, 0, ""),
        ];
        let run = Run::new();
        run.start();
        for (what, happens, seconds, expected) in steps {
            happens(&run);
            advance(SECOND * u32::try_from(*seconds).unwrap()).await;
            assert_eq!(run.reasons(), *expected, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_range_needs_an_operator_and_is_one_reason() {
        let run = Run::new();
        run.start();
        let parked = |sink: Option<&str>| Parked {
            range: "[,FF)".to_owned(),
            sink: sink.map(str::to_owned),
            error: "gone".to_owned(),
        };
        run.pipeline.park(parked(Some("archive")));
        run.note(SinkProgress { is_parked: true, oldest: Some(0), ..SinkProgress::default() });
        advance(5 * MINUTE).await;
        assert_eq!(run.reasons(), "parked orders archive [,FF) -");
        run.pipeline.park(parked(None));
        run.pipeline.replace_range(Some(&run.range.meter), &[]);
        assert_eq!(run.reasons(), "parked orders archive [,FF) -, parked orders - [,FF) -");
    }
}
