//! Shows how far a backfill is: a bar on a terminal, log lines elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::app::{Backfill, BackfillProgress};
use crate::observe::tenths;

/// How often a line is logged if standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often the bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Counting,
    Sending { documents: u64 },
}

/// The progress of one step.
pub(super) struct Shown {
    step: Step,
    /// `None` without a terminal.
    bar: Option<ProgressBar>,
    began: Instant,
    /// When it was last shown, and what was done then.
    last: Instant,
    before: BackfillProgress,
}

impl Shown {
    /// Shows the progress until the work is done.
    pub(super) async fn during<T>(
        backfill: &Backfill,
        step: Step,
        work: impl Future<Output = T>,
    ) -> T {
        let bar = io::stderr().is_terminal().then(|| bar(step));
        let every = if bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
        let (began, before) = (Instant::now(), backfill.progress());
        let mut shown = Self { step, bar, began, last: began, before };
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    if let Some(bar) = &shown.bar {
                        bar.finish_and_clear();
                    }
                    return done;
                }
                () = sleep(every) => shown.show(backfill.progress()),
            }
        }
    }

    fn show(&mut self, now: BackfillProgress) {
        let seconds = self.last.elapsed().as_secs_f64();
        let per_second =
            |before: f64, now: f64| tenths((now - before).max(0.0) / seconds.max(0.001));
        let before = self.before;
        let source_ru_per_second = per_second(before.source_charge, now.source_charge);
        let target_ru_per_second = per_second(before.target_charge, now.target_charge);
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
        let rate = |before: u64, now: u64| per_second(before as f64, now as f64);
        let done = match self.step {
            Step::Counting => now.read,
            Step::Sending { .. } => now.delivered,
        };
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(format!("{source_ru_per_second}/{target_ru_per_second} RU/s"));
        } else {
            match self.step {
                Step::Counting => {
                    let per_second = rate(before.read, now.read);
                    let (read, selected) = (now.read, now.selected);
                    info!(
                        read,
                        selected, per_second, source_ru_per_second, "counting what is sent again"
                    );
                }
                Step::Sending { documents } => {
                    let (delivered, per_second) =
                        (now.delivered, rate(before.delivered, now.delivered));
                    let eta_seconds = eta(delivered, documents, self.began.elapsed());
                    info!(
                        delivered,
                        documents,
                        per_second,
                        eta_seconds,
                        source_ru_per_second,
                        target_ru_per_second,
                        "sending again"
                    );
                }
            }
        }
        (self.last, self.before) = (Instant::now(), now);
    }
}

/// Seconds until everything is sent, at the pace so far; `None` while nothing is.
fn eta(done: u64, all: u64, took: Duration) -> Option<u64> {
    let left = all.saturating_sub(done);
    (u128::from(left) * took.as_millis())
        .checked_div(u128::from(done) * 1000)
        .and_then(|seconds| u64::try_from(seconds).ok())
}

fn bar(step: Step) -> ProgressBar {
    let (length, template) = match step {
        Step::Counting => (None, "counting: {pos} documents  {per_sec}  {msg}"),
        Step::Sending { documents } => {
            (Some(documents), "{bar:24} {pos} of {len} documents  {per_sec}  ETA {eta}  {msg}")
        }
    };
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    // The templates are constants that parse; if one did not, the default style would be used.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::eta;

    #[test]
    fn the_rest_takes_as_long_as_what_was_done() {
        let table = [
            (0, 100, 10, None),
            (50, 100, 10, Some(10)),
            (1, 1001, 1, Some(1000)),
            (100, 100, 5, Some(0)),
            // More than was counted: the source has changed.
            (120, 100, 5, Some(0)),
        ];
        for (done, all, seconds, expected) in table {
            assert_eq!(eta(done, all, Duration::from_secs(seconds)), expected, "{done} of {all}");
        }
    }
}
