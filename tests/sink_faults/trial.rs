//! A row that is being tested.

use std::path::PathBuf;

use cosmos_bridge_brokers::Port;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::rows::{Check, Does, Row};
use crate::support::admin::AdminAddress;
use crate::support::evidence::lines_at;
use crate::support::history::{out_of_order, remembering};
use crate::support::{Bridge, PATIENCE, Pair, eventually};

/// The other sinks, which must not be delayed: a copy, and lines of a file.
const OTHERS: &str = "[sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\n\
                      container = \"copies\"\n\
                      [sinks.file.audit]\npath = \"audit.jsonl\"\n";

/// A broker with a sink `events` that publishes to it, all of one document in order.
pub(crate) trait Scene {
    /// The sink's tables; secrets are written into the folder.
    fn sink(&self, pair: &Pair) -> String;
    /// `host:port`, as messages name it.
    fn address(&self) -> String;
    async fn strike(&mut self);
    async fn mend(&mut self);
    /// Additional fields of the document that causes the fault: `,"name":"value"`.
    fn bad(&self) -> String {
        String::new()
    }
    /// The size of the text in each other document, in bytes.
    fn text(&self) -> usize {
        0
    }
    /// The events that have arrived so far, in order.
    async fn arrived(&mut self) -> Vec<Arrived>;
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arrived {
    /// `sequence` of its body.
    Version(u64),
    /// The reference in place of a body.
    Reference(String),
}

impl Arrived {
    pub(crate) fn of(body: &Value, reference: &Value) -> Self {
        if let Some(reference) = reference.as_str() {
            return Self::Reference(reference.to_owned());
        }
        let text = body.as_str().unwrap();
        let body: Value = serde_json::from_str(text).unwrap();
        Self::Version(body["sequence"].as_u64().unwrap())
    }
}

pub(crate) async fn try_out<S: Scene>(row: Row, scene: S) {
    let trial = Trial::start(row, scene).await;
    match trial.row.does {
        Does::Waits(message) => trial.waits(message).await,
        Does::Letter(_) | Does::Claim(_) => trial.goes_on().await,
    }
}

struct Trial<S> {
    row: Row,
    scene: S,
    pair: Pair,
    config: PathBuf,
    admin: AdminAddress,
    _port: Port,
    written: u64,
}

impl<S: Scene> Trial<S> {
    async fn start(row: Row, scene: S) -> Self {
        let settings = remembering(&["/region"], 1);
        let pair = Pair::start(&settings, &settings).await;
        let port = Port::free().unwrap();
        let sinks = format!(
            "{}{OTHERS}[admin]\naddress = \"127.0.0.1:{}\"\n",
            scene.sink(&pair),
            port.number()
        );
        let source = "mode = \"all-versions-and-deletes\"\nstart = \"now\"\n\
                      poll_interval = \"100ms\"";
        let config = pair.configure_sinks(
            &sinks,
            "checkpoint_interval = \"100ms\"",
            source,
            &["events", "archive", "audit"]
                .map(|sink| format!("to = \"{sink}\"\n"))
                .join("[[pipelines.orders.routes]]\n"),
        );
        let admin = AdminAddress(port.number());
        Self { row, scene, pair, config, admin, _port: port, written: 0 }
    }

    /// Writes the next versions of the document.
    fn write(&mut self, versions: u64) {
        let note = "n".repeat(self.scene.text());
        for _ in 0..versions {
            self.written += 1;
            self.pair.seed(&format!(
                "{{\"id\":\"d\",\"region\":\"n\",\"to\":\"all\",\"note\":\"{note}\",\"sequence\":{}}}\n",
                self.written
            ));
        }
    }

