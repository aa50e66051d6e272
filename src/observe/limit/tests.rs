use std::time::Duration;

use super::super::time_spent::{ReadActivity, WriteActivity};
use super::{GovernorActivity, Group, Interval, Limit, limit};
use crate::governor::HeldBy;

const SOURCE: &str = "source/shop/orders";
const TARGET: &str = "target/shop/copies";

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// An interval of ten seconds.
fn interval<const N: usize>(spent: [(ReadActivity, f64); N]) -> Interval {
    Interval { elapsed: seconds(10.0), cpu: 0.3, ..Interval::default() }.reader("p", spent)
}

fn group<A: Ord>(name: &str, spent: impl IntoIterator<Item = (A, f64)>) -> Group<A> {
    let spent = spent.into_iter().map(|(activity, time)| (activity, seconds(time))).collect();
    Group {
        name: name.to_owned(),
        lag: seconds(60.0),
        failing: Duration::ZERO,
        sinks: Vec::new(),
        spent,
        governor: None,
    }
}

fn governor(
    container: &str,
    held: &[(HeldBy, f64)],
    requests: u64,
    throttled: u64,
) -> GovernorActivity {
    let held = held.iter().map(|(held, time)| (*held, seconds(*time))).collect();
    GovernorActivity { container: container.to_owned(), held, requests, throttled }
}

impl Interval {
    fn reader<const N: usize>(mut self, name: &str, spent: [(ReadActivity, f64); N]) -> Self {
        self.readers.push(group(name, spent));
        self
    }

    /// A sink of the first pipeline.
    fn sink<const N: usize>(mut self, name: &str, spent: [(WriteActivity, f64); N]) -> Self {
        self.readers[0].sinks.push(name.to_owned());
        self.sink_of_another(name, spent)
    }

    fn sink_of_another<const N: usize>(
        mut self,
        name: &str,
        spent: [(WriteActivity, f64); N],
    ) -> Self {
        self.writers.push(group(name, spent));
        self
    }

    fn source_governor(mut self, held: &[(HeldBy, f64)], requests: u64, throttled: u64) -> Self {
        self.readers[0].governor = Some(governor(SOURCE, held, requests, throttled));
        self
    }

    fn target_governor(mut self, held: &[(HeldBy, f64)], requests: u64, throttled: u64) -> Self {
        self.writers[0].governor = Some(governor(TARGET, held, requests, throttled));
        self
    }

