//! Progress for people who watch: a bar on a terminal, a line now and again elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tracing::{debug, info};

use super::watch::{Drawn, Progress, Watch};
use super::{Limit, Meter, Straggler};
use tokio_util::sync::CancellationToken;

/// How often a line is logged where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often the bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// Steps of the bar.
const STEPS: f64 = 1000.0;

/// The bar on the terminal, for those who write there too.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Reports until stopped.
pub async fn show(meter: Arc<Meter>, stop: CancellationToken) {
    let bar = std::io::stderr().is_terminal().then(bar);
    show_bar(bar.clone());
    let every = if bar.is_some() { BAR_EVERY } else { LINE_EVERY };
    let mut watch = Watch::new(Arc::clone(&meter));
    while let Some(due) = stop.run_until_cancelled(due(every, &meter)).await {
        let progress = watch.look();
        if let Some(bar) = &bar {
            draw(bar, &progress);
        }
        if due == Due::Asked || bar.is_none() {
            log(&progress);
        }
    }
    show_bar(None);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Why it is time to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Usual,
    /// Somebody wants to know now.
    Asked,
}

async fn due(every: Duration, meter: &Meter) -> Due {
    tokio::select! {
        () = tokio::time::sleep(every) => Due::Usual,
        () = meter.look_now().notified() => Due::Asked,
    }
}

/// Writes to the terminal with the bar out of the way.
pub(super) fn beside_bar<T>(write: impl FnOnce() -> T) -> T {
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
    // A template that does not parse would be a defect; the plain style is shown then.
    if let Ok(style) = ProgressStyle::with_template("{bar:24.cyan/blue} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a constant")]
    bar.set_length(STEPS as u64);
    bar
}

fn draw(bar: &ProgressBar, progress: &Progress) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
    bar.set_position((progress.totals.done * STEPS) as u64);
    bar.set_message(message(progress));
}

/// What stands beside the bar.
fn message(progress: &Progress) -> String {
    let Progress { totals, measured, remaining, stragglers } = progress;
    let of = |budget: Option<f64>| budget.map_or_else(String::new, |all| format!("/{all:.0}"));
    let eta = match remaining {
        _ if totals.ranges > 0 && totals.caught_up == totals.ranges => "caught up".to_owned(),
        Some(left) => format!("ETA {}", HumanDuration(*left)),
        None => "ETA -".to_owned(),
    };
    let letters = match totals.dead_letters {
        0 => String::new(),
        n => format!("  {} DEAD LETTERS", HumanCount(n)),
    };
    let held_back = match &measured.limit {
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
        measured.rate,
        totals.lag_seconds,
        measured.source_rate,
        of(measured.source_budget),
        measured.target_rate,
        of(measured.target_budget),
    )
}

fn log(progress: &Progress) {
    let Progress { totals, measured, remaining, stragglers } = progress;
    for drawn in &measured.budgets {
        log_budget(drawn);
    }
    for straggler in stragglers {
        log_straggler(straggler);
    }
    let behind = (!stragglers.is_empty()).then(|| names(stragglers));
    let held_back_by = measured.limit.as_ref().map(ToString::to_string);
    info!(
        read = totals.read,
        delivered = totals.delivered,
        filtered = totals.filtered,
        dead_letters = totals.dead_letters,
        per_second = tenths(measured.rate),
        lag_seconds = totals.lag_seconds,
        source_ru_per_second = tenths(measured.source_rate),
        source_budget = measured.source_budget.map(tenths),
        target_ru_per_second = tenths(measured.target_rate),
        target_budget = measured.target_budget.map(tenths),
        throttled = totals.source_throttled + totals.target_throttled,
        expected_to_charged = measured.expected_to_charged.map(hundredths),
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

/// One sink that goes its own way.
fn log_straggler(straggler: &Straggler) {
    info!(
        pipeline = straggler.pipeline,
        sink = straggler.sink,
        lag_seconds = straggler.lag_seconds,
        ranges = straggler.ranges,
        catching_up = straggler.catching_up,
        spooled_bytes = straggler.spooled,
        read_again = straggler.reread,
        read_again_ru = tenths(straggler.reread_charge),
        "behind"
    );
}

/// The sums of `progress`, for one container.
fn log_budget(drawn: &Drawn) {
    debug!(
        container = drawn.meter.container,
        direction = drawn.meter.direction.name(),
        ru_per_second = tenths(drawn.rate),
        budget = drawn.budget.map(tenths),
        requests = drawn.requests,
        throttled = drawn.throttled,
        expected_to_charged = drawn.expected_to_charged.map(hundredths),
        "budget"
    );
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
