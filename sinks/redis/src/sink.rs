//! Turns changes into script calls, and answers into outcomes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Change, ContainerName, Limits, Outcome, Sink, SinkError, Written,
};
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value, cmd};

use crate::classify::{Attempt, Failure};
use crate::connection::{Link, LinkResult, SharedLink};
use crate::script::{Call, Code, Plan, own_prefix};
use crate::slot::companion;
use crate::{Mode, Settings};

/// A server or cluster that changes are written to.
pub struct RedisSink {
    name: String,
    settings: Settings,
    /// The keys that are known before any change.
    known: Vec<String>,
    code: &'static Code,
    link: SharedLink,
    /// The number of connections so far.
    connections: AtomicU64,
    /// Differs from every other writer of the same streams.
    writer: String,
}

impl RedisSink {
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        Self {
            name: name.into(),
            code: Code::of(settings.mode),
            known: settings.key.known(&[]),
            settings,
            link: SharedLink::default(),
            connections: AtomicU64::new(0),
            writer: format!("{:016x}", RandomState::new().build_hasher().finish()),
        }
    }

    /// The same sink for the changes of these containers: a check asks for the keys that they have.
    #[must_use]
    pub fn with_sources(self, sources: &[ContainerName]) -> Self {
        Self { known: self.settings.key.known(sources), ..self }
    }

    async fn link(&self) -> LinkResult {
        let open = async {
            let number = self.connections.fetch_add(1, Ordering::AcqRel) + 1;
            Link::open(&self.settings, number).await
        };
        self.link.get(Link::is_usable, open).await
    }

    /// Sends calls and returns the answer to each. A call whose script the server does not know is
    /// sent again with the script.
    async fn send(
        &self,
        link: &Link,
        calls: &[Call],
        answers: &mut Answers<'_>,
    ) -> Result<Vec<RedisResult<Value>>, Failure> {
        answers.sent(calls.len());
        let by_hash = calls.iter().map(|call| call.by_hash(self.code, link.number)).collect();
        let mut received = link.send(by_hash).await?;
        let unknown: Vec<usize> = (0..calls.len())
            .filter(|at| received.get(*at).is_some_and(is_unknown_script))
            .collect();
        if unknown.is_empty() {
            return Ok(received);
        }
        answers.sent(unknown.len());
        let with_code =
            unknown.iter().map(|at| calls[*at].with_code(self.code, link.number)).collect();
        for (at, answer) in unknown.into_iter().zip(link.send(with_code).await?) {
            received[at] = answer;
        }
        Ok(received)
    }

    async fn write_all(&self, changes: &[Change], answers: &mut Answers<'_>) {
        let calls = Plan::calls(&self.settings, &self.writer, changes, answers);
        if calls.is_empty() {
            return;
        }
        let link = match self.link().await {
            Ok(link) => link,
            Err(failure) => return answers.defer_rest(&failure.reason, failure.cause),
        };
        match self.send(&link, &calls, answers).await {
            Ok(received) => {
                let mut results = vec![None; changes.len()];
                let mut ends_connection = false;
                for (call, received) in calls.iter().zip(received) {
                    for (index, result) in
                        call.changes.iter().zip(results_of(call, received, &link))
                    {
                        let ends = |failure: &Failure| failure.ends_connection;
                        ends_connection |= result.as_ref().is_err_and(ends);
                        results[*index] = Some(result);
                    }
                }
                note(results, answers);
                if ends_connection {
                    self.give_up(&link).await;
                }
            }
            Err(failure) => {
                answers.defer_rest(&failure.reason, failure.cause);
                self.give_up(&link).await;
            }
        }
    }

    async fn give_up(&self, link: &Arc<Link>) {
        link.give_up();
        self.link.forget(link).await;
    }

    /// Commands as the script sends them, and the key that they are for, if it is known.
    fn rehearsal(&self, known: Option<&str>) -> (String, Vec<Cmd>) {
        let mode = self.settings.mode;
        // A key made of fields is not known yet, so the sink's own key takes its place.
        let own = companion(own_prefix(mode), known.unwrap_or("check"));
        let key = known.unwrap_or(&own);
        let command = |name: &str, arguments: &[&str]| cmd(name).arg(arguments).to_owned();
        let mut commands = vec![command("EVAL", &["return 1", "1", key])];
        match mode {
            Mode::Stream(_) if known.is_none() => {}
            Mode::Stream(_) => commands.push(command("XADD", &[key, "*", "check", ""])),
            Mode::Set(_) => commands.push(command("SET", &[key, ""])),
            Mode::Json(_) => commands.push(command("JSON.SET", &[key, "$", "{}"])),
            Mode::Hash(_) => commands.push(command("HSET", &[key, "check", ""])),
        }
        commands.extend([command("GET", &[&own]), command("SET", &[&own, ""])]);
        if !matches!(mode, Mode::Stream(_)) {
            commands.extend([command("DEL", &[key]), command("EXPIREAT", &[key, "0"])]);
        }
        if matches!(mode, Mode::Json(_)) {
            commands.push(command("PERSIST", &[key]));
        }
        (key.to_owned(), commands)
    }
}

