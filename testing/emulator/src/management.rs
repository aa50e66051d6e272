//! The management interface: JSON over HTTP on a separate port, without a key.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::contents;
use crate::fault::FaultRule;
use crate::key::parse_header;
use crate::live::LiveContainer;
use crate::request::Request;
use crate::serve::{Handler, Outcome};
use crate::stats::ContainerStats;
use crate::workload::{Plan, Workloads};
use crate::world::{ContainerSettings, ControlError, World};
use bodies::{Advance, History, Merge, RegionChange, Split, Throughput, Workload};

mod bodies;

/// Answers management requests.
pub struct Management {
    world: Arc<World>,
    workloads: Workloads,
    ready: Value,
}

/// A failure: a status and a sentence.
struct Failure(u16, String);

type Outcomes = Result<Answer, Failure>;

impl Management {
    /// `ready` is the object that names all endpoints.
    pub fn new(world: Arc<World>, ready: Value) -> Self {
        Self { world, workloads: Workloads::default(), ready }
    }

    async fn dispatch(&self, request: &Request, query: &Query) -> Outcomes {
        let segments: Vec<String> = request
            .path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let method = request.method.as_str();
        match (method, segments.as_slice()) {
            ("GET", ["ready"]) => ok(&self.ready),
            ("POST", ["faults"]) => {
                let rule: FaultRule = read(&request.body)?;
                ok(&json!({"id": self.world.faults.add(rule)}))
            }
            ("GET", ["faults"]) => ok(&json!(self.world.faults.list())),
            ("DELETE", ["faults"]) => {
                self.world.faults.clear();
                ok(&json!({}))
            }
            ("DELETE", ["faults", id]) => {
                let removed = id.parse().is_ok_and(|id| self.world.faults.remove(id));
                if removed { ok(&json!({})) } else { Err(unknown()) }
            }
            ("GET", ["clock"]) => ok(&json!({"now": self.world.clock.now()})),
            ("POST", ["clock"]) => {
                let advance: Advance = read(&request.body)?;
                self.world.clock.advance(advance.advance_seconds);
                ok(&json!({"now": self.world.clock.now()}))
            }
            ("GET", ["stats"]) => ok(&self.stats()),
            ("DELETE", ["stats"]) => {
                self.reset_stats();
                ok(&json!({}))
            }
            ("POST", ["workload"]) => {
                ok(&json!({"id": self.start_workload(&read(&request.body)?)?}))
            }
            ("GET", ["workload", id]) => {
                let progress = id.parse().ok().and_then(|id| self.workloads.progress(id));
                ok(&json!(progress.ok_or_else(unknown)?))
            }
            ("DELETE", ["workload", id]) => {
                let id = id.parse().map_err(|_| unknown())?;
                ok(&json!(self.workloads.stop(id).await.ok_or_else(unknown)?))
            }
            ("PUT", ["accounts", account, "history"]) => {
                let history: History = read(&request.body)?;
                self.world.account(account)?.keep_history(history.seconds);
                ok(&json!({}))
            }
            ("GET", ["accounts", account, "regions"]) => {
                ok(&json!(self.world.account(account)?.regions.list()))
            }
            ("PUT", ["accounts", account, "regions", name]) => {
                let change: RegionChange = read(&request.body)?;
                let known = change.apply(&self.world.account(account)?.regions, name);
                if known { ok(&json!({})) } else { Err(unknown()) }
            }
            (_, ["accounts", account, "databases", database, "containers", id, rest @ ..]) => {
                let place = Place { account, database, id };
                self.container(request, place, rest, query).await
            }
            _ => Err(unknown()),
        }
    }

