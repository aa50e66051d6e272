//! A sink whose secrets may change while it runs.
//!
//! A client keeps the secrets it was built with, so a changed secret needs a new client. The secrets
//! are read again at SIGHUP, and while the target accepts nothing: with every protocol, a refused
//! login looks like that. Unchanged secrets have no effect.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Answers, Cause, Change, Limits, Sink, SinkError, Wait, Written};
use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, RwLock};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::secrets::{SecretRefs, Secrets};
use crate::deliver::LATE_LIMIT;
use crate::observe::FailureLog;

/// Shortest time between two reads of the secrets after failures; longer for secrets in key vaults.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for the end of the old sink. Writes wait meanwhile.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// Builds the sink with secrets, without connecting.
pub(super) type Build = Box<dyn Fn(&Secrets) -> Result<Arc<dyn Sink>, SinkError> + Send + Sync>;

/// A sink that is rebuilt when one of its secrets changes.
pub struct ReloadingSink {
    name: String,
    limits: Limits,
    references: SecretRefs,
    build: Build,
    /// Read-locked by each write, so that no write is in flight when the sink is replaced.
    current: RwLock<Arc<dyn Sink>>,
    /// The secrets of the current sink. Locked during a reload, so that reloads run one at a time.
    secrets: Mutex<Secrets>,
    last_read: SyncMutex<Instant>,
    /// Nothing is written before, because messages of the last sink may still arrive.
    held_until: SyncMutex<Option<Instant>>,
    failures: FailureLog,
}

impl ReloadingSink {
    /// `secrets` are those that the references have now.
    pub(super) fn new(
        name: &str,
        references: SecretRefs,
        secrets: Secrets,
        build: Build,
    ) -> Result<Self, SinkError> {
        let sink = build(&secrets)?;
        Ok(Self {
            name: name.to_owned(),
            limits: sink.limits(),
            references,
            build,
            current: RwLock::new(sink),
            secrets: Mutex::new(secrets),
            last_read: SyncMutex::new(Instant::now()),
            held_until: SyncMutex::new(None),
            failures: FailureLog::new(format!("reading the secrets of sink `{name}` again")),
        })
    }

    /// Reads the secrets, and rebuilds the sink if one has changed; then returns true. A secret that
    /// cannot be used is logged and changes nothing.
    pub async fn reload(&self) -> bool {
        let mut secrets = self.secrets.lock().await;
        match self.renewed(&secrets).await {
            Ok(None) => {
                self.failures.recovered();
                false
            }
            Ok(Some((next, sink))) => {
                self.failures.recovered();
                *secrets = next;
                self.replace(sink).await;
                info!(sink = self.name, "the sink's secrets have changed; using the new ones");
                true
            }
            Err(error) => {
                let hint = error.hint.as_deref().unwrap_or_default();
                self.failures.failed(&format!("{error}. {hint}"));
                false
            }
        }
    }

    async fn renewed(
        &self,
        current: &Secrets,
    ) -> Result<Option<(Secrets, Arc<dyn Sink>)>, SinkError> {
        let read = self.references.read().await?;
        if read == *current {
            return Ok(None);
        }
        let sink = (self.build)(&read)?;
        Ok(Some((read, sink)))
    }

    /// Waits for the writes in flight, closes the current sink, and only then allows new writes.
    async fn replace(&self, sink: Arc<dyn Sink>) {
        let mut current = self.current.write().await;
        let closed = timeout(CLOSE_WITHIN, current.close()).await;
        let error = match closed {
            Ok(closed) => closed.err().map(|error| error.to_string()),
            Err(_) => Some(format!("not closed within {CLOSE_WITHIN:?}")),
        };
        if let Some(error) = error {
            // Writes without an outcome are retried, and what was sent may still arrive.
            warn!(sink = self.name, error, "could not close the sink with its old secrets");
            *self.held_until.lock() = Some(Instant::now() + LATE_LIMIT);
        }
        *current = sink;
    }

    /// How long nothing may be written.
    fn held(&self) -> Option<Duration> {
        let mut held_until = self.held_until.lock();
        let rest = (*held_until)?.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            *held_until = None;
        }
        (!rest.is_zero()).then_some(rest)
    }

    /// Reloads, unless the last reload after a failure was within the pause.
    async fn reload_after_failure(&self) {
        {
            let mut last_read = self.last_read.lock();
            let now = Instant::now();
            if now < *last_read + PAUSE.max(self.references.pause()) {
                return;
            }
            *last_read = now;
        }
        self.reload().await;
        // Again, because a vault may be slow to answer.
        *self.last_read.lock() = Instant::now();
    }
}

#[async_trait]
impl Sink for ReloadingSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.current.read().await.check().await
    }

    async fn refusal(&self, change: &Change) -> Option<String> {
        self.current.read().await.refusal(change).await
    }

    async fn write(&self, changes: &[Change]) -> Written {
        // First: a replacement ends while this waits for it.
        let current = self.current.read().await;
        if let Some(rest) = self.held() {
            let mut answers = Answers::new(changes);
            let wait = Wait { cause: Cause::Fault, retry_after: Some(rest) };
            answers.defer_rest("messages with the old secrets may still arrive", wait);
            return answers.finish();
        }
        let written = current.write(changes).await;
        drop(current);
        if written.wait.is_some_and(|wait| matches!(wait.cause, Cause::Fault | Cause::Busy)) {
            self.reload_after_failure().await;
        }
        written
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.current.read().await.close().await
    }
}

#[cfg(test)]
mod tests;
