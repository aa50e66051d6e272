use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_cosmos::Answer;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{BudgetError, BudgetTask, ThroughputSource};
use crate::config::{Config, parse};
use crate::cosmos::{CosmosError, Provisioned};
use crate::exit_code;
use crate::governor::Governor;
use crate::observe::{Direction, Meter};

/// A container whose throughput changes according to a script.
#[derive(Default)]
struct Script {
    /// Responses, each from a second on.
    responses: Vec<(u64, Scripted)>,
    began: Option<Instant>,
    /// The seconds at which the throughput was read.
    reads: Mutex<Vec<u64>>,
}

#[derive(Clone, Copy)]
enum Scripted {
    Has(Provisioned, usize),
    Refuses(u16),
    Hangs,
}

impl Script {
    fn new(responses: &[(u64, Scripted)]) -> Arc<Self> {
        let began = Some(Instant::now());
        Arc::new(Self { responses: responses.to_vec(), began, ..Self::default() })
    }

    fn second(&self) -> u64 {
        self.began.unwrap().elapsed().as_secs()
    }

    fn now(&self) -> Scripted {
        let second = self.second();
        self.responses.iter().rfind(|(from, _)| *from <= second).unwrap().1
    }
}

#[async_trait]
impl ThroughputSource for Script {
    async fn throughput(&self) -> Result<Provisioned, CosmosError> {
        self.reads.lock().unwrap().push(self.second());
        match self.now() {
            Scripted::Has(provisioned, _) => Ok(provisioned),
            Scripted::Refuses(status) => {
                let message = "no".to_owned();
                let answer = Answer { status, message, ..Answer::default() };
                Err(CosmosError { attempt: "reading the throughput of `a/d/c`".to_owned(), answer })
            }
            Scripted::Hangs => std::future::pending().await,
        }
    }

    async fn partitions(&self) -> Result<usize, CosmosError> {
        match self.now() {
            Scripted::Has(_, partitions) => Ok(partitions),
            Scripted::Refuses(_) | Scripted::Hangs => std::future::pending().await,
        }
    }
}

const HAS_4000: Scripted = Scripted::Has(Provisioned::Container(4000.0), 2);

/// Pipelines `p` and `q` read `a/d/c` with this budget, which may contain further lines.
fn config(budget: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "c2VjcmV0").unwrap();
    let source = format!(
        "account = \"a\"\ndatabase = \"d\"\ncontainer = \"c\"\nstart = \"now\"\nbudget = {budget}\n"
    );
    let text = format!(
        "[accounts.a]\nendpoint = \"https://a\"\nkey = {{ file = \"key\" }}\n\
         [sinks.cosmos.s]\naccount = \"a\"\ndatabase = \"d\"\ncontainer = \"t\"\n\
         [pipelines.p]\nroutes = [{{ to = \"s\" }}]\n[pipelines.p.source]\n{source}\
         [pipelines.q]\nroutes = [{{ to = \"s\" }}]\n[pipelines.q.source]\n{source}"
    );
    parse("config.toml", &text, dir.path()).unwrap_or_else(|p| panic!("{p}"))
}

/// A workday starts five seconds after the test.
fn clock() -> impl Fn() -> Timestamp + Send + Sync + 'static {
    let began = Instant::now();
    let at: Timestamp = "2026-01-16T06:59:55Z".parse().unwrap();
    move || at + began.elapsed()
}

/// The responses, each from a second on.
type Responses<'r> = &'r [(u64, Scripted)];

