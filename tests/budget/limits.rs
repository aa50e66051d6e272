//! Budgets over the wire: a real bridge between two accounts that throttle, measured by the accounts'
//! counters. docs/budget.md has the figures; `--nocapture` prints them.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]
#![allow(clippy::print_stdout, reason = "prints the figures for docs/budget.md")]

use std::fmt::Write as _;
use std::time::Duration;

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::spending::Spending;
use crate::support::{Bridge, Pair, eventually, machine};

const SECOND: Duration = Duration::from_secs(1);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// The lower bound for the side that is the bottleneck: its share of the budget in every ten seconds.
const LEAST: f64 = 0.92;
/// The upper bounds for each side: its share of the budget in every ten seconds and in every second.
const MOST: f64 = 1.02;
const PEAK: f64 = 1.10;
/// The share of requests that may be throttled because of the bridge's own rate.
const REFUSED: f64 = 0.005;

/// The time from the first request of a side until it must use its whole budget: the bridge first learns what
/// requests cost.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the rates are measured after that.
const MEASURED: Duration = Duration::from_secs(18);

/// A container and its budget.
#[derive(Clone, Copy)]
struct Side {
    /// Request units per second.
    budget: u32,
    throughput: u32,
    partitions: u32,
    /// The other side is the bottleneck, so this side does not use its whole budget.
    idles: bool,
}

/// All of `throughput` on one physical partition.
const fn side(budget: u32, throughput: u32) -> Side {
    Side { budget, throughput, partitions: 1, idles: false }
}

impl Side {
    const fn on(self, partitions: u32) -> Self {
        Self { partitions, ..self }
    }

    const fn idle(self) -> Self {
        Self { idles: true, ..self }
    }

    fn settings(self, key: &str, charge_variation: Option<f64>) -> ContainerSettings {
        let throughput = Some(self.throughput);
        ContainerSettings {
            throughput,
            charge_variation,
            ..ContainerSettings::new(&[key], self.partitions)
        }
    }
}

/// Documents of a source, by number.
struct Documents {
    count: usize,
    bytes: fn(usize) -> usize,
    /// The target's partition key.
    region: fn(usize) -> usize,
}

impl Documents {
    fn seed(&self, pair: &Pair) {
        let mut lines = String::new();
        for n in 0..self.count {
            let text = "x".repeat((self.bytes)(n).saturating_sub(60));
            let region = (self.region)(n);
            let document = format!(r#"{{"id":"d{n}","region":"r{region}","text":"{text}"}}"#);
            writeln!(lines, "{document}").unwrap();
            if lines.len() > 1_000_000 || n + 1 == self.count {
                pair.seed(&lines);
                lines.clear();
            }
        }
    }
}

struct Case {
    name: &'static str,
    source: Side,
    target: Side,
    charge_variation: Option<f64>,
    documents: Documents,
}

impl Case {
    async fn pair(&self) -> Pair {
        let source = self.source.settings("/id", self.charge_variation);
        let target = self.target.settings("/region", self.charge_variation);
        let pair = Pair::start(&source, &target).await;
        self.documents.seed(&pair);
        pair
    }

    /// Copies for a fixed time from a backlog that is longer than that.
    async fn run(&self) {
        let _machine = machine::one_of_two().await;
        let pair = self.pair().await;
        let config = configure(&pair, self.source.budget, self.target.budget);
        let bridge = Bridge::start(&config, &["run"]);
        eventually("something is written", || pair.written() > 0).await;
        tokio::time::sleep(WARM_UP + MEASURED).await;
        let spent = [Spending::of(&pair.source()), Spending::of(&pair.target())];
        assert!(pair.count("target", "copies") < self.documents.count, "the backlog is used up");
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        let figures = [("source", self.source), ("target", self.target)]
            .into_iter()
            .zip(&spent)
            .map(|((which, side), spent)| Figures::of(which, side, spent));
        let figures: Vec<_> = figures.collect();
        for figures in &figures {
            println!("| {} | {figures} |", self.name);
        }
        for figures in figures {
            figures.judge(self.name, &ended.log);
        }
    }
}

fn configure(pair: &Pair, source: u32, target: u32) -> std::path::PathBuf {
    pair.configure(
        &format!("budget = \"{target} RU/s\""),
        "",
        &format!("budget = \"{source} RU/s\""),
        "partition_key = [\"/region\"]",
    )
}

/// The measured rates of one side, as shares of its budget.
struct Figures {
    which: &'static str,
    side: Side,
    least: f64,
    most: f64,
    peak: f64,
    requests: u64,
    refused: f64,
}

impl Figures {
    fn of(which: &'static str, side: Side, spent: &Spending) -> Self {
        let budget = f64::from(side.budget);
        let (start, now) = (spent.first, spent.now);
        Self {
            which,
            side,
            least: spent.least(TEN_SECONDS, start + WARM_UP, now) / budget,
            most: spent.most(TEN_SECONDS, start, now) / budget,
            peak: spent.most(SECOND, start, now) / budget,
            requests: spent.requests(),
            refused: spent.refused(),
        }
    }