    /// The writes of a sink have failed for this time in seconds.
    fn failing(mut self, name: &str, failing: f64) -> Self {
        let sink = self.writers.iter_mut().find(|sink| sink.name == name).unwrap();
        sink.failing = seconds(failing);
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

fn check(rows: impl IntoIterator<Item = (&'static str, Interval, Option<Limit>)>) {
    for (case, interval, expected) in rows {
        assert_eq!(limit(&interval), expected, "{case}");
    }
}

#[test]
fn a_busy_sink_of_another_pipeline_is_not_what_limits_this_one() {
    let idle = || interval([(ReadActivity::Idle, 9.5), (ReadActivity::Request, 0.1)]);
    let busy = [(WriteActivity::Request, 50.0)];
    check([
        ("its own sink", idle().sink("a", busy), Some(sink("a"))),
        ("the sink of another", idle().sink_of_another("b", busy), Some(source("p"))),
        (
            "both",
            idle().sink("a", [(WriteActivity::Request, 45.0)]).sink_of_another("b", busy),
            Some(sink("a")),
        ),
    ]);
}

#[test]
fn nothing_limits_a_bridge_without_work() {
    use ReadActivity::{Idle, Request, Room};
    check([
        ("first sample", Interval::default(), None),
        ("no pipeline did anything", interval([]), None),
        ("caught up", interval([(Idle, 10.0)]).caught_up(), Some(Limit::Nothing)),
        ("caught up, and busy", interval([(Idle, 9.0)]).caught_up().cpu(1.0), Some(Limit::Nothing)),
        (
            "a trickle: behind for a moment",
            interval([(Idle, 9.0), (Request, 1.0)]).lag(1.0),
            Some(Limit::Nothing),
        ),
        (
            "one feed range of ten is far behind",
            interval([(Idle, 90.0), (Request, 9.0), (Room, 1.0)]),
            Some(source("p")),
        ),
        (
            "one pipeline is idle, one is not",
            interval([(Idle, 80.0)]).lag(0.0).reader("q", [(Request, 10.0)]),
            Some(source("q")),
        ),
    ]);
}

#[test]
fn a_sink_that_is_down_holds_back_readers_that_have_nothing_to_do() {
    use ReadActivity::{Idle, Request as Read, Room};
    use WriteActivity::{Refused, Request};
    let down = |name: &str| Some(Limit::SinkDown { name: name.to_owned() });
    let idle = || interval([(Idle, 9.0), (Read, 1.0)]);
    check([
        ("it is down", idle().sink("k", [(Request, 9.0)]).failing("k", 30.0), down("k")),
        ("between attempts", idle().sink("k", [(Refused, 9.0)]).failing("k", 30.0), down("k")),
        ("for a moment", idle().sink("k", [(Request, 9.0)]).failing("k", 2.0), Some(sink("k"))),
        (
            "the pipeline is not behind",
            idle().sink("k", [(Request, 9.0)]).failing("k", 30.0).lag(1.0),
            Some(Limit::Nothing),
        ),
        (
            "of two that are down, the first",
            idle().sink("a", []).sink("b", []).failing("a", 10.0).failing("b", 30.0),
            down("b"),
        ),
        (
            "of another pipeline",
            idle().reader("q", [(Read, 5.0)]).sink("k", [(Request, 9.0)]).lag(0.0),
            Some(source("q")),
        ),
        (
            "readers wait for it",
            interval([(Room, 9.0)]).sink("k", [(Request, 9.0)]).failing("k", 30.0),
            down("k"),
        ),
        (
            "it is down, and another one is slow",
            interval([(Room, 9.0)])
                .sink("k", [(Request, 7.0)])
                .sink("slow", [(Request, 9.0)])
                .failing("k", 30.0),
            Some(sink("slow")),
        ),
    ]);
}

/// All that there is was read, and waits for a sink.
#[test]
fn what_was_read_and_waits_for_a_sink_is_limited_by_the_sink() {
    use ReadActivity::{Idle, Request as Read};
    use WriteActivity::{Budget, Refused, Request, Turn};
    let idle = || interval([(Idle, 9.0), (Read, 1.0)]);
    let held = [(HeldBy::Budget, 300.0)];
    check([
        (
            "the budget",
            idle().sink("t", [(Budget, 300.0), (Request, 9.0)]).target_governor(&held, 100, 0),
            Some(target_budget()),
        ),
        ("its turn", idle().sink("t", [(Turn, 300.0), (Request, 20.0)]), Some(sink("t"))),
        (
            "throttling",
            idle().sink("t", [(Refused, 90.0)]).target_governor(&[], 100, 50),
            Some(throttled(TARGET)),
        ),
        ("one write at a time", idle().sink("t", [(Request, 9.0)]), Some(sink("t"))),
        ("now and then a write", idle().sink("t", [(Request, 4.9)]), Some(source("p"))),
        (
            "one write at a time, while one feed range of ten is read",
            interval([(Idle, 90.0), (Read, 9.0)]).sink("t", [(Request, 9.0)]),
            Some(source("p")),
        ),
    ]);
}

#[test]
fn reading_is_limited_by_what_most_readers_wait_for() {
    use HeldBy::{Budget, HotPartition, Throttled};
    use ReadActivity::{Budget as Governor, Refused, Request, Room};
    let fails = Limit::SourceFails { pipeline: "p".to_owned() };
    let unnamed = Limit::SourceBudget { container: "pipeline p".to_owned() };
    check([
        ("slow responses", interval([(Request, 9.0), (Room, 1.0)]), Some(source("p"))),
        ("without a governor", interval([(Governor, 9.0)]), Some(unnamed)),
        (
            "its budget",
            interval([(Governor, 6.0), (Request, 4.0)]).source_governor(&[(Budget, 6.0)], 100, 0),
            Some(source_budget()),
        ),
        (
            "its budget, with an earlier refusal still felt",
            interval([(Governor, 9.0)]).source_governor(
                &[(Budget, 5.0), (Throttled, 4.0)],
                1000,
                3,
            ),
            Some(source_budget()),
        ),
        (
            "one partition",
            interval([(Governor, 9.0)]).source_governor(
                &[(HotPartition, 6.0), (Budget, 3.0)],
                100,
                0,
            ),
            Some(hot(SOURCE)),
        ),
        (
            "the service throttles, and the governor waits",
            interval([(Governor, 9.0)]).source_governor(&[(Throttled, 8.0)], 100, 5),
            Some(throttled(SOURCE)),
        ),
        (
            "the service throttles, and the reader waits",
            interval([(Refused, 9.0)]).source_governor(&[], 100, 50),
            Some(throttled(SOURCE)),
        ),
        (
            "`concurrency` requests are in flight",
            interval([(Governor, 9.0)]).source_governor(&[(Throttled, 8.0)], 100, 0),
            Some(source("p")),
        ),
        ("errors", interval([(Refused, 9.0)]).source_governor(&[], 100, 0), Some(fails)),
        ("processors, just not", interval([(Request, 9.0)]).cpu(0.9), Some(source("p"))),
        ("processors", interval([(Request, 9.0)]).cpu(0.91), Some(Limit::Cpu)),
        (
            "processors, and the budget too",
            interval([(Governor, 9.0)]).source_governor(&[(Budget, 9.0)], 9, 0).cpu(0.95),
            Some(Limit::Cpu),
        ),
        (
            "of two pipelines the one with more feed ranges waiting",
            interval([(Request, 10.0)]).reader("q", [(Request, 30.0)]),
            Some(source("q")),
        ),
    ]);
}

#[test]
fn delivery_is_limited_by_what_takes_most_time_at_its_slowest_sink() {
    use HeldBy::{Budget, FoundLimit, HotPartition, Throttled};
    use WriteActivity::{Budget as Governor, Refused, Request, Turn};
    let behind = || interval([(ReadActivity::Room, 5.1), (ReadActivity::Request, 4.9)]);
    let fails = Limit::SinkFails { name: "a".to_owned() };
    check([
        (
            "readers wait for requests a little more than for room",
            interval([(ReadActivity::Room, 4.9), (ReadActivity::Request, 5.1)])
                .sink("a", [(Request, 80.0)]),
            Some(source("p")),
        ),
        ("slow responses", behind().sink("a", [(Request, 20.0), (Governor, 9.0)]), Some(sink("a"))),
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
            "all turns are taken by writers that wait for the budget",
            behind().sink("a", [(Turn, 900.0), (Request, 30.0), (Governor, 50.0)]).target_governor(
                &[(Budget, 9.0)],
                100,
                0,
            ),
            Some(target_budget()),
        ),
        (
            "one partition",
            behind().sink("a", [(Governor, 50.0)]).target_governor(&[(HotPartition, 8.0)], 100, 0),
            Some(hot(TARGET)),
        ),
        (
            "the service throttles, and the governor waits",
            behind().sink("a", [(Governor, 50.0)]).target_governor(&[(Throttled, 8.0)], 100, 5),
            Some(throttled(TARGET)),
        ),
        (
            "the rate that throttling has left, with hardly a throttled request",
            behind().sink("a", [(Governor, 50.0)]).target_governor(
                &[(FoundLimit, 8.0), (HotPartition, 1.0)],
                1000,
                2,
            ),
            Some(throttled(TARGET)),
        ),
        (
            "the service throttles, and writers wait",
            behind().sink("a", [(Refused, 50.0), (Request, 9.0)]).target_governor(&[], 100, 30),
            Some(throttled(TARGET)),
        ),
        (
            "`concurrency` requests are in flight",
            behind().sink("a", [(Governor, 50.0)]).target_governor(&[(Throttled, 8.0)], 1000, 9),
            Some(sink("a")),
        ),
        ("errors", behind().sink("a", [(Refused, 50.0)]).target_governor(&[], 100, 0), Some(fails)),
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
fn every_limit_is_described_in_plain_words() {
    let limits = [
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
    let lines: String = limits.map(|limit| format!("held back by {limit}\n")).concat();
    insta::assert_snapshot!(lines, @r#"
    held back by nothing
    held back by the RU budget for reading source/shop/orders
    held back by the RU budget for writing target/shop/copies
    held back by a hot physical partition of target/shop/copies: its throughput is used up
    held back by throttling by the service of requests to source/shop/orders
    held back by slow responses when reading pipeline p
    held back by slow responses of sink archive
    held back by errors when reading pipeline p
    held back by errors when writing to sink archive
    held back by the processors of this machine
    held back by the bridge itself: the order of changes, or storing positions
    "#);
}
