//! The ledger against a simulated service in simulated time: thousands of runs, each from a seed that a
//! failure prints.

mod judge;
mod neighbour;
mod service;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use cosmos_bridge_emulator::chance::Chance;

use super::charges::{Charges, Kind, Operation};
use super::ledger::Ledger;
use super::partition::Ticket;
use super::{Verdict, YieldPolicy};
use crate::model::PartitionId;
use judge::{Judge, Spent};
use neighbour::Others;
use service::Service;

/// The length of each run in seconds.
const SECONDS: f64 = 24.0;

/// The parameters of one run.
#[derive(Clone, Copy, Debug)]
struct Case {
    seed: u64,
    budget: f64,
    partitions: u32,
    /// One partition has unlimited work and the others up to their share; otherwise all have unlimited work.
    hot: bool,
    /// The provisioned throughput relative to the budget.
    spare: f64,
    /// The range of document sizes in bytes, log-uniformly distributed.
    sizes: (f64, f64),
    /// The charge of a document relative to the first prediction.
    charge_factor: f64,
    /// The maximum number of requests in flight to one partition.
    concurrency: usize,
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed, 3, 0);
        let budget: f64 = *chance.pick(&[400.0, 4_000.0, 40_000.0]);
        let partitions = *chance.pick(&[1, 2, 3, 5, 10, 20, 50]);
        let hot = partitions > 1 && chance.one_in(2);
        let least = *chance.pick(&[200.0, 1_000.0, 10_000.0]);
        // With a large budget and small documents only, a run would have a million requests.
        let least = if budget > 10_000.0 { 10_000.0_f64.max(least) } else { least };
        let most: f64 = *chance.pick(&[1_000.0, 10_000.0, 100_000.0, 1_000_000.0]);
        let mut case = Self {
            seed,
            budget,
            partitions,
            hot,
            spare: 1.0,
            sizes: (least, most.max(2.0 * least)),
            charge_factor: *chance.pick(&[0.5, 1.0, 3.0]),
            concurrency: 1,
        };
        // The budget is all of the throughput, or a share of it. With a hot partition the throughput suffices
        // for it to take what the others leave. If one document uses up a partition for half a second, the
        // other partitions need spare throughput to use the budget meanwhile.
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

    /// The average charge of a document.
    fn price(&self, bytes: f64) -> f64 {
        self.charge_factor * 8.0 * (1.0 + 0.1 * (bytes / 1024.0 - 1.0).max(0.0))
    }
}

/// 0 to 1.
fn unit(chance: &mut Chance) -> f64 {
    f64::from(u32::try_from(chance.below(1 << 32)).unwrap_or(0)) / f64::from(u32::MAX)
}

/// An event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The service gets a request; its response arrives after this duration.
    Arrives(Ticket, Duration),
    /// The response arrives.
    Response(Ticket),
    /// A partition with limited work has one more document.
    NewDocument(u32),
    /// Another client sends a request to a partition.
    Others(u32),
    /// A grant may be possible.
    Check,
}

/// A request in flight.
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
    /// Documents of each partition that are not queued in the ledger yet.
    wanted: Vec<VecDeque<f64>>,
    queued: Vec<usize>,
    judge: Judge,
    others: Others,
    /// The end of the run, in seconds.
    until: f64,
}