fn is_unknown_script(answer: &RedisResult<Value>) -> bool {
    let kind = ErrorKind::Server(ServerErrorKind::NoScript);
    answer.as_ref().is_err_and(|error| error.kind() == kind)
}

/// The result of each change of a call; `Ok(false)` for a change that the script left out because an
/// earlier one of its key failed.
fn results_of(
    call: &Call,
    received: RedisResult<Value>,
    link: &Link,
) -> Vec<Result<bool, Failure>> {
    let count = call.changes.len();
    let unexpected = || link.writing.answer("ERR the script returned an unexpected answer");
    match received {
        Err(error) => vec![Err(link.writing.error(&error)); count],
        Ok(Value::Array(values)) if values.len() == count => values
            .into_iter()
            .map(|value| match value {
                Value::Int(0 | 1) => Ok(true),
                Value::Int(-1) => Ok(false),
                Value::BulkString(text) => {
                    Err(link.writing.answer(&String::from_utf8_lossy(&text)))
                }
                _ => Err(unexpected()),
            })
            .collect(),
        Ok(_) => vec![Err(unexpected()); count],
    }
}

/// Notes results in the order of the changes: after a change that is deferred, later changes of its
/// document are held.
fn note(results: Vec<Option<Result<bool, Failure>>>, answers: &mut Answers<'_>) {
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Some(Ok(true)) if answers.is_open(index) => answers.deliver(index),
            Some(Err(failure)) if answers.is_open(index) => {
                answers.defer(index, failure.reason, failure.cause);
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Sink for RedisSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        self.settings.limits()
    }

    async fn refusal(&self, change: &Change) -> Option<String> {
        let changes = std::slice::from_ref(change);
        let mut answers = Answers::new(changes);
        Plan::calls(&self.settings, &self.writer, changes, &mut answers);
        match answers.finish().outcomes.pop() {
            Some(Outcome::Rejected { reason }) => Some(reason),
            _ => None,
        }
    }

    async fn check(&self) -> Result<(), SinkError> {
        // On its own connection, so that a transaction does not contain other commands.
        let link = Link::open(&self.settings, 0).await.map_err(Failure::into_sink_error)?;
        let checking = Attempt::checking(&self.settings);
        let failed = |error| checking.error(&error).into_sink_error();
        let rehearsals: Vec<_> = match self.known.as_slice() {
            [] => vec![self.rehearsal(None)],
            known => known.iter().map(|key| self.rehearsal(Some(key))).collect(),
        };
        for (key, commands) in rehearsals {
            let answers = link.rehearse(&key, commands).await.map_err(failed)?;
            answers.into_iter().try_for_each(|answer| answer.map(drop)).map_err(failed)?;
        }
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        Box::pin(self.write_all(changes, &mut answers)).await;
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        // Every call has been answered, so nothing is left to send.
        if let Some(link) = self.link.take().await {
            link.give_up();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
