//! Shows the progress to the operator: lines at the bottom of a terminal, log lines elsewhere.

mod screen;
mod text;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::screen::Screen;
use self::text::{Size, display, names};
use super::meter::Meter;
use super::pipeline_sink::Straggler;
use super::progress_sampler::{BudgetRate, Progress, ProgressSampler};
use super::rounding::{hundredths, tenths};
use crate::model::Label;

/// How often a line is logged if standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often the display on a terminal is drawn.
const DISPLAY_EVERY: Duration = Duration::from_millis(250);

/// The size of a terminal that does not report its own.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// The display on the terminal; `None` without a terminal. Log lines are written to the same terminal.
static SHOWN: Mutex<Option<Screen>> = Mutex::new(None);

/// Reports the progress until stopped.
pub async fn report_progress(meter: Arc<Meter>, stop: CancellationToken) {
    let is_terminal = io::stderr().is_terminal();
    *SHOWN.lock() = is_terminal.then(Screen::new);
    let every = if is_terminal { DISPLAY_EVERY } else { LINE_EVERY };
    let mut sampler = ProgressSampler::new(Arc::clone(&meter));
    while let Some(trigger) = stop.run_until_cancelled(next_report(every, &meter)).await {
        let progress = sampler.sample();
        if is_terminal {
            draw(|size| display(&progress, size));
        }
        if trigger == Trigger::Request || !is_terminal {
            log(&progress);
        }
    }
    draw(|_| Vec::new());
    *SHOWN.lock() = None;
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

/// Writes a log line to standard error, with the display out of its way.
pub(super) fn write_line(line: &[u8]) -> io::Result<()> {
    let shown = SHOWN.lock();
    let Some(screen) = &*shown else { return io::stderr().write_all(line) };
    let (before, after) = screen.around(size());
    io::stderr().write_all(&[before.as_bytes(), line, after.as_bytes()].concat())
}

/// Draws lines in place of those drawn before, if there is a display.
fn draw(lines: impl FnOnce(Size) -> Vec<String>) {
    if let Some(screen) = &mut *SHOWN.lock() {
        let size = size();
        // A terminal that is gone shows nothing.
        io::stderr().write_all(screen.draw(lines(size), size).as_bytes()).ok();
    }
}

/// The present size of the terminal.
fn size() -> Size {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    match size.map(|size| (size.ws_col.into(), size.ws_row.into())) {
        Some((columns, rows)) if columns > 0 && rows > 0 => Size { columns, rows },
        _ => USUAL,
    }
}

fn log(progress: &Progress) {
    let Progress { totals, rates, remaining, stragglers, .. } = progress;
    let rates = rates.as_ref();
    for budget in rates.iter().flat_map(|rates| &rates.budgets) {
        log_budget(budget);
    }
    for straggler in stragglers {
        log_straggler(straggler);
    }
    let behind = (!stragglers.is_empty()).then(|| names(stragglers));
    let held_back_by = rates.and_then(|rates| rates.limit.as_ref()).map(ToString::to_string);
    info!(
        read = totals.read,
        delivered = totals.delivered,
        filtered = totals.filtered,
        dead_letters = totals.dead_letters,
        dead_letters_stored = totals.dead_letters_stored,
        per_second = rates.map(|rates| tenths(rates.delivered)),
        lag_seconds = totals.lag_seconds,
        source_ru_per_second = rates.map(|rates| tenths(rates.source_ru)),
        source_budget = rates.and_then(|rates| rates.source_budget).map(tenths),
        target_ru_per_second = rates.map(|rates| tenths(rates.target_ru)),
        target_budget = rates.and_then(|rates| rates.target_budget).map(tenths),
        throttled = totals.source_throttled + totals.target_throttled,
        expected_to_charged = rates.and_then(|rates| rates.expected_to_charged).map(hundredths),
        behind = behind.as_deref(),
        held_back_by = held_back_by.as_deref(),
        ranges = totals.ranges,
        caught_up = totals.caught_up,
        eta_seconds = remaining.map(|left| left.as_secs()),
        "progress"
    );
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
