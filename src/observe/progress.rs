//! Progress for people who watch: a bar on a terminal, a line now and again elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;
use tracing::info;

use super::{Meter, Totals};
use crate::stop::Stop;

/// How often a line is logged where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often the bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// Steps of the bar.
const STEPS: f64 = 1000.0;

/// The share that must be done before the time left is estimated.
const SHARE_TO_JUDGE: f64 = 0.02;

/// The bar on the terminal, for those who write there too.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// One look at a run, and at what changed since the look before.
#[derive(Clone, Copy, Debug)]
struct Progress {
    totals: Totals,
    /// Changes delivered per second.
    rate: f64,
    /// Request units per second.
    source_rate: f64,
    target_rate: f64,
    /// Until everything that is there now is delivered.
    remaining: Option<Duration>,
}

/// Reports until stopped.
pub async fn show(meter: Arc<Meter>, stop: Stop) {
    let bar = std::io::stderr().is_terminal().then(bar);
    show_bar(bar.clone());
    let every = if bar.is_some() { BAR_EVERY } else { LINE_EVERY };
    let mut watch = Watch::new(meter);
    while stop.within(tokio::time::sleep(every)).await.is_some() {
        let progress = watch.look();
        match &bar {
            Some(bar) => draw(bar, &progress),
            None => log(&progress),
        }
    }
    show_bar(None);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Writes to the terminal with the bar out of the way.
pub(super) fn beside_bar<T>(write: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn show_bar(bar: Option<ProgressBar>) {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

struct Watch {
    meter: Arc<Meter>,
    began: Instant,
    at: Instant,
    before: Totals,
}

impl Watch {
    fn new(meter: Arc<Meter>) -> Self {
        let now = Instant::now();
        Self { meter, began: now, at: now, before: Totals::default() }
    }

    fn look(&mut self) -> Progress {
        let totals = self.meter.totals();
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
        let per_second = |now: u64, before: u64| (now - before) as f64 / seconds;
        let remaining = (totals.done >= SHARE_TO_JUDGE)
            .then(|| self.began.elapsed().mul_f64((1.0 - totals.done).max(0.0) / totals.done));
        let progress = Progress {
            totals,
            rate: per_second(totals.delivered, self.before.delivered),
            source_rate: (totals.source_charge - self.before.source_charge) / seconds,
            target_rate: (totals.target_charge - self.before.target_charge) / seconds,
            remaining,
        };
        self.before = totals;
        self.at = Instant::now();
        progress
    }
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
    let Progress { totals, rate, source_rate, target_rate, remaining } = progress;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
    bar.set_position((totals.done * STEPS) as u64);
    let eta = match remaining {
        _ if totals.ranges > 0 && totals.caught_up == totals.ranges => "caught up".to_owned(),
        Some(left) => format!("ETA {}", HumanDuration(*left)),
        None => "ETA -".to_owned(),
    };
    let letters = match totals.dead_letters {
        0 => String::new(),
        n => format!("  {} DEAD LETTERS", HumanCount(n)),
    };
    bar.set_message(format!(
        "{} documents  {rate:.0}/s  lag {} s  RU/s {source_rate:.0} read {target_rate:.0} \
         written  {eta}{letters}",
        HumanCount(totals.delivered),
        totals.lag_seconds,
    ));
}

fn log(progress: &Progress) {
    let Progress { totals, rate, source_rate, target_rate, remaining } = progress;
    info!(
        read = totals.read,
        delivered = totals.delivered,
        filtered = totals.filtered,
        dead_letters = totals.dead_letters,
        per_second = round(*rate),
        lag_seconds = totals.lag_seconds,
        source_ru_per_second = round(*source_rate),
        target_ru_per_second = round(*target_rate),
        throttled = totals.source_throttled + totals.target_throttled,
        ranges = totals.ranges,
        caught_up = totals.caught_up,
        eta_seconds = remaining.map(|left| left.as_secs()),
        "progress"
    );
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Meter {
    /// One look at everything, over all pipelines and sinks.
    pub fn totals(&self) -> Totals {
        let now = jiff::Timestamp::now().as_second();
        let mut sum = Totals::default();
        let pipelines = self.pipelines();
        let mut done = 0.0;
        for pipeline in &pipelines {
            let one = pipeline.totals(now);
            sum.read += one.read;
            sum.filtered += one.filtered;
            sum.delivered += one.delivered;
            sum.dead_letters += one.dead_letters;
            sum.source_throttled += one.source_throttled;
            sum.source_charge += one.source_charge;
            sum.ranges += one.ranges;
            sum.caught_up += one.caught_up;
            sum.lag_seconds = sum.lag_seconds.max(one.lag_seconds);
            done += one.done;
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of pipelines")]
        if !pipelines.is_empty() {
            sum.done = done / pipelines.len() as f64;
        }
        for sink in self.sinks() {
            sum.target_charge += sink.charge();
            sum.target_throttled += sink.throttled.load(Relaxed);
        }
        sum
    }
}
