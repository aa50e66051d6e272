use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_cosmos::Answer;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{BudgetError, BudgetTask, Offer};
use crate::config::{Config, parse};
use crate::cosmos::{CosmosError, Provisioned};
use crate::exit_code;
use crate::governor::Governor;
use crate::observe::{Direction, Meter};
use tokio_util::sync::CancellationToken;

/// A container whose throughput changes as a script says.
#[derive(Default)]
struct Script {
    /// From this second on.
    answers: Vec<(u64, Said)>,
    began: Option<Instant>,
    /// The seconds at which it was asked.
    asked: Mutex<Vec<u64>>,
}

#[derive(Clone, Copy)]
enum Said {
    Has(Provisioned, usize),
    Refuses(u16),
    Hangs,
}

impl Script {
    fn new(answers: &[(u64, Said)]) -> Arc<Self> {
        let began = Some(Instant::now());
        Arc::new(Self { answers: answers.to_vec(), began, ..Self::default() })
    }

    fn second(&self) -> u64 {
        self.began.unwrap().elapsed().as_secs()
    }

    fn now(&self) -> Said {
        let second = self.second();
        self.answers.iter().rfind(|(from, _)| *from <= second).unwrap().1
    }
}

#[async_trait]
impl Offer for Script {
    async fn throughput(&self) -> Result<Provisioned, CosmosError> {
        self.asked.lock().unwrap().push(self.second());
        match self.now() {
            Said::Has(provisioned, _) => Ok(provisioned),
            Said::Refuses(status) => {
                let message = "no".to_owned();
                let answer = Answer { status, message, ..Answer::default() };
                Err(CosmosError { attempt: "reading the throughput of `a/d/c`".to_owned(), answer })
            }
            Said::Hangs => std::future::pending().await,
        }
    }

    async fn partitions(&self) -> Result<usize, CosmosError> {
        match self.now() {
            Said::Has(_, partitions) => Ok(partitions),
            Said::Refuses(_) | Said::Hangs => std::future::pending().await,
        }
    }
}

const HAS_4000: Said = Said::Has(Provisioned::Container(4000.0), 2);

/// Pipelines `p` and `q` read `a/d/c` within this budget; it may bring more lines along.
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

/// A workday begins five seconds after a test does.
fn clock() -> impl Fn() -> Timestamp + Send + Sync + 'static {
    let began = Instant::now();
    let at: Timestamp = "2026-01-16T06:59:55Z".parse().unwrap();
    move || at + began.elapsed()
}

/// What is said and when, in seconds.
type Answers<'r> = &'r [(u64, Said)];