/// The budgets in the configuration, each from a second on.
type Reloads<'r> = &'r [(u64, &'r str)];

/// The rate in the middle of a second.
type Rates<'r> = &'r [(u64, Option<f64>)];

const WORKDAYS: &str = "{ otherwise = \"80%\", time_zone = \"UTC\", schedule = [{ days = \"mon-fri\", \
                        hours = \"07:00-19:00\", budget = \"20%\" }] }";

async fn opened(
    budget: &str,
    source: &Arc<Script>,
) -> Result<(BudgetTask, Arc<Governor>), BudgetError> {
    let mut task = BudgetTask::new(Arc::default(), clock());
    let source = Arc::clone(source) as Arc<dyn ThroughputSource>;
    let allowance = config(budget).reading("p");
    let governor = task.governor(Direction::Read, allowance, "a/d/c", source).await?;
    Ok((task, governor))
}

/// The rates at the middle of these seconds, while the configuration is reloaded at the start of some.
async fn rates(
    task: &BudgetTask,
    governor: &Governor,
    reloads: &[(u64, &str)],
    seconds: &[u64],
) -> Vec<Option<f64>> {
    let began = Instant::now();
    let at = |second: u64| began + Duration::from_secs(second);
    let stop = CancellationToken::new();
    let sample = async {
        let mut rates = Vec::new();
        for second in seconds {
            sleep_until(at(*second) + Duration::from_millis(500)).await;
            rates.push(governor.usage().rate);
        }
        stop.cancel();
        rates
    };
    let reload = async {
        for (second, budget) in reloads {
            sleep_until(at(*second)).await;
            task.reload(&config(budget));
        }
    };
    futures::join!(sample, reload, task.run(&stop)).0
}

#[tokio::test(start_paused = true)]
async fn a_rate_follows_clock_throughput_and_configuration() {
    let _capture = capture_log();
    let grows = [(0, HAS_4000), (30, Scripted::Has(Provisioned::Container(8000.0), 2))];
    let fails = [(0, HAS_4000), (30, Scripted::Refuses(503)), (100, HAS_4000)];
    let hangs = [(0, HAS_4000), (30, Scripted::Hangs)];
    let vanishes = [(0, HAS_4000), (30, Scripted::Has(Provisioned::Unknown, 2))];
    let shared = [(0, Scripted::Has(Provisioned::Database(1000.0), 0))];
    let never = [(0, Scripted::Refuses(403))];
    let late = [(0, Scripted::Refuses(503)), (15, HAS_4000)];
    let share = "\"10%\"";
    let units = "\"250 RU/s\"";
    let unlimited = "\"unlimited\"";
    let table: &[(&str, &str, Responses<'_>, Reloads<'_>, Rates<'_>)] = &[
        (
            "a schedule",
            WORKDAYS,
            &grows,
            &[],
            &[
                (0, Some(3200.0)),
                (4, Some(3200.0)),
                (5, Some(800.0)),
                (59, Some(800.0)),
                (60, Some(1600.0)),
            ],
        ),
        ("no response", share, &fails, &[], &[(59, Some(400.0)), (119, Some(400.0))]),
        (
            "a hanging response does not delay the schedule",
            WORKDAYS,
            &hangs,
            &[(65, share)],
            &[(64, Some(800.0)), (65, Some(400.0))],
        ),
        ("throughput that vanishes", share, &vanishes, &[], &[(61, Some(400.0))]),
        ("a database's throughput", share, &shared, &[], &[(0, Some(100.0))]),
        ("no rights and no need of them", units, &never, &[], &[(0, Some(250.0))]),
        (
            "from unlimited to units",
            unlimited,
            &never,
            &[(2, units)],
            &[(1, None), (2, Some(250.0))],
        ),
        (
            "from units to a share",
            units,
            &grows,
            &[(2, share)],
            &[(1, Some(250.0)), (2, Some(400.0))],
        ),
        (
            "a share of what was never read",
            unlimited,
            &grows,
            &[(2, share)],
            &[(1, None), (2, Some(400.0)), (63, Some(800.0))],
        ),
        (
            "a share of what cannot be read yet",
            unlimited,
            &late,
            &[(2, share)],
            &[(11, None), (22, Some(400.0))],
        ),
        (
            "a share of what may not be read",
            units,
            &never,
            &[(2, share), (9, "\"7 RU/s\"")],
            &[(8, Some(250.0)), (9, Some(7.0))],
        ),
        (
            "to unlimited and back",
            share,
            &grows,
            &[(2, unlimited), (40, share)],
            &[(1, Some(400.0)), (2, None), (40, Some(800.0))],
        ),
    ];
    for (what, budget, responses, reloads, expected) in table {
        let (task, governor) = opened(budget, &Script::new(responses)).await.unwrap();
        let seconds: Vec<u64> = expected.iter().map(|(second, _)| *second).collect();
        let rates = rates(&task, &governor, reloads, &seconds).await;
        let rates: Vec<_> = seconds.into_iter().zip(rates).collect();
        assert_eq!(rates, *expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn throughput_is_read_only_where_it_is_needed() {
    let _capture = capture_log();
    let grants = [(0, HAS_4000)];
    let refuses = [(0, Scripted::Refuses(403))];
    let table: &[(&str, Responses<'_>, Reloads<'_>, &[u64])] = &[
        ("\"unlimited\"", &grants, &[], &[]),
        ("\"10%\"", &grants, &[], &[0, 60, 120]),
        ("\"9 RU/s\"", &grants, &[], &[0, 60, 120]),
        ("\"9 RU/s\"", &refuses, &[], &[0, 60, 120]),
        ("\"10%\"", &grants, &[(30, "\"unlimited\"")], &[0]),
        ("\"unlimited\"", &grants, &[(30, "\"9 RU/s\"")], &[30, 90]),
        ("\"unlimited\"", &refuses, &[(90, "\"10%\"")], &[90, 100, 110, 120]),
    ];
    for (budget, responses, reloads, expected) in table {
        let script = Script::new(responses);
        let (task, governor) = opened(budget, &script).await.unwrap();
        rates(&task, &governor, reloads, &[121]).await;
        assert_eq!(*script.reads.lock().unwrap(), *expected, "{budget}, {reloads:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_of_nothing_known_is_refused_at_the_start() {
    let _capture = capture_log();
    let nothing = Scripted::Has(Provisioned::Unknown, 1);
    let later = WORKDAYS.replace("80%", "unlimited");
    let table = [
        ("\"30%\"", nothing, Some(exit_code::CONFIG)),
        (later.as_str(), nothing, Some(exit_code::CONFIG)),
        ("\"30%\"", Scripted::Refuses(401), Some(exit_code::DENIED)),
        ("\"30%\"", Scripted::Refuses(403), Some(exit_code::DENIED)),
        ("\"30%\"", Scripted::Refuses(503), Some(exit_code::UNREACHABLE)),
        ("\"400 RU/s\"", nothing, None),
        ("\"400 RU/s\"", Scripted::Refuses(403), None),
        ("\"unlimited\"", Scripted::Refuses(403), None),
    ];
    let mut errors = Vec::new();
    for (budget, response, expected) in table {
        let refused = opened(budget, &Script::new(&[(0, response)])).await.err();
        assert_eq!(refused.as_ref().map(BudgetError::exit_code), expected, "{budget}");
        if let Some(refused) = refused {
            errors.extend([refused.to_string(), format!("hint: {}", refused.hint().unwrap())]);
        }
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn one_direction_of_one_container_has_one_governor() {
    let _capture = capture_log();
    let meter: Arc<Meter> = Arc::default();
    let mut task = BudgetTask::new(Arc::clone(&meter), clock());
    let script = Script::new(&[(0, HAS_4000)]);
    let config = config("\"10%\"");
    let mut governors = Vec::new();
    for (direction, allowance) in [
        (Direction::Read, config.reading("p")),
        (Direction::Read, config.reading("q")),
        (Direction::Write, config.reading("q")),
        (Direction::Write, config.writing("s").unwrap()),
    ] {
        let source = Arc::clone(&script) as Arc<dyn ThroughputSource>;
        governors.push(task.governor(direction, allowance, "a/d/c", source).await.unwrap());
    }
    let first = |governor| governors.iter().position(|one| Arc::ptr_eq(one, governor)).unwrap();
    assert_eq!(governors.iter().map(first).collect::<Vec<_>>(), [0, 0, 2, 3]);
    let shown: Vec<_> = meter.budgets().iter().map(|shown| shown.direction).collect();
    assert_eq!(shown, [Direction::Read, Direction::Write, Direction::Write]);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_logged_once() {
    let (lines, guard) = capture_log();
    let script = Script::new(&[
        (0, HAS_4000),
        (30, Scripted::Has(Provisioned::Container(8000.0), 4)),
        (150, Scripted::Refuses(403)),
        (300, HAS_4000),
    ]);
    let (task, governor) = opened(WORKDAYS, &script).await.unwrap();
    let polite = WORKDAYS.to_owned() + "\ngood_neighbour = true";
    let reloads = [
        (90, WORKDAYS),
        (91, polite.as_str()),
        (100, "\"unlimited\""),
        (140, "\"5 RU/s\""),
        (290, "\"10%\""),
    ];
    rates(&task, &governor, &reloads, &[330]).await;
    drop(guard);
    let log = lines.0.lock().unwrap().clone();
    insta::assert_snapshot!(String::from_utf8(log).unwrap());
}

/// Captures the log of this thread. Every test does so: with a single subscriber, the first thread that logs a
/// line decides for all threads whether the line is enabled.
fn capture_log() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
