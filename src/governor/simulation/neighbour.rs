//! Other clients use the same container, and the bridge is a good neighbour.

use std::time::Duration;

use cosmos_bridge_emulator::chance::Chance;

use super::service::Service;
use super::{Case, Event, Ledger, Run, unit};
use crate::governor::{Verdict, YieldPolicy};

/// When the other clients start and stop, and when a run ends, in seconds.
const COME: f64 = 10.0;
const GO: f64 = 40.0;
const END: f64 = 54.0;

/// The share of every partition that they use.
const SHARE: f64 = 0.6;

/// The range of their charges, uniformly distributed.
const LEAST: f64 = 5.0;
const MOST: f64 = 10.0;

/// The share of the container that the bridge may use next to them, the share of its budget that it has to use
/// again in the end, and how much the share of their throttled requests may rise.
const LEFT: f64 = 0.40;
const BACK: f64 = 0.90;
const REFUSED: f64 = 0.005;

/// Other clients. They do not retry throttled requests, so the bridge does not change what they send.
#[derive(Default)]
pub(super) struct Others {
    chance: Option<Chance>,
    /// Their request units per second to one partition.
    rate: f64,
    requests: u32,
    refused: u32,
}

impl Others {
    fn of(case: &Case) -> Self {
        let share = case.budget * case.spare / f64::from(case.partitions);
        let chance = Some(Chance::of(case.seed, 5, 0));
        Self { chance, rate: SHARE * share, ..Self::default() }
    }

    /// Sends a request. Returns the seconds until the next one.
    fn send(&mut self, now: Duration, partition: u32, service: &mut Service) -> Option<f64> {
        let chance = self.chance.as_mut()?;
        let charge = LEAST + (MOST - LEAST) * unit(chance);
        let pause = charge / self.rate * (0.5 + unit(chance));
        let (_, verdict) = service.answer(now, partition as usize, charge);
        self.requests += 1;
        self.refused += u32::from(verdict != Verdict::Done);
        (now.as_secs_f64() + pause < GO).then_some(pause)
    }

    fn refused_share(&self) -> f64 {
        f64::from(self.refused) / f64::from(self.requests)
    }
}

impl Run {
    pub(super) fn others_send(&mut self, partition: u32) {
        if let Some(pause) = self.others.send(self.now, partition, &mut self.service) {
            self.at(pause, Event::Others(partition));
        }
    }

    /// Adds the other clients, and makes the bridge a good neighbour.
    fn with_others(mut self) -> Self {
        let Case { budget, partitions, concurrency, spare, .. } = self.case;
        self.ledger = Ledger::new(Some(budget), YieldPolicy::GoodNeighbour, concurrency);
        self.ledger.set_ceiling(Some(budget * spare / f64::from(partitions)));
        self.others = Others::of(&self.case);
        self.until = END;
        for partition in 0..partitions {
            let first = unit(&mut self.chance) * LEAST / self.others.rate;
            self.at(COME + first, Event::Others(partition));
        }
        self
    }

    /// The bridge's request units per second between two times.
    fn per_second(&self, from: f64, to: f64) -> f64 {
        let inside = |at: Duration| (from..to).contains(&at.as_secs_f64());
        let spent = self.judge.spent.iter().filter(|spent| inside(spent.at));
        spent.map(|spent| spent.charge).sum::<f64>() / (to - from)
    }
}

/// The other clients without the bridge.
fn alone(case: &Case) -> Others {
    let mut run = Run::new(*case).with_others();
    run.ledger = Ledger::new(Some(1e-9), YieldPolicy::GoodNeighbour, 1);
    run.case.concurrency = 0;
    run.simulate().others
}

fn case(seed: u64) -> Case {
    let mut chance = Chance::of(seed, 6, 0);
    let budget: f64 = *chance.pick(&[400.0, 400.0, 4_000.0, 4_000.0, 40_000.0]);
    let mut case = Case {
        seed,
        budget,
        partitions: *chance.pick(&[1, 2, 3, 5, 10]),
        hot: false,
        // The budget is all of the provisioned throughput, or nine tenths of it.
        spare: *chance.pick(&[1.0, 1.0 / 0.9]),
        // With a large budget, documents are written in batches.
        sizes: if budget > 10_000.0 { (10_000.0, 100_000.0) } else { (1_000.0, 10_000.0) },
        charge_factor: 1.0,
        concurrency: 0,
    };
    let needed = budget * 0.024 / (f64::from(case.partitions) * 0.5 * case.price(case.sizes.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let needed = needed.ceil() as usize;
    case.concurrency = needed.max(32);
    case
}

/// Every rule that was broken.
fn problems(case: &Case) -> Vec<String> {
    let alone = alone(case);
    let run = Run::new(*case).with_others().simulate();
    let provisioned = case.budget * case.spare;
    let others = &run.others;
    let refused = others.refused_share() - alone.refused_share();
    // A request cannot be divided: the use of one second is exact to half a request.
    let edge = 0.5 * case.price(case.sizes.1) / case.budget;
    let mut problems = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            problems.push(text);
        }
    };
    let before = run.per_second(COME - 5.0, COME) / case.budget;
    must(before >= 0.95, format!("{before:.3} of the budget before the others started"));
    let third = run.per_second(COME + 2.0, COME + 3.0) / provisioned;
    must(third <= LEFT, format!("{third:.3} of the container in the third second"));
    let shared = run.per_second(COME + 3.0, GO) / provisioned;
    must(shared <= LEFT, format!("{shared:.3} of the container from then on"));
    let back = run.per_second(GO + 9.0, GO + 10.0) / case.budget;
    must(back >= BACK - edge, format!("{back:.3} of the budget in the tenth second after"));
    let later = run.per_second(GO + 10.0, GO + 12.0) / case.budget;
    must(later >= BACK - edge, format!("{later:.3} of the budget from then on"));
    let allowed = refused_most(case, others.requests);
    let text = format!("{:.2} % of {} throttled", 100.0 * refused, others.requests);
    must(refused < allowed, format!("{text}, not {:.2} %", 100.0 * allowed));
    problems
}

/// 0.5 % of the others' requests may be throttled. At 400 RU/s that is 5 requests in 30 seconds. The bridge
/// learns only from throttling that the throughput is used up: that happens four times, and costs one to three
/// requests on each partition.
fn refused_most(case: &Case, requests: u32) -> f64 {
    let few = f64::from(4 * 3 * case.partitions) / f64::from(requests);
    if case.budget > 400.0 { REFUSED } else { few.max(REFUSED) }
}

/// Simulates the runs of these seeds, and reports every run that breaks a rule.
fn simulate(seeds: impl Iterator<Item = u64>) {
    let cases = seeds.map(case).map(|case| (problems(&case), case));
    let failed: Vec<_> = cases
        .filter(|(problems, _)| !problems.is_empty())
        .map(|(problems, case)| format!("{case:?}\n  {}", problems.join("\n  ")))
        .collect();
    assert!(failed.is_empty(), "{} runs failed:\n{}", failed.len(), failed.join("\n"));
}

// Two tests, so that two threads share the work.
#[test]
fn a_good_neighbour_yields_and_returns() {
    simulate((0..200).step_by(2));
}

#[test]
fn a_good_neighbour_yields_and_returns_again() {
    simulate((1..200).step_by(2));
}
