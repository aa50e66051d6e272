//! The ledger against a service that is played, in time that is played: thousands of runs, each
//! from a seed that a failure prints.

mod judge;
mod neighbour;
mod service;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use cosmos_bridge_emulator::chance::Chance;

use super::charges::{Charges, Kind, Operation};
use super::ledger::{Ledger, Ticket};
use super::{Manners, Verdict};
use crate::model::PartitionId;
use judge::{Judge, Spent};
use neighbour::Others;
use service::Service;

/// Seconds that each run lasts.
const SECONDS: f64 = 24.0;

/// What one run is about.
#[derive(Clone, Copy, Debug)]
struct Case {
    seed: u64,
    budget: f64,
    partitions: u32,
    /// One partition wants everything, the others up to their share; else all want everything.
    hot: bool,
    /// How much more than the budget the service provides.
    spare: f64,
    /// Documents are between these sizes, in bytes, each magnitude as likely as the next.
    sizes: (f64, f64),
    /// How much more a document costs here than the first guess says.
    dearness: f64,
    /// Requests that one partition may have under way.
    concurrency: usize,
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed, 3, 0);
        let budget: f64 = *chance.pick(&[400.0, 4_000.0, 40_000.0]);
        let partitions = *chance.pick(&[1, 2, 3, 5, 10, 20, 50]);
        let hot = partitions > 1 && chance.one_in(2);
        let least = *chance.pick(&[200.0, 1_000.0, 10_000.0]);
        // A large budget spent on small documents alone takes a million requests.
        let least = if budget > 10_000.0 { 10_000.0_f64.max(least) } else { least };
        let most: f64 = *chance.pick(&[1_000.0, 10_000.0, 100_000.0, 1_000_000.0]);
        let mut case = Self {
            seed,
            budget,
            partitions,
            hot,
            spare: 1.0,
            sizes: (least, most.max(2.0 * least)),
            dearness: *chance.pick(&[0.5, 1.0, 3.0]),
            concurrency: 1,
        };
        // The budget is all there is, or a share of it. With a hot partition there is enough for it
        // to take what the others leave; where one document takes all that a partition has for half
        // a second, others have to be able to stand in for it.
        let coarse = 1.5 * case.price(case.sizes.1) > 0.5 * budget / f64::from(partitions);
        case.spare = match (hot, coarse) {
            (true, _) => f64::from(partitions),
            (false, true) => 2.0 + 3.0 * unit(&mut chance),
            (false, false) if chance.one_in(2) => 1.0,
            (false, false) => 1.0 + 4.0 * unit(&mut chance),
        };
        // Enough for the budget at a round trip of 24 ms, or a lot more.
        let greedy = if hot { 1.0 } else { f64::from(partitions) };
        let needed = budget * 0.024 / (greedy * 0.5 * case.price(case.sizes.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let needed = needed.ceil() as usize;
        case.concurrency = *chance.pick(&[needed, 4 * needed, 32.max(needed)]);
        case
    }

    fn size(&self, chance: &mut Chance) -> f64 {
        let (least, most) = self.sizes;
        least * (most / least).powf(unit(chance))
    }

    /// What a document costs on average, before it varies.
    fn price(&self, bytes: f64) -> f64 {
        self.dearness * 8.0 * (1.0 + 0.1 * (bytes / 1024.0 - 1.0).max(0.0))
    }
}

/// 0 to 1.
fn unit(chance: &mut Chance) -> f64 {
    f64::from(u32::try_from(chance.below(1 << 32)).unwrap_or(0)) / f64::from(u32::MAX)
}

/// What happens next in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The service gets a request, and answers it so much later.
    Arrives(Ticket, Duration),
    /// The answer is back.
    Answered(Ticket),
    /// A partition that does not want everything has one more document.
    Wants(u32),
    /// Somebody else sends a request to a partition.
    Others(u32),
    /// Something may be granted.
    Look,
}

/// A document on its way.
struct Request {
    partition: u32,
    operation: Operation,
    expected: f64,
    price: f64,
    answer: Option<(f64, Verdict)>,
}

struct Run {
    case: Case,
    chance: Chance,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    ledger: Ledger,
    charges: Charges,
    service: Service,
    requests: HashMap<Ticket, Request>,
    /// Documents that partitions wanted and could not ask for yet.
    wanted: Vec<VecDeque<f64>>,
    asked: Vec<usize>,
    judge: Judge,
    others: Others,
    /// When it ends, in seconds.
    until: f64,
}

impl Run {
    fn new(case: Case) -> Self {
        let share = case.budget * case.spare / f64::from(case.partitions);
        let mut ledger = Ledger::new(Some(case.budget), Manners::Usual, case.concurrency);
        ledger.set_ceiling(Some(share));
        let partitions = case.partitions as usize;
        Self {
            case,
            chance: Chance::of(case.seed, 4, 0),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            ledger,
            charges: Charges::default(),
            service: Service::new(partitions, share),
            requests: HashMap::new(),
            wanted: vec![VecDeque::new(); partitions],
            asked: vec![0; partitions],
            judge: Judge::default(),
            others: Others::default(),
            until: SECONDS,
        }
    }

