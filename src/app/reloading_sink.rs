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
use tokio::time::Instant;
use tracing::{info, warn};

use super::secrets::{SecretRefs, Secrets};
use crate::deliver::LATE_LIMIT;
use crate::observe::FailureLog;

/// Shortest time between two reads of the secrets after failures; longer for secrets in key vaults.
const PAUSE: Duration = Duration::from_secs(1);

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
        if let Err(error) = current.close().await {
            // Writes without an outcome are retried, and what was sent may still arrive.
            warn!(sink = self.name, %error, "could not close the sink with its old secrets");
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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cosmos_bridge_options::Opening as _;
    use cosmos_bridge_sink::{Grouping, Outcome, Wait};
    use tokio::sync::Notify;

    use super::super::secrets::OpenedSecrets;
    use super::*;
    use crate::config::{LocalSecret, SecretRef, VaultSecret};
    use crate::identity::Identities;

    /// Accepts writes with the right password; a write may wait for a signal of the test.
    struct LoginSink {
        password: String,
        right: Arc<SyncMutex<String>>,
        in_flight: Arc<AtomicUsize>,
        may_end: Option<Arc<Notify>>,
    }

    #[async_trait]
    impl Sink for LoginSink {
        fn name(&self) -> &'static str {
            "login"
        }

        fn limits(&self) -> Limits {
            Limits { grouping: Grouping::Any, changes: 1, bytes: 1, concurrency: 1 }
        }

        async fn check(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, _: &[Change]) -> Written {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            if let Some(may_end) = &self.may_end {
                may_end.notified().await;
            }
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            let is_right = *self.right.lock() == self.password;
            let (outcome, cause) = if is_right {
                (Outcome::Delivered, None)
            } else {
                (Outcome::Deferred { reason: "wrong".to_owned() }, Some(Cause::Fault))
            };
            let wait = cause.map(|cause| Wait { cause, retry_after: None });
            Written { outcomes: vec![outcome], requests: 1, wait, ..Written::default() }
        }

        async fn close(&self) -> Result<(), SinkError> {
            assert_eq!(self.in_flight.load(Ordering::SeqCst), 0, "closed during a write");
            Ok(())
        }
    }

    struct Scene {
        folder: tempfile::TempDir,
        right: Arc<SyncMutex<String>>,
        in_flight: Arc<AtomicUsize>,
        built: Arc<AtomicUsize>,
    }

    impl Scene {
        fn new() -> Self {
            let scene = Self {
                folder: tempfile::tempdir().unwrap(),
                right: Arc::default(),
                in_flight: Arc::default(),
                built: Arc::default(),
            };
            scene.put("first");
            scene.is_right("first");
            scene
        }

        fn put(&self, password: &str) {
            std::fs::write(self.folder.path().join("password"), password).unwrap();
        }

        fn is_right(&self, password: &str) {
            password.clone_into(&mut self.right.lock());
        }

        async fn build(&self, may_end: Option<Arc<Notify>>) -> ReloadingSink {
            let reference =
                SecretRef::Local(LocalSecret::File(self.folder.path().join("password")));
            let references = SecretRefs::one("password", reference.clone());
            let (right, built) = (Arc::clone(&self.right), Arc::clone(&self.built));
            let in_flight = Arc::clone(&self.in_flight);
            let build: Build = Box::new(move |secrets| {
                built.fetch_add(1, Ordering::SeqCst);
                let opened =
                    OpenedSecrets { secrets, identities: &Identities::default(), sources: &[] };
                let password = opened.secret(&reference)?.expose().to_owned();
                let (right, in_flight) = (Arc::clone(&right), Arc::clone(&in_flight));
                Ok(Arc::new(LoginSink { password, right, in_flight, may_end: may_end.clone() }))
            });
            let secrets = references.read().await.unwrap();
            ReloadingSink::new("login", references, secrets, build).unwrap()
        }
    }

    impl SecretRefs {
        fn one(option: &'static str, reference: SecretRef) -> Self {
            Self::new(vec![(option.to_owned(), reference)], Vec::new(), Arc::default())
        }
    }

    async fn write(sink: &ReloadingSink) -> bool {
        sink.write(&[]).await.outcomes == [Outcome::Delivered]
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_secret_is_read_again_at_intervals() {
        let scene = Scene::new();
        let sink = scene.build(None).await;
        assert!(write(&sink).await);
        scene.is_right("second");
        tokio::time::advance(PAUSE).await;
        assert!(!write(&sink).await);
        // That write read the old secret; within the pause the new one is not read.
        scene.put("second");
        assert!(!write(&sink).await && !write(&sink).await);
        tokio::time::advance(PAUSE).await;
        assert!(!write(&sink).await);
        assert!(write(&sink).await);
        assert_eq!(scene.built.load(Ordering::SeqCst), 2);
    }

    /// The credential does not exist, so each read fails immediately.
    #[tokio::test(start_paused = true)]
    async fn a_vault_is_read_less_often_than_a_file() {
        let scene = Scene::new();
        let mut sink = scene.build(None).await;
        let secret = VaultSecret {
            vault: "https://north-kv.vault.azure.net".to_owned(),
            name: "password".to_owned(),
            version: None,
            credential: "missing".to_owned(),
        };
        sink.references = SecretRefs::one("password", SecretRef::KeyVault(secret));
        scene.is_right("second");
        for _ in 0..20 {
            tokio::time::advance(PAUSE).await;
            assert!(!write(&sink).await);
        }
        assert_eq!(sink.failures.failures(), 4);
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_changes_nothing() {
        let scene = Scene::new();
        let sink = scene.build(None).await;
        scene.put("");
        assert!(!sink.reload().await);
        assert!(write(&sink).await);
        scene.put("first\n");
        assert!(!sink.reload().await, "white space is no part of it");
        assert_eq!(scene.built.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_write_in_flight_ends_before_the_sink_is_replaced() {
        let scene = Scene::new();
        let may_end = Arc::new(Notify::new());
        let sink = scene.build(Some(Arc::clone(&may_end))).await;
        let mut writing = std::pin::pin!(write(&sink));
        assert!(futures::poll!(&mut writing).is_pending());
        scene.put("second");
        let mut reloading = std::pin::pin!(sink.reload());
        while scene.built.load(Ordering::SeqCst) < 2 {
            assert!(futures::poll!(&mut reloading).is_pending());
            tokio::task::yield_now().await;
        }
        let mut next = std::pin::pin!(write(&sink));
        assert!(futures::poll!(&mut reloading).is_pending());
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(scene.in_flight.load(Ordering::SeqCst), 1, "the next write waits");
        may_end.notify_one();
        assert!(writing.await);
        assert!(reloading.await);
        scene.is_right("second");
        may_end.notify_one();
        assert!(next.await);
    }
}