impl Run {
    fn new(case: Case) -> Self {
        let share = case.budget * case.spare / f64::from(case.partitions);
        let mut ledger = Ledger::new(Some(case.budget), YieldPolicy::Normal, case.concurrency);
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
            queued: vec![0; partitions],
            judge: Judge::default(),
            others: Others::default(),
            until: SECONDS,
        }
    }

    fn simulate(mut self) -> Self {
        for partition in 0..self.case.partitions {
            if self.is_greedy(partition) {
                self.fill_queue(partition);
            } else {
                self.at(0.0, Event::NewDocument(partition));
            }
        }
        self.grant();
        while let Some(Reverse((at, event))) = self.events.pop() {
            if at.as_secs_f64() > self.until {
                break;
            }
            self.now = at;
            self.handle(event);
            self.grant();
        }
        self
    }

    /// True if a partition has unlimited work.
    fn is_greedy(&self, partition: u32) -> bool {
        !self.case.hot || partition == 0
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Check => {}
            Event::Others(partition) => self.others_send(partition),
            Event::NewDocument(partition) => {
                let size = self.case.size(&mut self.chance);
                self.wanted[partition as usize].push_back(size);
                self.judge.wanted(partition, self.case.price(size));
                self.fill_queue(partition);
                // Slightly below its share.
                let share = self.case.budget / f64::from(self.case.partitions);
                let pause = self.case.price(size) / (0.97 * share);
                self.at(pause, Event::NewDocument(partition));
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
                self.events.push(Reverse((self.now + later, Event::Response(ticket))));
            }
            Event::Response(ticket) => self.on_response(ticket),
        }
    }

    fn on_response(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.remove(&ticket) else { return };
        let Some((charge, verdict)) = request.answer else { return };
        self.ledger.settle(self.now, ticket, charge, verdict);
        if verdict == Verdict::Done {
            self.charges.learn(&[request.operation], charge);
            self.queued[request.partition as usize] -= 1;
            self.fill_queue(request.partition);
        } else {
            self.enqueue(Request { answer: None, ..request });
        }
    }

    /// Queues requests of a partition until its limit, if it has documents.
    fn fill_queue(&mut self, partition: u32) {
        let index = partition as usize;
        while self.queued[index] < 2 * self.case.concurrency {
            let size = match self.wanted[index].pop_front() {
                Some(size) => size,
                None if self.is_greedy(partition) => self.case.size(&mut self.chance),
                None => return,
            };
            self.queued[index] += 1;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
            let operation = Operation { kind: Kind::Write, bytes: size as usize };
            let price = self.case.price(size);
            self.enqueue(Request { partition, operation, expected: 0.0, price, answer: None });
        }
    }

    fn enqueue(&mut self, mut request: Request) {
        request.expected = self.charges.predict(&[request.operation]);
        let ticket = self.ledger.enqueue(PartitionId(request.partition), request.expected);
        self.requests.insert(ticket, request);
    }

    fn grant(&mut self) {
        while let Some(ticket) = self.ledger.grant(self.now) {
            let (there, back) = (unit(&mut self.chance), unit(&mut self.chance));
            let back = Duration::from_secs_f64(0.001 + 0.01 * back);
            self.at(0.001 + 0.01 * there, Event::Arrives(ticket, back));
        }
        if let Some((_, Some(next))) = self.ledger.held_by(self.now) {
            // Timers have a resolution of 1 ms.
            let tick = Duration::from_millis(1 + u64::try_from(next.as_millis()).unwrap_or(0));
            if self.events.peek().is_none_or(|Reverse((at, _))| tick < *at) {
                self.events.push(Reverse((tick, Event::Check)));
            }
        }
    }

    fn at(&mut self, seconds: f64, event: Event) {
        self.events.push(Reverse((self.now + Duration::from_secs_f64(seconds), event)));
    }
}

/// Simulates the runs of these seeds, and reports every run that breaks a rule.
fn simulate(seeds: impl Iterator<Item = u64>) {
    let mut failed = Vec::new();
    for seed in seeds {
        let case = Case::of(seed);
        let problems = Run::new(case).simulate().judge.problems(&case);
        if !problems.is_empty() {
            failed.push(format!("seed {seed}: {case:?}\n  {}", problems.join("\n  ")));
        }
    }
    assert!(failed.is_empty(), "{} runs failed:\n{}", failed.len(), failed.join("\n"));
}

// Two tests, so that two threads share the work.
#[test]
fn every_budget_is_used_and_kept_with_any_charges_sizes_and_partitions() {
    simulate((0..2400).step_by(2));
}

#[test]
fn every_budget_is_used_and_kept_with_any_charges_sizes_and_partitions_again() {
    simulate((1..2400).step_by(2));
}
