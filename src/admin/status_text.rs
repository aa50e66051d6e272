//! Formats the status as text for a terminal.

use std::fmt::{self, Write};

use indicatif::{HumanBytes, HumanCount};

use super::health::{Cause, Reason};
use super::report::{
    BudgetReport, Failure, PipelineReport, PipelineSinkReport, SinkReport, StatusReport,
};
use crate::observe::Rough;

/// The report as lines of text.
pub fn status_text(report: &StatusReport) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    write(&mut out, report).ok();
    out
}

fn write(out: &mut String, report: &StatusReport) -> fmt::Result {
    let StatusReport { version, phase, ready, alive, .. } = report;
    let up = humantime::format_duration(std::time::Duration::from_secs(report.uptime_seconds));
    let health = match (alive, ready) {
        (false, _) => "STUCK",
        (true, true) => "ready",
        (true, false) => "NOT READY",
    };
    writeln!(out, "cosmos-bridge {version}  {phase} for {up}  {health}")?;
    for reason in &report.reasons {
        writeln!(out, "  {}", sentence(reason))?;
    }
    if let Some(held_back_by) = &report.held_back_by {
        writeln!(out, "held back by {held_back_by}")?;
    }
    for one in &report.pipelines {
        pipeline(out, one)?;
    }
    if !report.sinks.is_empty() {
        writeln!(out, "\nsinks")?;
    }
    for one in &report.sinks {
        sink(out, one)?;
    }
    if !report.budgets.is_empty() {
        writeln!(out, "\nrequest units")?;
    }
    for one in &report.budgets {
        budget(out, one)?;
    }
    Ok(())
}

pub(super) fn sentence(reason: &Reason) -> String {
    let Reason { cause, pipeline, sink, range, for_seconds } = reason;
    let seconds = for_seconds.unwrap_or_default();
    let of = |name: &Option<String>| name.clone().unwrap_or_else(|| "all".to_owned());
    match cause {
        Cause::Starting => match pipeline {
            Some(pipeline) => format!("pipeline {pipeline} has not started to read"),
            None => "the bridge is starting".to_owned(),
        },
        Cause::Stopping => "the bridge is stopping".to_owned(),
        Cause::SinkDown => format!("sink {} has failed for {seconds} s", of(sink)),
        Cause::NoProgress => format!(
            "pipeline {}, sink {}: no progress in {} for {seconds} s",
            of(pipeline),
            of(sink),
            of(range)
        ),
        Cause::Parked => {
            format!("pipeline {}, sink {}: {} is parked", of(pipeline), of(sink), of(range))
        }
    }
}

fn pipeline(out: &mut String, pipeline: &PipelineReport) -> fmt::Result {
    let PipelineReport { name, read, filtered, ranges, .. } = pipeline;
    let (read, filtered) = (HumanCount(*read), HumanCount(*filtered));
    writeln!(out, "\npipeline {name}  {read} read  {filtered} filtered  {ranges} feed ranges")?;
    failure(out, "reading fails", pipeline.reading.as_ref())?;
    failure(out, "storing fails", pipeline.storing.as_ref())?;
    for parked in &pipeline.parked {
        let sink = parked.sink.as_deref().unwrap_or("all sinks");
        writeln!(out, "  parked {} for {sink}: {}", parked.range, parked.error)?;
    }
    for one in &pipeline.sinks {
        pipeline_sink(out, one, *ranges)?;
    }
    Ok(())
}

fn pipeline_sink(out: &mut String, sink: &PipelineSinkReport, ranges: usize) -> fmt::Result {
    let PipelineSinkReport { name, state, lag_seconds, delivered, per_second, .. } = sink;
    let documents =
        sink.lag_documents.map_or_else(|| "?".to_owned(), |n| HumanCount(n).to_string());
    writeln!(
        out,
        "  -> {name}  {state}  lag {lag_seconds} s, {documents} documents  {} delivered, {per_second}/s",
        HumanCount(*delivered),
    )?;
    if sink.dead_letters_stored > 0 {
        let (stored, new) = (sink.dead_letters_stored, sink.dead_letters);
        let (stored, new) = (HumanCount(stored), HumanCount(new));
        writeln!(out, "     {stored} DEAD LETTERS  {new} since the start")?;
    }
    if sink.ledger.missing != 0 {
        writeln!(out, "     {} CHANGES MISSING in the ledger", sink.ledger.missing)?;
    }
    if let (Some(seconds), Some(range)) = (sink.history_left_seconds, &sink.history_left_range) {
        let left = Rough(std::time::Duration::from_secs(seconds));
        writeln!(out, "     the history of the source has {left} left for {range}")?;
    }
    if sink.sweep_due {
        writeln!(out, "     a sweep for missed deletes is due or runs")?;
    }
    if sink.ranges_behind > 0 {
        writeln!(
            out,
            "     behind in {} of {ranges} feed ranges, catching up in {}  {} in memory  {} read again",
            sink.ranges_behind,
            sink.ranges_catching_up,
            HumanBytes(sink.spool_bytes as u64),
            HumanCount(sink.read_again),
        )?;
    }
    Ok(())
}

fn sink(out: &mut String, sink: &SinkReport) -> fmt::Result {
    let SinkReport { name, requests, throttled, writing } = sink;
    let (requests, throttled) = (HumanCount(*requests), HumanCount(*throttled));
    writeln!(out, "  {name}  {requests} requests  {throttled} throttled")?;
    failure(out, "  fails", writing.as_ref())
}

fn failure(out: &mut String, what: &str, failure: Option<&Failure>) -> fmt::Result {
    match failure {
        Some(Failure { error, for_seconds }) => {
            writeln!(out, "  {what} for {for_seconds} s: {error}")
        }
        None => Ok(()),
    }
}

fn budget(out: &mut String, budget: &BudgetReport) -> fmt::Result {
    let BudgetReport { container, direction, ru_per_second, throttled, .. } = budget;
    let of = budget.budget.map_or_else(|| "unlimited".to_owned(), |rate| format!("{rate:.0}"));
    writeln!(out, "  {direction} {container}  {ru_per_second} of {of} RU/s  {throttled} throttled")
}