    /// Waits until every version has arrived, in order.
    async fn all_arrives(&mut self) {
        let name = self.row.fault;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut arrived = Vec::new();
            for event in self.scene.arrived().await {
                // A repetition is not a new version.
                if !arrived.contains(&event) {
                    arrived.push(event);
                }
            }
            let whole: Vec<_> = (1..=self.written).map(Arrived::Version).collect();
            if arrived == whole {
                return;
            }
            assert!(whole.starts_with(&arrived), "{name}: {arrived:?}");
            let log = || std::fs::read_to_string(self.config.with_file_name("bridge.log"));
            assert!(Instant::now() < deadline, "{name}: {arrived:?} of {whole:?}: {:?}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the other sinks have every version, in order.
    async fn others_have_all(&self, more: &str) {
        let audit = self.pair.folder.path().join("audit.jsonl");
        let lines = || std::fs::read_to_string(&audit).unwrap_or_default().lines().count() as u64;
        let what = format!("{}: the others have all{more}", self.row.fault);
        eventually(&what, || {
            self.pair.received().len() as u64 == self.written && lines() == self.written
        })
        .await;
        assert_eq!(out_of_order(self.pair.received()), [], "{}", self.row.fault);
    }

    /// Replaces what differs from run to run.
    fn settled(&self, text: &str) -> String {
        let text = text.replace(&self.scene.address(), "HOST:PORT");
        // A broker is identified by its address until the client knows its id.
        let text = text.replace("HOST:PORT/bootstrap", "HOST:PORT/ID");
        let text = text.replace("HOST:PORT/1", "HOST:PORT/ID");
        // "(after 12ms in state CONNECT, 3 identical error(s) suppressed)"
        let Some((before, after)) = text.split_once("(after ") else { return text };
        let Some((inside, rest)) = after.split_once(')') else { return text };
        let state = inside.split_once("in state ").map_or("", |(_, state)| state);
        let state = state.split(',').next().unwrap_or_default();
        let rest = rest.trim_start_matches(" suppressed)");
        format!("{before}(after N in state {state}){rest}")
    }

    /// The error of the sink in `/status`.
    async fn failure(&self) -> Option<String> {
        let answer = self.admin.get("/status", "").await.ok()?;
        let status: Value = serde_json::from_str(&answer.body).ok()?;
        let error = status["sinks"].as_array()?.iter().find(|sink| sink["name"] == "events")?;
        let error = error["writing"]["error"].as_str()?;
        Some(self.settled(error))
    }

    async fn says(&self, expected: &str, bridge: &Bridge) {
        let name = self.row.fault;
        let deadline = Instant::now() + PATIENCE / 3;
        let mut said = Vec::new();
        loop {
            let failure = self.failure().await;
            if failure.as_deref() == Some(expected) {
                return;
            }
            if said.last() != Some(&failure) {
                said.push(failure);
            }
            assert!(
                Instant::now() < deadline,
                "{name}: not {expected}\nbut {said:#?}\n{}",
                bridge.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn check(&self) {
        let name = self.row.fault;
        let ended = Bridge::command(&self.config, &["check", "--live"]).await;
        let said = (ended.code(), self.settled(&ended.last_words()));
        let expected = match self.row.check {
            Check::Passes => (Some(0), "everything works; nothing was written".to_owned()),
            Check::Fails(code, message, "") => (Some(code), format!("sink `events`: {message}")),
            Check::Fails(code, message, hint) => {
                (Some(code), format!("sink `events`: {message}\nhint: {hint}"))
            }
        };
        assert_eq!(said, expected, "{name}: {}", ended.log);
    }

    async fn stop(&self, bridge: Bridge) -> String {
        bridge.terminate();
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(0), "{}: {}", self.row.fault, ended.log);
        ended.log
    }

    /// A bridge that reads.
    async fn run(&self) -> Bridge {
        let mut bridge = Bridge::start(&self.config, &["run"]);
        eventually(self.row.fault, || {
            assert!(bridge.is_running(), "{}", bridge.log());
            self.pair.is_reading()
        })
        .await;
        bridge
    }

    async fn waits(mut self, message: &str) {
        let name = self.row.fault;
        let bridge = self.run().await;
        self.write(3);
        self.all_arrives().await;
        self.scene.strike().await;
        self.write(20);
        self.says(message, &bridge).await;
        self.others_have_all("").await;
        let log = self.stop(bridge).await;
        let failing = "failed writing to sink `events`; retrying until it succeeds";
        assert!(lines_at(&log, "WARN").iter().any(|line| line.contains(failing)), "{name}: {log}");

        self.check().await;
        let mut bridge = Bridge::start(&self.config, &["run"]);
        self.says(message, &bridge).await;
        self.write(2);
        self.others_have_all(" again").await;
        assert!(bridge.is_running(), "{name}: {}", bridge.log());
        self.scene.mend().await;
        self.all_arrives().await;
        let works_again = "works again: writing to sink `events`";
        eventually(name, || bridge.log().contains(works_again)).await;
        self.stop(bridge).await;
        assert_eq!(self.pair.letters(), [], "{name}");
    }

    async fn goes_on(mut self) {
        let name = self.row.fault;
        self.check().await;
        let bridge = self.run().await;
        self.write(3);
        let bad = format!(
            "{{\"id\":\"bad\",\"region\":\"n\",\"sequence\":0,\"to\":\"all\"{}}}\n",
            self.scene.bad()
        );
        self.pair.seed(&bad.replace(",\"to\":\"all\",\"to\"", ",\"to\""));
        self.write(3);
        let claim = match self.row.does {
            Does::Claim(reference) => Some(Arrived::Reference(reference.to_owned())),
            _ => None,
        };
        let deadline = Instant::now() + PATIENCE;
        let mut expected: Vec<_> = (1..=6).map(Arrived::Version).collect();
        if let Some(claim) = claim {
            expected.push(claim);
        }
        loop {
            let mut arrived = self.scene.arrived().await;
            arrived.sort_by_key(|event| matches!(event, Arrived::Reference(_)));
            if arrived == expected {
                break;
            }
            assert!(Instant::now() < deadline, "{name}: {arrived:?}: {}", bridge.log());
            // The accounts run here, too.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.stop(bridge).await;
        let letters = self.pair.letters();
        let causes: Vec<String> =
            letters.iter().map(|letter| self.settled(&letter.cause)).collect();
        match self.row.does {
            Does::Letter(cause) => {
                assert_eq!(causes, [cause], "{name}");
                assert_eq!(letters[0].source_id, "bad", "{name}");
                assert!(letters[0].document.is_some(), "{name}");
            }
            _ => assert_eq!(causes, [""; 0], "{name}"),
        }
    }
}