    fn play(mut self) -> Self {
        for partition in 0..self.case.partitions {
            if self.is_greedy(partition) {
                self.ask_for_more(partition);
            } else {
                self.at(0.0, Event::Wants(partition));
            }
        }
        self.grant();
        while let Some(Reverse((at, event))) = self.events.pop() {
            if at.as_secs_f64() > self.until {
                break;
            }
            self.now = at;
            self.happen(event);
            self.grant();
        }
        self
    }

    /// Whether a partition always has more to do.
    fn is_greedy(&self, partition: u32) -> bool {
        !self.case.hot || partition == 0
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Look => {}
            Event::Others(partition) => self.others_send(partition),
            Event::Wants(partition) => {
                let size = self.case.size(&mut self.chance);
                self.wanted[partition as usize].push_back(size);
                self.judge.wanted(partition, self.case.price(size));
                self.ask_for_more(partition);
                // Just under its share.
                let share = self.case.budget / f64::from(self.case.partitions);
                let pause = self.case.price(size) / (0.97 * share);
                self.at(pause, Event::Wants(partition));
            }
            Event::Arrives(ticket, later) => {
                let Some(request) = self.requests.get_mut(&ticket) else { return };
                let varied = request.price * (0.5 + unit(&mut self.chance));
                let answer = self.service.answer(self.now, request.partition as usize, varied);
                let (charge, verdict) = answer;
                self.judge.spent(Spent {
                    at: self.now,
                    partition: request.partition,
                    charge,
                    price: if verdict == Verdict::Done { request.price } else { 0.0 },
                });
                request.answer = Some(answer);
                self.events.push(Reverse((self.now + later, Event::Answered(ticket))));
            }
            Event::Answered(ticket) => self.answered(ticket),
        }
    }

    fn answered(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.remove(&ticket) else { return };
        let Some((charge, verdict)) = request.answer else { return };
        self.ledger.settle(self.now, ticket, charge, verdict);
        if verdict == Verdict::Done {
            self.charges.learn(&[request.operation], charge);
            self.asked[request.partition as usize] -= 1;
            self.ask_for_more(request.partition);
        } else {
            self.ask(Request { answer: None, ..request });
        }
    }

    /// Fills up the requests of a partition, if it has anything to do.
    fn ask_for_more(&mut self, partition: u32) {
        let index = partition as usize;
        while self.asked[index] < 2 * self.case.concurrency {
            let size = match self.wanted[index].pop_front() {
                Some(size) => size,
                None if self.is_greedy(partition) => self.case.size(&mut self.chance),
                None => return,
            };
            self.asked[index] += 1;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
            let operation = Operation { kind: Kind::Write, bytes: size as usize };
            let price = self.case.price(size);
            self.ask(Request { partition, operation, expected: 0.0, price, answer: None });
        }
    }

    fn ask(&mut self, mut request: Request) {
        request.expected = self.charges.predict(&[request.operation]);
        let ticket = self.ledger.ask(PartitionId(request.partition), request.expected);
        self.requests.insert(ticket, request);
    }

    fn grant(&mut self) {
        while let Some(ticket) = self.ledger.grant(self.now) {
            let (there, back) = (unit(&mut self.chance), unit(&mut self.chance));
            let back = Duration::from_secs_f64(0.001 + 0.01 * back);
            self.at(0.001 + 0.01 * there, Event::Arrives(ticket, back));
        }
        if let Some((_, Some(next))) = self.ledger.held(self.now) {
            // The clock of the process ticks in milliseconds.
            let tick = Duration::from_millis(1 + u64::try_from(next.as_millis()).unwrap_or(0));
            if self.events.peek().is_none_or(|Reverse((at, _))| tick < *at) {
                self.events.push(Reverse((tick, Event::Look)));
            }
        }
    }

    fn at(&mut self, seconds: f64, event: Event) {
        self.events.push(Reverse((self.now + Duration::from_secs_f64(seconds), event)));
    }
}

/// Plays the runs of these seeds, and tells of every one that is not as it should be.
fn play(seeds: impl Iterator<Item = u64>) {
    let mut failed = Vec::new();
    for seed in seeds {
        let case = Case::of(seed);
        let problems = Run::new(case).play().judge.problems(&case);
        if !problems.is_empty() {
            failed.push(format!("seed {seed}: {case:?}\n  {}", problems.join("\n  ")));
        }
    }
    assert!(failed.is_empty(), "{} runs failed:\n{}", failed.len(), failed.join("\n"));
}

// Two tests, because each runs on a thread of its own.
#[test]
fn every_budget_is_used_and_kept_whatever_charges_sizes_and_partitions() {
    play((0..2400).step_by(2));
}

#[test]
fn every_budget_is_used_and_kept_whatever_charges_sizes_and_partitions_again() {
    play((1..2400).step_by(2));
}
