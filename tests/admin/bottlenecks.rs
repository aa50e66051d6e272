//! What the status says holds the bridge back, with one cause at a time.

use std::time::Duration;

use cosmos_bridge_brokers::Endpoint;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};
use rusqlite::Connection;
use tokio::time::{Instant, sleep};

use crate::support::admin::AdminAddress;
use crate::support::{Bridge, PATIENCE, Pair, eventually};
use crate::{documents, with_admin};

/// The cause is computed over at least two seconds: two looks with this interval see two results.
const NEXT_RESULT: Duration = Duration::from_millis(2_100);

/// Results in a row that name the cause: a cause that is named now and then is not the one.
const IN_A_ROW: u32 = 3;

/// A cause, and what the status says.
#[derive(Default)]
struct Bottleneck {
    name: &'static str,
    /// Request units per second of source and target; `None` is unlimited.
    throughput: [Option<u32>; 2],
    /// Options of the sink, of the pipeline and of its source.
    options: [&'static str; 3],
    cause: Cause,
    /// All documents have one partition key.
    has_one_key: bool,
    held_back_by: &'static str,
}

/// What is done to the bridge's surroundings.
#[derive(Default)]
enum Cause {
    #[default]
    Nothing,
    /// To requests of this kind to this account, from the start.
    Fault(&'static str, &'static str, Effect),
    /// The same, once the bridge has copied documents, and before there are more.
    Later(&'static str, &'static str, Effect),
    /// The sink is an HTTP endpoint, which answers so, or not at all, once it has events.
    Endpoint(Option<&'static str>),
    /// Another process writes to the state file.
    StateLocked,
}

impl Cause {
    fn begins_later(&self) -> bool {
        matches!(self, Self::Later(..) | Self::Endpoint(_) | Self::StateLocked)
    }
}

fn delay(milliseconds: u64) -> Effect {
    Effect { delay_ms: Some(milliseconds), ..Effect::default() }
}

fn status(status: u16) -> Effect {
    Effect { status: Some(status), ..Effect::default() }
}

fn throttling() -> Effect {
    Effect { substatus: Some(3200), retry_after_ms: Some(100), ..status(429) }
}

fn of_reading() -> Vec<Bottleneck> {
    vec![
        Bottleneck {
            name: "budget for reading",
            options: ["", "", "budget = \"20 RU/s\"\npage_size = 20"],
            held_back_by: "the RU budget for reading source/shop/orders",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "throttled source",
            options: ["", "", "page_size = 5"],
            cause: Cause::Fault("source", "feed", throttling()),
            held_back_by: "throttling by the service of requests to source/shop/orders",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "slow source",
            options: ["", "", "page_size = 5"],
            cause: Cause::Fault("source", "feed", delay(150)),
            held_back_by: "slow responses when reading pipeline orders",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "failing source",
            cause: Cause::Later("source", "feed", status(503)),
            held_back_by: "errors when reading pipeline orders",
            ..Bottleneck::default()
        },
        Bottleneck { name: "nothing", held_back_by: "nothing", ..Bottleneck::default() },
    ]
}

fn of_writing() -> Vec<Bottleneck> {
    vec![
        Bottleneck {
            name: "budget for writing",
            options: ["budget = \"100 RU/s\"", "", ""],
            held_back_by: "the RU budget for writing target/shop/copies",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "a budget that is all of the throughput",
            throughput: [None, Some(400)],
            options: ["budget = \"100%\"", "", ""],
            held_back_by: "the RU budget for writing target/shop/copies",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "throttled target",
            throughput: [None, Some(400)],
            held_back_by: "throttling by the service of requests to target/shop/copies",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "one hot key",
            throughput: [None, Some(800)],
            options: ["budget = \"100%\"", "", ""],
            has_one_key: true,
            held_back_by: "a hot physical partition of target/shop/copies: its throughput is used up",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "slow target",
            options: ["concurrency = 2\nbulk = false", "", ""],
            cause: Cause::Fault("target", "writes", delay(150)),
            held_back_by: "slow responses of sink archive",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "window that a slow target fills",
            options: ["concurrency = 2\nbulk = false", "window = 50", "page_size = 10"],
            cause: Cause::Fault("target", "writes", delay(150)),
            held_back_by: "slow responses of sink archive",
            ..Bottleneck::default()
        },
    ]
}

fn of_what_is_down() -> Vec<Bottleneck> {
    vec![
        Bottleneck {
            name: "target that is down",
            cause: Cause::Later("target", "writes", status(503)),
            held_back_by: "sink archive, which is down",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "endpoint that answers 503",
            cause: Cause::Endpoint(Some("503")),
            held_back_by: "sink hook, which is down",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "endpoint that is not there",
            cause: Cause::Endpoint(None),
            held_back_by: "sink hook, which is down",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "positions that cannot be stored",
            options: ["", "window = 50", "page_size = 10"],
            cause: Cause::StateLocked,
            held_back_by: "the bridge itself: the order of changes, or storing positions",
            ..Bottleneck::default()
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_on_the_side_of_the_source_is_named() {
    for bottleneck in of_reading() {
        bottleneck.expect_name().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_on_the_side_of_the_target_is_named() {
    for bottleneck in of_writing() {
        bottleneck.expect_name().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_down_is_named() {
    for bottleneck in of_what_is_down() {
        bottleneck.expect_name().await;
    }
}

impl Bottleneck {
    /// Documents with these numbers.
    fn documents(&self, numbers: std::ops::Range<u32>) -> String {
        let lines = documents(numbers);
        if self.has_one_key {
            lines.replace("\"region\":\"", "\"region\":\"same\",\"number\":\"")
        } else {
            lines
        }
    }

    async fn expect_name(self) {
        let settings = |throughput| ContainerSettings {
            throughput,
            ..ContainerSettings::new(&["/region"], 2)
        };
        let [source, target] = self.throughput.map(settings);
        let pair = Pair::start(&source, &target).await;
        pair.seed(&self.documents(0..if self.cause.begins_later() { 200 } else { 4_000 }));
        if let Cause::Fault(account, operation, then) = &self.cause {
            // Not every request: the start asks for a page, too.
            let every = then.status.is_some().then_some(2);
            pair.accounts.fault(FaultRule { every, ..fault(account, operation, then) });
        }
        let [sink, pipeline, source] = self.options;
        let mut endpoint = None;
        let config = if let Cause::Endpoint(_) = self.cause {
            let started = endpoint.insert(Endpoint::start().await.unwrap());
            let sinks = format!("[sinks.http.hook]\nurl = \"{}orders\"\n", started.url());
            let source = format!("mode = \"latest-version\"\nstart = \"beginning\"\n{source}");
            pair.configure_sinks(&sinks, pipeline, &source, "to = \"hook\"")
        } else {
            pair.configure(sink, pipeline, source, "")
        };
        let (admin, _port) = with_admin(&config, "[log]\nlevel = \"info\"");
        let bridge = Bridge::start(&config, &["run"]);
        let mut other = None;
        if self.cause.begins_later() {
            admin.until("/ready", 200, "\"ready\":true").await;
            admin.until("/status", 200, "\"state\":\"caught up\"").await;
            match &self.cause {
                Cause::Later(account, operation, then) => {
                    pair.accounts.fault(fault(account, operation, then));
                }
                Cause::StateLocked => {
                    let file = pair.folder.path().join("cosmos-bridge.db");
                    let connection = other.insert(Connection::open(file).unwrap());
                    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                }
                Cause::Endpoint(Some(answer)) => {
                    endpoint.as_ref().unwrap().answers(&vec![*answer; 5_000]).unwrap();
                }
                _ => endpoint.as_mut().unwrap().kill().await,
            }
            pair.seed(&self.documents(200..400));
        }
        self.is_said(admin).await;
        if self.held_back_by.ends_with("down") {
            self.has_no_eta(&bridge).await;
        }
        bridge.kill().await;
    }

    /// Waits until several results in a row name the cause.
    async fn is_said(&self, admin: AdminAddress) {
        let said = format!("\"held_back_by\":\"{}\"", self.held_back_by);
        let deadline = Instant::now() + PATIENCE;
        let mut in_a_row = 0;
        while in_a_row < IN_A_ROW {
            let status = admin.get("/status", "").await;
            let is_said = status.as_ref().is_ok_and(|status| status.body.contains(&said));
            in_a_row = if is_said { in_a_row + 1 } else { 0 };
            assert!(Instant::now() < deadline, "{}: not {said} but {status:?}", self.name);
            sleep(NEXT_RESULT).await;
        }
    }

    /// The progress line that names the sink that is down has no estimate of the remaining time.
    async fn has_no_eta(&self, bridge: &Bridge) {
        let named = |line: &str| line.contains(&format!("held_back_by=\"{}\"", self.held_back_by));
        let found = || bridge.log().lines().find(|line| named(line)).map(str::to_owned);
        eventually(self.name, || found().is_some()).await;
        let line = found().unwrap();
        assert!(!line.contains("lag_seconds=0 "), "{}: {line}", self.name);
        assert!(!line.contains("eta_seconds"), "{}: {line}", self.name);
    }
}

fn fault(account: &str, operation: &str, then: &Effect) -> FaultRule {
    FaultRule {
        account: Some(account.to_owned()),
        operation: Some(operation.to_owned()),
        then: then.clone(),
        ..FaultRule::default()
    }
}
