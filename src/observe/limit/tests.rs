use std::time::Duration;

use super::super::waits::{Reading, Writing};
use super::{Gate, Limit, Side, Sight, limit};
use crate::governor::Held;

const SOURCE: &str = "source/shop/orders";
const TARGET: &str = "target/shop/copies";

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A look after ten seconds.
fn look<const N: usize>(spent: [(Reading, f64); N]) -> Sight {
    Sight { elapsed: seconds(10.0), cpu: 0.3, ..Sight::default() }.reader("p", spent)
}

fn side<C: Ord>(name: &str, spent: impl IntoIterator<Item = (C, f64)>) -> Side<C> {
    let spent = spent.into_iter().map(|(cause, time)| (cause, seconds(time))).collect();
    Side { name: name.to_owned(), lag: seconds(60.0), spent, gate: None }
}

fn gate(container: &str, held: &[(Held, f64)], requests: u64, throttled: u64) -> Gate {
    let held = held.iter().map(|(held, time)| (*held, seconds(*time))).collect();
    Gate { container: container.to_owned(), held, requests, throttled }
}

impl Sight {
    fn reader<const N: usize>(mut self, name: &str, spent: [(Reading, f64); N]) -> Self {
        self.readers.push(side(name, spent));
        self
    }

    fn sink<const N: usize>(mut self, name: &str, spent: [(Writing, f64); N]) -> Self {
        self.writers.push(side(name, spent));
        self
    }

    fn source_gate(mut self, held: &[(Held, f64)], requests: u64, throttled: u64) -> Self {
        self.readers[0].gate = Some(gate(SOURCE, held, requests, throttled));
        self
    }

    fn target_gate(mut self, held: &[(Held, f64)], requests: u64, throttled: u64) -> Self {
        self.writers[0].gate = Some(gate(TARGET, held, requests, throttled));
        self
    }

    fn lag(mut self, lag: f64) -> Self {
        self.readers[0].lag = seconds(lag);
        self
    }

    fn cpu(self, cpu: f64) -> Self {
        Self { cpu, ..self }
    }

    fn caught_up(self) -> Self {
        Self { caught_up: true, ..self }
    }
}

fn source_budget() -> Limit {
    Limit::SourceBudget { container: SOURCE.to_owned() }
}

fn target_budget() -> Limit {
    Limit::TargetBudget { container: TARGET.to_owned() }
}

fn hot(container: &str) -> Limit {
    Limit::HotPartition { container: container.to_owned() }
}

fn throttled(container: &str) -> Limit {
    Limit::Throttled { container: container.to_owned() }
}

fn sink(name: &str) -> Limit {
    Limit::Sink { name: name.to_owned() }
}

fn source(pipeline: &str) -> Limit {
    Limit::Source { pipeline: pipeline.to_owned() }
}

