//! Rates and ratios of paired runs.

use serde_json::{Value, json};

use crate::contest::Took;

/// One run of each, directly after each other.
pub(crate) struct Round {
    pub(crate) sink: Took,
    /// The bare client with messages encoded before the run.
    pub(crate) before: Took,
    /// The bare client that encodes messages during the run.
    pub(crate) within: Took,
}

/// All rounds of one sink.
pub(crate) struct Pairs {
    name: &'static str,
    count: u64,
    rounds: Vec<Round>,
}

impl Pairs {
    pub(crate) fn new(name: &'static str, count: u64) -> Self {
        Self { name, count, rounds: Vec::new() }
    }

    pub(crate) fn add(&mut self, round: Round) {
        let rate = |took: Took| self.rate(took);
        let Round { sink, before, within } = &round;
        println!(
            "{:<21} sink {:>7.0}/s, bare {:>7.0}/s, bare that makes the messages {:>7.0}/s; \
             CPU {:.2}, {:.2}, {:.2} s",
            self.name,
            rate(*sink),
            rate(*before),
            rate(*within),
            sink.cpu.as_secs_f64(),
            before.cpu.as_secs_f64(),
            within.cpu.as_secs_f64(),
        );
        self.rounds.push(round);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn rate(&self, took: Took) -> f64 {
        self.count as f64 / took.wall.as_secs_f64()
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// The ratios of messages per second, per pair, because the load of a machine varies.
    fn ratio(&self, bare: impl Fn(&Round) -> Took) -> f64 {
        self.median(|round| bare(round).wall.as_secs_f64() / round.sink.wall.as_secs_f64())
    }

    fn cpu_ratio(&self, bare: impl Fn(&Round) -> Took) -> f64 {
        self.median(|round| round.sink.cpu.as_secs_f64() / bare(round).cpu.as_secs_f64())
    }

    pub(crate) fn json(&self) -> Value {
        let runs = |which: &dyn Fn(&Round) -> Took| {
            let run = |round: &Round| {
                let took = which(round);
                json!({
                    "messages_per_second": self.rate(took).round(),
                    "cpu_seconds": took.cpu.as_secs_f64(),
                })
            };
            self.rounds.iter().map(run).collect::<Vec<_>>()
        };
        json!({
            "sink": self.name,
            "messages": self.count,
            "ratio": self.ratio(|round| round.before),
            "ratio_to_bare_that_makes_messages": self.ratio(|round| round.within),
            "cpu_ratio": self.cpu_ratio(|round| round.before),
            "cpu_ratio_to_bare_that_makes_messages": self.cpu_ratio(|round| round.within),
            "runs": {
                "sink": runs(&|round| round.sink),
                "bare": runs(&|round| round.before),
                "bare_that_makes_messages": runs(&|round| round.within),
            },
        })
    }
}

/// The median; `None` without values.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table, as Markdown.
pub(crate) fn print(all: &[Pairs]) {
    if all.is_empty() {
        return;
    }
    println!(
        "\n| sink | sink/s | bare/s | ratio | ratio, bare makes the messages | CPU, sink to bare | \
         CPU, bare makes the messages |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for pairs in all {
        println!(
            "| {} | {:.0} | {:.0} | **{:.2}** | {:.2} | {:.2} | {:.2} |",
            pairs.name,
            pairs.median(|round| pairs.rate(round.sink)),
            pairs.median(|round| pairs.rate(round.before)),
            pairs.ratio(|round| round.before),
            pairs.ratio(|round| round.within),
            pairs.cpu_ratio(|round| round.before),
            pairs.cpu_ratio(|round| round.within),
        );
    }
}