/// Which budget the file has from which second on.
type Reloads<'r> = &'r [(u64, &'r str)];

/// The rate in the middle of a second.
type Rates<'r> = &'r [(u64, Option<f64>)];

const WORKDAYS: &str = "{ otherwise = \"80%\", time_zone = \"UTC\", schedule = [{ days = \"mon-fri\", \
                        hours = \"07:00-19:00\", budget = \"20%\" }] }";

async fn opened(
    budget: &str,
    offer: &Arc<Script>,
) -> Result<(BudgetTask, Arc<Governor>), BudgetError> {
    let mut keeper = BudgetTask::new(Arc::default(), clock());
    let offer = Arc::clone(offer) as Arc<dyn Offer>;
    let allowance = config(budget).reading("p");
    let governor = keeper.governor(Direction::Read, allowance, "a/d/c", offer).await?;
    Ok((keeper, governor))
}

/// The rates at the middle of these seconds, while the file changes at the beginning of some.
async fn rates(
    keeper: &BudgetTask,
    governor: &Governor,
    reloads: &[(u64, &str)],
    seconds: &[u64],
) -> Vec<Option<f64>> {
    let began = Instant::now();
    let at = |second: u64| began + Duration::from_secs(second);
    let stop = CancellationToken::new();
    let look = async {
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
            keeper.reload(&config(budget));
        }
    };
    futures::join!(look, reload, keeper.run(&stop)).0
}

#[tokio::test(start_paused = true)]
async fn a_rate_follows_clock_throughput_and_file() {
    let _listening = listen();
    let grows = [(0, HAS_4000), (30, Said::Has(Provisioned::Container(8000.0), 2))];
    let fails = [(0, HAS_4000), (30, Said::Refuses(503)), (100, HAS_4000)];
    let hangs = [(0, HAS_4000), (30, Said::Hangs)];
    let vanishes = [(0, HAS_4000), (30, Said::Has(Provisioned::Unknown, 2))];
    let shared = [(0, Said::Has(Provisioned::Database(1000.0), 0))];
    let never = [(0, Said::Refuses(403))];
    let late = [(0, Said::Refuses(503)), (15, HAS_4000)];
    let share = "\"10%\"";
    let units = "\"250 RU/s\"";
    let unlimited = "\"unlimited\"";
    let table: &[(&str, &str, Answers<'_>, Reloads<'_>, Rates<'_>)] = &[
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
        ("no answer", share, &fails, &[], &[(59, Some(400.0)), (119, Some(400.0))]),
        (
            "a hanging answer holds up no clock",
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
            "of what cannot be read yet",
            unlimited,
            &late,
            &[(2, share)],
            &[(11, None), (22, Some(400.0))],
        ),
        (
            "of what may never be read",
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
    for (what, budget, answers, reloads, expected) in table {
        let (keeper, governor) = opened(budget, &Script::new(answers)).await.unwrap();
        let seconds: Vec<u64> = expected.iter().map(|(second, _)| *second).collect();
        let rates = rates(&keeper, &governor, reloads, &seconds).await;
        let rates: Vec<_> = seconds.into_iter().zip(rates).collect();
        assert_eq!(rates, *expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn throughput_is_read_only_where_it_is_needed() {
    let _listening = listen();
    let grants = [(0, HAS_4000)];
    let refuses = [(0, Said::Refuses(403))];
    let table: &[(&str, Answers<'_>, Reloads<'_>, &[u64])] = &[
        ("\"unlimited\"", &grants, &[], &[]),
        ("\"10%\"", &grants, &[], &[0, 60, 120]),
        ("\"9 RU/s\"", &grants, &[], &[0, 60, 120]),
        ("\"9 RU/s\"", &refuses, &[], &[0, 60, 120]),
        ("\"10%\"", &grants, &[(30, "\"unlimited\"")], &[0]),
        ("\"unlimited\"", &grants, &[(30, "\"9 RU/s\"")], &[30, 90]),
        ("\"unlimited\"", &refuses, &[(90, "\"10%\"")], &[90, 100, 110, 120]),
    ];
    for (budget, answers, reloads, expected) in table {
        let script = Script::new(answers);
        let (keeper, governor) = opened(budget, &script).await.unwrap();
        rates(&keeper, &governor, reloads, &[121]).await;
        assert_eq!(*script.asked.lock().unwrap(), *expected, "{budget}, {reloads:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_of_nothing_known_is_refused_at_the_start() {
    let _listening = listen();
    let nothing = Said::Has(Provisioned::Unknown, 1);
    let later = WORKDAYS.replace("80%", "unlimited");
    let table = [
        ("\"30%\"", nothing, Some(exit_code::CONFIG)),
        (later.as_str(), nothing, Some(exit_code::CONFIG)),
        ("\"30%\"", Said::Refuses(401), Some(exit_code::DENIED)),
        ("\"30%\"", Said::Refuses(403), Some(exit_code::DENIED)),
        ("\"30%\"", Said::Refuses(503), Some(exit_code::UNREACHABLE)),
        ("\"400 RU/s\"", nothing, None),
        ("\"400 RU/s\"", Said::Refuses(403), None),
        ("\"unlimited\"", Said::Refuses(403), None),
    ];
    let mut said = Vec::new();
    for (budget, answer, expected) in table {
        let refused = opened(budget, &Script::new(&[(0, answer)])).await.err();
        assert_eq!(refused.as_ref().map(BudgetError::exit_code), expected, "{budget}");
        if let Some(refused) = refused {
            said.extend([refused.to_string(), format!("hint: {}", refused.hint().unwrap())]);
        }
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn one_direction_of_one_container_has_one_governor() {
    let _listening = listen();
    let meter: Arc<Meter> = Arc::default();
    let mut keeper = BudgetTask::new(Arc::clone(&meter), clock());
    let script = Script::new(&[(0, HAS_4000)]);
    let config = config("\"10%\"");
    let mut governors = Vec::new();
    for (direction, allowance) in [
        (Direction::Read, config.reading("p")),
        (Direction::Read, config.reading("q")),
        (Direction::Write, config.reading("q")),
        (Direction::Write, config.writing("s").unwrap()),
    ] {
        let offer = Arc::clone(&script) as Arc<dyn Offer>;
        governors.push(keeper.governor(direction, allowance, "a/d/c", offer).await.unwrap());
    }
    let first = |governor| governors.iter().position(|one| Arc::ptr_eq(one, governor)).unwrap();
    assert_eq!(governors.iter().map(first).collect::<Vec<_>>(), [0, 0, 2, 3]);
    let shown: Vec<_> = meter.budgets().iter().map(|shown| shown.direction).collect();
    assert_eq!(shown, [Direction::Read, Direction::Write, Direction::Write]);
}

#[tokio::test(start_paused = true)]
async fn what_changed_is_told_once() {
    let (lines, guard) = listen();
    let script = Script::new(&[
        (0, HAS_4000),
        (30, Said::Has(Provisioned::Container(8000.0), 4)),
        (150, Said::Refuses(403)),
        (300, HAS_4000),
    ]);
    let (keeper, governor) = opened(WORKDAYS, &script).await.unwrap();
    let polite = WORKDAYS.to_owned() + "\ngood_neighbour = true";
    let reloads = [
        (90, WORKDAYS),
        (91, polite.as_str()),
        (100, "\"unlimited\""),
        (140, "\"5 RU/s\""),
        (290, "\"10%\""),
    ];
    rates(&keeper, &governor, &reloads, &[330]).await;
    drop(guard);
    let told = lines.0.lock().unwrap().clone();
    insta::assert_snapshot!(String::from_utf8(told).unwrap());
}

/// Hears what this thread logs. Every test does: the first thread to log a line decides for all
/// whether anybody listens to it, if there is one listener only.
fn listen() -> (Lines, tracing::subscriber::DefaultGuard) {
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