fn check(rows: impl IntoIterator<Item = (&'static str, Sight, Option<Limit>)>) {
    for (case, sight, expected) in rows {
        assert_eq!(limit(&sight), expected, "{case}");
    }
}

#[test]
fn nothing_holds_back_what_has_nothing_to_do() {
    use Reading::{Idle, Request, Room};
    check([
        ("first look", Sight::default(), None),
        ("no pipeline did anything", look([]), None),
        ("caught up", look([(Idle, 10.0)]).caught_up(), Some(Limit::Nothing)),
        ("caught up, and busy", look([(Idle, 9.0)]).caught_up().cpu(1.0), Some(Limit::Nothing)),
        (
            "a trickle: behind for a moment",
            look([(Idle, 9.0), (Request, 1.0)]).lag(1.0),
            Some(Limit::Nothing),
        ),
        (
            "one feed range of ten is far behind",
            look([(Idle, 90.0), (Request, 9.0), (Room, 1.0)]),
            Some(source("p")),
        ),
        (
            "one pipeline is idle, one is not",
            look([(Idle, 80.0)]).lag(0.0).reader("q", [(Request, 10.0)]),
            Some(source("q")),
        ),
    ]);
}

#[test]
fn reading_is_held_back_by_what_most_readers_wait_for() {
    use Held::{Budget, HotPartition, Throttled};
    use Reading::{Budget as Governor, Refused, Request, Room};
    let fails = Limit::SourceFails { pipeline: "p".to_owned() };
    let unnamed = Limit::SourceBudget { container: "pipeline p".to_owned() };
    check([
        ("slow answers", look([(Request, 9.0), (Room, 1.0)]), Some(source("p"))),
        ("nobody knows the governor", look([(Governor, 9.0)]), Some(unnamed)),
        (
            "its budget",
            look([(Governor, 6.0), (Request, 4.0)]).source_gate(&[(Budget, 6.0)], 100, 0),
            Some(source_budget()),
        ),
        (
            "its budget, with a refusal of long ago still felt",
            look([(Governor, 9.0)]).source_gate(&[(Budget, 5.0), (Throttled, 4.0)], 1000, 3),
            Some(source_budget()),
        ),
        (
            "one partition",
            look([(Governor, 9.0)]).source_gate(&[(HotPartition, 6.0), (Budget, 3.0)], 100, 0),
            Some(hot(SOURCE)),
        ),
        (
            "the service refuses, and the governor waits",
            look([(Governor, 9.0)]).source_gate(&[(Throttled, 8.0)], 100, 5),
            Some(throttled(SOURCE)),
        ),
        (
            "the service refuses, and the reader waits",
            look([(Refused, 9.0)]).source_gate(&[], 100, 50),
            Some(throttled(SOURCE)),
        ),
        (
            "as many requests as may be are under way",
            look([(Governor, 9.0)]).source_gate(&[(Throttled, 8.0)], 100, 0),
            Some(source("p")),
        ),
        ("errors", look([(Refused, 9.0)]).source_gate(&[], 100, 0), Some(fails)),
        ("processors, just not", look([(Request, 9.0)]).cpu(0.9), Some(source("p"))),
        ("processors", look([(Request, 9.0)]).cpu(0.91), Some(Limit::Cpu)),
        (
            "processors, and the budget too",
            look([(Governor, 9.0)]).source_gate(&[(Budget, 9.0)], 9, 0).cpu(0.95),
            Some(Limit::Cpu),
        ),
        (
            "of two pipelines the one with more feed ranges waiting",
            look([(Request, 10.0)]).reader("q", [(Request, 30.0)]),
            Some(source("q")),
        ),
    ]);
}

#[test]
fn delivery_is_held_back_by_what_most_time_goes_to_at_its_slowest_sink() {
    use Held::{Budget, HotPartition, Throttled};
    use Writing::{Budget as Governor, Refused, Request, Turn};
    let behind = || look([(Reading::Room, 5.1), (Reading::Request, 4.9)]);
    let fails = Limit::SinkFails { name: "a".to_owned() };
    check([
        (
            "readers wait for requests a little more than for room",
            look([(Reading::Room, 4.9), (Reading::Request, 5.1)]).sink("a", [(Request, 80.0)]),
            Some(source("p")),
        ),
        ("slow answers", behind().sink("a", [(Request, 20.0), (Governor, 9.0)]), Some(sink("a"))),
        (
            "all turns are taken by slow requests",
            behind().sink("a", [(Turn, 900.0), (Request, 80.0), (Governor, 9.0)]),
            Some(sink("a")),
        ),
        (
            "all turns are taken and nothing ended",
            behind().sink("a", [(Turn, 9.0)]),
            Some(sink("a")),
        ),
        (
            "all turns are taken by who waits for the budget",
            behind().sink("a", [(Turn, 900.0), (Request, 30.0), (Governor, 50.0)]).target_gate(
                &[(Budget, 9.0)],
                100,
                0,
            ),
            Some(target_budget()),
        ),
        (
            "one partition",
            behind().sink("a", [(Governor, 50.0)]).target_gate(&[(HotPartition, 8.0)], 100, 0),
            Some(hot(TARGET)),
        ),
        (
            "the service refuses, and the governor waits",
            behind().sink("a", [(Governor, 50.0)]).target_gate(&[(Throttled, 8.0)], 100, 5),
            Some(throttled(TARGET)),
        ),
        (
            "the service refuses, and writers wait",
            behind().sink("a", [(Refused, 50.0), (Request, 9.0)]).target_gate(&[], 100, 30),
            Some(throttled(TARGET)),
        ),
        (
            "as many requests as may be are under way",
            behind().sink("a", [(Governor, 50.0)]).target_gate(&[(Throttled, 8.0)], 1000, 9),
            Some(sink("a")),
        ),
        ("errors", behind().sink("a", [(Refused, 50.0)]).target_gate(&[], 100, 0), Some(fails)),
        (
            "of two sinks the one where work piles up",
            behind().sink("a", [(Request, 9.0)]).sink("b", [(Turn, 50.0), (Request, 8.0)]),
            Some(sink("b")),
        ),
        ("no sink has anything to do", behind().sink("a", [(Request, 4.9)]), Some(Limit::Bridge)),
        ("one sink has a little to do", behind().sink("a", [(Request, 5.0)]), Some(sink("a"))),
        ("no sink", behind(), Some(Limit::Bridge)),
        ("processors", behind().sink("a", [(Request, 80.0)]).cpu(0.95), Some(Limit::Cpu)),
    ]);
}

#[test]
fn every_limit_is_told_in_plain_words() {
    let told = [
        Limit::Nothing,
        source_budget(),
        target_budget(),
        hot(TARGET),
        throttled(SOURCE),
        source("p"),
        sink("archive"),
        Limit::SourceFails { pipeline: "p".to_owned() },
        Limit::SinkFails { name: "archive".to_owned() },
        Limit::Cpu,
        Limit::Bridge,
    ];
    let told: String = told.map(|limit| format!("held back by {limit}\n")).concat();
    insta::assert_snapshot!(told, @r#"
    held back by nothing
    held back by the RU budget for reading source/shop/orders
    held back by the RU budget for writing target/shop/copies
    held back by a hot partition of target/shop/copies, which is used up
    held back by the service, which throttles requests to source/shop/orders
    held back by slow answers to reading pipeline p
    held back by slow answers of sink archive
    held back by errors when reading pipeline p
    held back by errors when writing to sink archive
    held back by the processors of this machine
    held back by the bridge itself: the order of changes, or storing positions
    "#);
}
