//! Shows the progress to the operator: a bar on a terminal, log lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::limit::Limit;
use super::meter::Meter;
use super::pipeline_sink::Straggler;
use super::progress_sampler::{BudgetRate, Progress, ProgressSampler};
use super::rounding::{hundredths, tenths};
use crate::model::Label;

/// How often a line is logged if standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often the bar is budget.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// The length of the bar in steps.
const STEPS: f64 = 1000.0;

/// The bar on the terminal, for log lines that are written to the same terminal.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Reports the progress until stopped.
pub async fn report_progress(meter: Arc<Meter>, stop: CancellationToken) {
    let bar = std::io::stderr().is_terminal().then(bar);
    show_bar(bar.clone());
    let every = if bar.is_some() { BAR_EVERY } else { LINE_EVERY };
    let mut sampler = ProgressSampler::new(Arc::clone(&meter));
    while let Some(trigger) = stop.run_until_cancelled(next_report(every, &meter)).await {
        let progress = sampler.sample();
        if let Some(bar) = &bar {
            draw(bar, &progress);
        }
        if trigger == Trigger::Request || bar.is_none() {
            log(&progress);
        }
    }
    show_bar(None);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Why a report is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Interval,
    /// The operator asked for it (SIGUSR1).
    Request,
}

async fn next_report(every: Duration, meter: &Meter) -> Trigger {
    tokio::select! {
        () = tokio::time::sleep(every) => Trigger::Interval,
        () = meter.progress_requested().notified() => Trigger::Request,
    }
}

/// Hides the bar while `write` writes to the terminal.
pub(super) fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn show_bar(bar: Option<ProgressBar>) {
    *SHOWN.lock() = bar;
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // The template is a constant that parses; if it did not, the default style would be used.
    if let Ok(style) = ProgressStyle::with_template("{bar:24.cyan/blue} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a constant")]
    bar.set_length(STEPS as u64);
    bar
}

fn draw(bar: &ProgressBar, progress: &Progress) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to STEPS")]
    bar.set_position((progress.totals.done * STEPS) as u64);
    bar.set_message(message(progress));
}

/// The text next to the bar.
fn message(progress: &Progress) -> String {
    let Progress { totals, rates, remaining, stragglers } = progress;
    let of =
        |budget: Option<f64>| budget.map_or_else(String::new, |budget| format!("/{budget:.0}"));
    let eta = match remaining {
        _ if totals.ranges > 0 && totals.caught_up == totals.ranges => "caught up".to_owned(),
        Some(left) => format!("ETA {}", HumanDuration(*left)),
        None => "ETA -".to_owned(),
    };
    let letters = match totals.dead_letters_stored {
        0 => String::new(),
        n => format!("  {} DEAD LETTERS", HumanCount(n)),
    };
    let held_back = match &rates.limit {
        None | Some(Limit::Nothing) => String::new(),
        Some(limit) => format!(" \u{b7} held back by {limit}"),
    };
    let behind = match stragglers.as_slice() {
        [] => String::new(),
        _ => format!(" \u{b7} behind: {}", names(stragglers)),
    };
    format!(
        "{} documents  {:.0}/s  lag {} s  RU/s {:.0}{} read {:.0}{} written  \
         {eta}{letters}{behind}{held_back}",
        HumanCount(totals.delivered),
        rates.delivered,
        totals.lag_seconds,
        rates.source_ru,
        of(rates.source_budget),
        rates.target_ru,
        of(rates.target_budget),
    )
}

fn log(progress: &Progress) {
    let Progress { totals, rates, remaining, stragglers } = progress;
    for budget in &rates.budgets {
        log_budget(budget);
    }
    for straggler in stragglers {
        log_straggler(straggler);
    }
    let behind = (!stragglers.is_empty()).then(|| names(stragglers));
    let held_back_by = rates.limit.as_ref().map(ToString::to_string);
    info!(
        read = totals.read,
        delivered = totals.delivered,
        filtered = totals.filtered,
        dead_letters = totals.dead_letters,
        dead_letters_stored = totals.dead_letters_stored,
        per_second = tenths(rates.delivered),
        lag_seconds = totals.lag_seconds,
        source_ru_per_second = tenths(rates.source_ru),
        source_budget = rates.source_budget.map(tenths),
        target_ru_per_second = tenths(rates.target_ru),
        target_budget = rates.target_budget.map(tenths),
        throttled = totals.source_throttled + totals.target_throttled,
        expected_to_charged = rates.expected_to_charged.map(hundredths),
        behind = behind.as_deref(),
        held_back_by = held_back_by.as_deref(),
        ranges = totals.ranges,
        caught_up = totals.caught_up,
        eta_seconds = remaining.map(|left| left.as_secs()),
        "progress"
    );
}

fn names(stragglers: &[Straggler]) -> String {
    let name = |one: &Straggler| format!("{} ({} s)", one.sink, one.lag_seconds);
    stragglers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Logs one sink that reads separately.
fn log_straggler(straggler: &Straggler) {
    info!(
        pipeline = straggler.pipeline,
        sink = straggler.sink,
        lag_seconds = straggler.lag_seconds,
        ranges = straggler.ranges,
        catching_up = straggler.catching_up,
        spooled_bytes = straggler.buffered_bytes,
        read_again = straggler.reread,
        read_again_ru = tenths(straggler.reread_charge),
        "behind"
    );
}

/// Logs the request units of one direction of one container.
fn log_budget(budget: &BudgetRate) {
    debug!(
        container = budget.meter.container,
        direction = budget.meter.direction.name(),
        ru_per_second = tenths(budget.rate),
        budget = budget.budget.map(tenths),
        requests = budget.requests,
        throttled = budget.throttled,
        expected_to_charged = budget.expected_to_charged.map(hundredths),
        "budget"
    );
}

#[cfg(test)]
mod tests;