    fn judge(&self, case: &str, log: &str) {
        let Self { which, side, least, most, peak, refused, .. } = self;
        assert!(side.idles || *least >= LEAST, "{case}: {which} uses {least} in 10 s\n{log}");
        assert!(*most <= MOST, "{case}: {which} uses {most} in 10 s\n{log}");
        assert!(*peak <= PEAK, "{case}: {which} uses {peak} in 1 s\n{log}");
        assert!(*refused < REFUSED, "{case}: {refused} of {which} refused\n{log}");
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { which, side, least, most, peak, requests, refused } = self;
        let Side { budget, throughput, partitions, .. } = side;
        let [least, most, peak, refused] = [least, most, peak, refused].map(|share| share * 100.0);
        write!(
            f,
            "{which} | {budget} | {throughput} on {partitions} | {least:.1} to {most:.1} % | \
             {peak:.1} % | {requests} | {refused:.2} %"
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_throughput_of_both_sides() {
    let case = Case {
        name: "all of 400 on both sides",
        source: side(400, 400).idle(),
        target: side(400, 400),
        charge_variation: None,
        documents: Documents { count: 4000, bytes: |_| 1024, region: |n| n % 100 },
    };
    case.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_budget_of_the_source_and_a_large_one_of_the_target() {
    // Reading 40 KB costs 5 RU and writing them 25: 400 RU/s of reading are 2,500 of writing.
    let case = Case {
        name: "source 400, target 4,000",
        source: side(400, 2000),
        target: side(4000, 20_000).idle(),
        charge_variation: None,
        documents: Documents { count: 3000, bytes: |_| 40_000, region: |n| n % 100 },
    };
    case.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_that_vary_by_half_and_documents_of_all_sizes() {
    let case = Case {
        name: "both 4,000, charges vary by half",
        source: side(4000, 20_000).idle(),
        target: side(4000, 20_000),
        charge_variation: Some(0.5),
        // 200 bytes, 400 and so on up to 102,400.
        documents: Documents { count: 12_000, bytes: |n| 200 << (n * 7 % 10), region: |n| n % 100 },
    };
    case.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_physical_partitions_on_both_sides() {
    let case = Case {
        name: "5 partitions on each side",
        source: side(1000, 5000).on(5).idle(),
        target: side(1000, 5000).on(5),
        charge_variation: None,
        documents: Documents { count: 8000, bytes: |_| 1024, region: |n| n % 100 },
    };
    case.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_partition_of_the_target() {
    // Four of five documents go to one key, so to one of five physical partitions.
    let case = Case {
        name: "a hot target partition",
        source: side(1000, 5000).on(5).idle(),
        target: side(1000, 5000).on(5),
        charge_variation: None,
        documents: Documents {
            count: 8000,
            bytes: |_| 1024,
            region: |n| if n % 5 == 0 { n % 100 } else { 0 },
        },
    };
    case.run().await;
}

/// The time within which a changed budget is reached, and how long the rate is measured after that.
const REACHED: Duration = Duration::from_secs(2);
const HELD: Duration = Duration::from_secs(5);

/// Writes a new target budget into the file, sends SIGHUP, and measures the rate.
async fn follow(pair: &Pair, bridge: &Bridge, budget: u32) {
    configure(pair, 4000, budget);
    bridge.signal("HUP");
    let from = Spending::of(&pair.target()).now + REACHED;
    tokio::time::sleep(REACHED + HELD).await;
    let spent = Spending::of(&pair.target());
    let share = |rate: f64| rate / f64::from(budget);
    let used = share(spent.least(HELD, from, from + HELD));
    let peak = share(spent.most(SECOND, from, from + HELD));
    let percent = [used, peak].map(|share| share * 100.0);
    println!("| SIGHUP to {budget} | {:.1} % | {:.1} % |", percent[0], percent[1]);
    assert!((LEAST..=MOST).contains(&used), "{used} of {budget}\n{}", bridge.log());
    assert!(peak <= PEAK, "{peak} of {budget} in 1 s\n{}", bridge.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_changes_amid_a_backlog_and_nothing_is_written_twice() {
    let _machine = machine::one_of_two().await;
    let case = Case {
        name: "SIGHUP",
        source: side(4000, 20_000).on(2),
        target: side(2000, 20_000).on(2),
        charge_variation: None,
        documents: Documents { count: 6000, bytes: |_| 1024, region: |n| n % 100 },
    };
    let pair = case.pair().await;
    let config = configure(&pair, 4000, 2000);
    let mut bridge = Bridge::start(&config, &["run"]);
    let pid = bridge.pid();
    eventually("500 documents are written", || pair.written() > 500).await;
    follow(&pair, &bridge, 400).await;
    follow(&pair, &bridge, 2000).await;
    assert!(pair.written() < 6000, "the backlog is used up");
    eventually("all is copied", || pair.is_equal()).await;
    assert!(bridge.is_running());
    assert_eq!(bridge.pid(), pid);
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.written(), 6000, "documents written twice\n{}", ended.log);
}