    async fn container(
        &self,
        request: &Request,
        place: Place<'_>,
        rest: &[&str],
        query: &Query,
    ) -> Outcomes {
        let Place { account, database, id } = place;
        let world = &self.world;
        let body = &request.body;
        match (request.method.as_str(), rest) {
            ("PUT", []) => {
                let settings: ContainerSettings = read(body)?;
                world.create_container(account, database, id, &settings).await?;
                ok(&json!({}))
            }
            ("DELETE", []) => {
                world.delete_container(account, database, id).await?;
                ok(&json!({}))
            }
            ("GET", []) => ok(&json!(world.state(account, database, id)?)),
            ("POST", ["split"]) => {
                let split: Split = read(body)?;
                let range = split.range.as_deref();
                let children = world.split(account, database, id, range, split.hold).await?;
                ok(&json!({"children": children}))
            }
            ("POST", ["merge"]) => {
                let Merge { ranges: [a, b], hold } = read(body)?;
                let children = world.merge(account, database, id, [&a, &b], hold).await?;
                ok(&json!({"children": children}))
            }
            ("POST", ["complete"]) => {
                let children = world.complete(account, database, id).await?;
                ok(&json!({"children": children}))
            }
            ("PUT", ["throughput"]) => {
                let throughput: Throughput = read(body)?;
                let container = world.container(account, database, id)?;
                container.throttle.offer(throughput.offered()?);
                ok(&json!({}))
            }
            ("POST", ["documents"]) => {
                let container = world.container(account, database, id)?;
                let written = contents::seed(&container, body, world.clock.now())
                    .map_err(|refusal| Failure(refusal.status, refusal.message))?;
                ok(&json!({"written": written}))
            }
            ("PUT", ["documents", id]) => {
                let container = world.container(account, database, place.id)?;
                let key = query.text("key").unwrap_or_default();
                let key = parse_header(&key).map_err(|error| Failure(400, error.to_string()))?;
                contents::hold(&container, &key, id, body, world.clock.now())
                    .map_err(|refusal| Failure(refusal.status, refusal.message))?;
                ok(&json!({}))
            }
            ("GET", ["documents"]) => {
                let container = world.container(account, database, id)?;
                let (after, limit) = (query.number("after"), query.number("limit"));
                let system = query.0.get("system").is_some_and(|value| value == "true");
                let lines = contents::list(
                    &container,
                    after.unwrap_or(0),
                    limit.unwrap_or(usize::MAX),
                    system,
                    world.clock.now(),
                );
                Ok(Answer::new(200, 0.0)
                    .header("content-type", "application/x-ndjson")
                    .bytes(lines))
            }
            ("GET", ["checksum"]) => {
                let container = world.container(account, database, id)?;
                ok(&json!(contents::checksum(&container, world.clock.now())))
            }
            _ => Err(unknown()),
        }
    }

    fn start_workload(&self, wanted: &Workload) -> Result<u64, Failure> {
        let Workload { account, database, container, .. } = wanted;
        let container = self.world.container(account, database, container)?;
        let documents = LiveContainer { container, clock: Arc::clone(&self.world.clock) };
        let plan = Plan {
            rate: wanted.rate,
            inserts: wanted.inserts,
            updates: wanted.updates,
            deletes: wanted.deletes,
            seed: wanted.seed,
            operations: wanted.operations,
            time: wanted.for_seconds.map(Duration::from_secs),
        };
        let started = self.workloads.start(documents, plan);
        started.map_err(|error| Failure(400, error.to_string()))
    }

    fn stats(&self) -> Value {
        let accounts = self.world.accounts.iter().map(|(name, account)| {
            let containers: serde_json::Map<String, Value> = account
                .containers()
                .iter()
                .map(|container| {
                    let name = format!("{}/{}", container.database, container.id);
                    let stats = container.stats.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut stats = json!(*stats);
                    // The end of the last slot, for windows up to now.
                    stats["elapsed_ms"] = json!(container.made.elapsed().as_millis());
                    (name, stats)
                })
                .collect();
            let own = account.stats.lock().unwrap_or_else(PoisonError::into_inner);
            (name.clone(), json!({"containers": containers, "account": *own}))
        });
        let accounts: serde_json::Map<String, Value> = accounts.collect();
        json!({"accounts": accounts})
    }

    fn reset_stats(&self) {
        for account in self.world.accounts.values() {
            *account.stats.lock().unwrap_or_else(PoisonError::into_inner) =
                ContainerStats::default();
            for container in account.containers() {
                let mut stats = container.stats.lock().unwrap_or_else(PoisonError::into_inner);
                *stats = ContainerStats::default();
            }
        }
    }
}

impl Handler for Management {
    /// Seeds are sent whole.
    const BODY_BYTES_MAX: usize = 1024 * 1024 * 1024;

    async fn handle(&self, request: Request, query: Option<String>) -> Outcome {
        let query = Query::read(query.as_deref().unwrap_or_default());
        let answer = match self.dispatch(&request, &query).await {
            Ok(answer) => answer,
            Err(Failure(status, message)) => {
                Answer::new(status, 0.0).json(&json!({"error": message}))
            }
        };
        Outcome::Answered(answer)
    }
}

/// The parameters of a query string.
struct Query(BTreeMap<String, String>);

impl Query {
    fn read(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn text(&self, name: &str) -> Option<String> {
        let text = percent_decode_str(self.0.get(name)?).decode_utf8_lossy();
        Some(text.into_owned())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.0.get(name)?.parse().ok()
    }
}

#[derive(Clone, Copy)]
struct Place<'a> {
    account: &'a str,
    database: &'a str,
    id: &'a str,
}

#[allow(clippy::unnecessary_wraps, reason = "every branch of the dispatch ends with it")]
fn ok(value: &Value) -> Outcomes {
    Ok(Answer::new(200, 0.0).json(value))
}

fn unknown() -> Failure {
    Failure(404, "there is no such thing".to_owned())
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Failure(400, error.to_string()))
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let status = match error {
            ControlError::NoAccount(_)
            | ControlError::NoContainer(..)
            | ControlError::NoRange(_) => 404,
            ControlError::Different | ControlError::NothingHeld | ControlError::AlreadyHeld => 409,
            ControlError::Invalid(_) | ControlError::Backend(_) => 400,
        };
        Self(status, error.to_string())
    }
}
