//! Somebody else uses the same container, and the bridge is a good neighbour.

use std::time::Duration;

use cosmos_bridge_emulator::chance::Chance;

use super::service::Service;
use super::{Case, Event, Ledger, Run, unit};
use crate::governor::{Manners, Verdict};

/// When the others come and go, and when a run ends, in seconds.
const COME: f64 = 10.0;
const GO: f64 = 40.0;
const END: f64 = 54.0;

/// What they take of every partition.
const SHARE: f64 = 0.6;

/// What their requests cost, each charge as likely as the next.
const LEAST: f64 = 5.0;
const MOST: f64 = 10.0;

/// What is left to the bridge, of the container; what it has back in the end, of its budget; and
/// how much larger the share of the others' requests may be that is refused.
const LEFT: f64 = 0.40;
const BACK: f64 = 0.90;
const REFUSED: f64 = 0.005;

/// Others who use the container, and do not repeat what was refused: nothing that the bridge does
/// changes what they send.
#[derive(Default)]
pub(super) struct Others {
    chance: Option<Chance>,
    /// What they send to one partition, in request units per second.
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

    /// Sends a request, and says how many seconds later the next one follows.
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

    /// Adds the others, and good manners.
    fn beside_others(mut self) -> Self {
        let Case { budget, partitions, concurrency, spare, .. } = self.case;
        self.ledger = Ledger::new(Some(budget), Manners::GoodNeighbour, concurrency);
        self.ledger.set_ceiling(Some(budget * spare / f64::from(partitions)));
        self.others = Others::of(&self.case);
        self.until = END;
        for partition in 0..partitions {
            let first = unit(&mut self.chance) * LEAST / self.others.rate;
            self.at(COME + first, Event::Others(partition));
        }
        self
    }

    /// Request units that the bridge was charged between two times, for each second of it.
    fn per_second(&self, from: f64, to: f64) -> f64 {
        let inside = |at: Duration| (from..to).contains(&at.as_secs_f64());
        let spent = self.judge.spent.iter().filter(|spent| inside(spent.at));
        spent.map(|spent| spent.charge).sum::<f64>() / (to - from)
    }
}

/// The others alone with the service.
fn alone(case: &Case) -> Others {
    let mut run = Run::new(*case).beside_others();
    run.ledger = Ledger::new(Some(1e-9), Manners::GoodNeighbour, 1);
    run.case.concurrency = 0;
    run.play().others
}

fn case(seed: u64) -> Case {
    let mut chance = Chance::of(seed, 6, 0);
    let budget: f64 = *chance.pick(&[400.0, 400.0, 4_000.0, 4_000.0, 40_000.0]);
    let mut case = Case {
        seed,
        budget,
        partitions: *chance.pick(&[1, 2, 3, 5, 10]),
        hot: false,
        // The budget is all that is provisioned, or nine tenths of it.
        spare: *chance.pick(&[1.0, 1.0 / 0.9]),
        // A large budget is spent in batches.
        sizes: if budget > 10_000.0 { (10_000.0, 100_000.0) } else { (1_000.0, 10_000.0) },
        dearness: 1.0,
        concurrency: 0,
    };
    let needed = budget * 0.024 / (f64::from(case.partitions) * 0.5 * case.price(case.sizes.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let needed = needed.ceil() as usize;
    case.concurrency = needed.max(32);
    case
}

/// Everything that is not as it should be.
fn problems(case: &Case) -> Vec<String> {
    let alone = alone(case);
    let run = Run::new(*case).beside_others().play();
    let provisioned = case.budget * case.spare;
    let others = &run.others;
    let refused = others.refused_share() - alone.refused_share();
    // A request cannot be divided: what is charged in one second is known to half of one.
    let edge = 0.5 * case.price(case.sizes.1) / case.budget;
    let mut problems = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            problems.push(text);
        }
    };
    let before = run.per_second(COME - 5.0, COME) / case.budget;
    must(before >= 0.95, format!("{before:.3} of the budget before the others came"));
    let third = run.per_second(COME + 2.0, COME + 3.0) / provisioned;
    must(third <= LEFT, format!("{third:.3} of the container in the third second"));
    let beside = run.per_second(COME + 3.0, GO) / provisioned;
    must(beside <= LEFT, format!("{beside:.3} of the container from then on"));
    let back = run.per_second(GO + 9.0, GO + 10.0) / case.budget;
    must(back >= BACK - edge, format!("{back:.3} of the budget in the tenth second after"));
    let later = run.per_second(GO + 10.0, GO + 12.0) / case.budget;
    must(later >= BACK - edge, format!("{later:.3} of the budget from then on"));
    let allowed = refused_most(case, others.requests);
    let text = format!("{:.2} % of {} refused", 100.0 * refused, others.requests);
    must(refused < allowed, format!("{text}, not {:.2} %", 100.0 * allowed));
    problems
}

/// Half a hundredth of the others' requests may be refused. Beside 400 RU/s that is 5 requests in 30
/// seconds, and each time that everything is used, nobody knows before somebody is refused: it
/// happens four times, and costs one to three requests on each partition.
fn refused_most(case: &Case, requests: u32) -> f64 {
    let few = f64::from(4 * 3 * case.partitions) / f64::from(requests);
    if case.budget > 400.0 { REFUSED } else { few.max(REFUSED) }
}

/// Plays the runs of these seeds, and tells of every one that is not as it should be.
fn play(seeds: impl Iterator<Item = u64>) {
    let cases = seeds.map(case).map(|case| (problems(&case), case));
    let failed: Vec<_> = cases
        .filter(|(problems, _)| !problems.is_empty())
        .map(|(problems, case)| format!("{case:?}\n  {}", problems.join("\n  ")))
        .collect();
    assert!(failed.is_empty(), "{} runs failed:\n{}", failed.len(), failed.join("\n"));
}

// Two tests, because each runs on a thread of its own.
#[test]
fn a_good_neighbour_gives_way_and_comes_back() {
    play((0..200).step_by(2));
}

#[test]
fn a_good_neighbour_gives_way_and_comes_back_again() {
    play((1..200).step_by(2));
}
