//! A sink whose secrets may change while it runs.
//!
//! Its client keeps the secrets that it was made with, so another secret is another client. They
//! are read again when somebody asks (SIGHUP) and while the target takes nothing, which is what a
//! refused login looks like from here, whatever the protocol. What is the same changes nothing.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Cause, Change, Limits, Sink, SinkError, Written};
use tokio::sync::{Mutex, RwLock};
use tokio::time::Instant;
use tracing::{info, warn};

use super::secrets::{SecretRefs, Secrets};
use crate::observe::FailureLog;

/// A target that takes nothing is asked again after growing pauses; secrets are read no more often, and
/// those in vaults less.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes the sink of secrets. Connects to nothing yet.
pub(super) type Make = Box<dyn Fn(&Secrets) -> Result<Arc<dyn Sink>, SinkError> + Send + Sync>;

/// A sink, made anew when one of its secrets is another one.
pub struct ReloadingSink {
    name: String,
    limits: Limits,
    places: SecretRefs,
    make: Make,
    /// Held for reading by each write, so that nothing is under way when another one takes over.
    current: RwLock<Arc<dyn Sink>>,
    /// What the current one was made with. Held while it is renewed: one at a time.
    secrets: Mutex<Secrets>,
    looked: StdMutex<Instant>,
    trouble: FailureLog,
}

impl ReloadingSink {
    /// `secrets` are what stands at the places now.
    pub(super) fn new(
        name: &str,
        places: SecretRefs,
        secrets: Secrets,
        make: Make,
    ) -> Result<Self, SinkError> {
        let sink = make(&secrets)?;
        Ok(Self {
            name: name.to_owned(),
            limits: sink.limits(),
            places,
            make,
            current: RwLock::new(sink),
            secrets: Mutex::new(secrets),
            looked: StdMutex::new(Instant::now()),
            trouble: FailureLog::new(format!("reading the secrets of sink `{name}` again")),
        })
    }

    /// Reads the secrets now, and has the sink made anew if one is another one. Returns whether.
    /// What cannot be used is told, and changes nothing.
    pub async fn look(&self) -> bool {
        let mut secrets = self.secrets.lock().await;
        match self.renewed(&secrets).await {
            Ok(None) => {
                self.trouble.recovered();
                false
            }
            Ok(Some((next, sink))) => {
                self.trouble.recovered();
                *secrets = next;
                self.take_over(sink).await;
                info!(sink = self.name, "the sink's secrets have changed and are used from now on");
                true
            }
            Err(error) => {
                let hint = error.hint.as_deref().unwrap_or_default();
                self.trouble.failed(&format!("{error}. {hint}"));
                false
            }
        }
    }

    async fn renewed(&self, held: &Secrets) -> Result<Option<(Secrets, Arc<dyn Sink>)>, SinkError> {
        let read = self.places.read().await?;
        if read == *held {
            return Ok(None);
        }
        let sink = (self.make)(&read)?;
        Ok(Some((read, sink)))
    }

    /// Waits for the writes that are under way, ends what sent them, and only then lets others begin.
    async fn take_over(&self, sink: Arc<dyn Sink>) {
        let mut current = self.current.write().await;
        if let Err(error) = current.close().await {
            // It was not told to be delivered, so it is offered again.
            warn!(sink = self.name, %error, "could not close with the old secrets");
        }
        *current = sink;
    }

    /// Looks, unless that was done a moment ago.
    async fn look_after_a_failure(&self) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if now < *looked + PAUSE.max(self.places.pause()) {
                return;
            }
            *looked = now;
        }
        self.look().await;
        // A vault may take its time to answer.
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
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
        let written = self.current.read().await.write(changes).await;
        if written.wait.is_some_and(|wait| matches!(wait.cause, Cause::Fault | Cause::Busy)) {
            self.look_after_a_failure().await;
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

    use cosmos_bridge_sink::{Grouping, Outcome, Wait};
    use tokio::sync::Notify;

    use super::*;
    use crate::config::{LocalSecret, SecretRef, VaultSecret};

    /// Takes what bears the right password, as slowly as the test likes.
    struct Door {
        password: String,
        right: Arc<StdMutex<String>>,
        under_way: Arc<AtomicUsize>,
        goes_on: Option<Arc<Notify>>,
    }

    #[async_trait]
    impl Sink for Door {
        fn name(&self) -> &'static str {
            "door"
        }

        fn limits(&self) -> Limits {
            Limits { grouping: Grouping::Any, changes: 1, bytes: 1, concurrency: 1 }
        }

        async fn check(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, _: &[Change]) -> Written {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            if let Some(goes_on) = &self.goes_on {
                goes_on.notified().await;
            }
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let is_right = *self.right.lock().unwrap() == self.password;
            let (outcome, cause) = if is_right {
                (Outcome::Delivered, None)
            } else {
                (Outcome::Deferred { reason: "wrong".to_owned() }, Some(Cause::Fault))
            };
            let wait = cause.map(|cause| Wait { cause, told: None });
            Written { outcomes: vec![outcome], charge: 0.0, requests: 1, throttled: 0, wait }
        }

        async fn close(&self) -> Result<(), SinkError> {
            assert_eq!(self.under_way.load(Ordering::SeqCst), 0, "closed under a write");
            Ok(())
        }
    }

    struct Scene {
        folder: tempfile::TempDir,
        right: Arc<StdMutex<String>>,
        under_way: Arc<AtomicUsize>,
        made: Arc<AtomicUsize>,
    }

    impl Scene {
        fn new() -> Self {
            let scene = Self {
                folder: tempfile::tempdir().unwrap(),
                right: Arc::default(),
                under_way: Arc::default(),
                made: Arc::default(),
            };
            scene.put("first");
            scene.is_right("first");
            scene
        }

        fn put(&self, password: &str) {
            std::fs::write(self.folder.path().join("password"), password).unwrap();
        }

        fn is_right(&self, password: &str) {
            password.clone_into(&mut self.right.lock().unwrap());
        }

        async fn open(&self, goes_on: Option<Arc<Notify>>) -> ReloadingSink {
            let reference =
                SecretRef::Local(LocalSecret::File(self.folder.path().join("password")));
            let places = SecretRefs::one("password", reference.clone());
            let (right, made) = (Arc::clone(&self.right), Arc::clone(&self.made));
            let under_way = Arc::clone(&self.under_way);
            let make: Make = Box::new(move |secrets| {
                made.fetch_add(1, Ordering::SeqCst);
                let password = secrets.of(&reference)?.expose().to_owned();
                let (right, under_way) = (Arc::clone(&right), Arc::clone(&under_way));
                Ok(Arc::new(Door { password, right, under_way, goes_on: goes_on.clone() }))
            });
            let secrets = places.read().await.unwrap();
            ReloadingSink::new("door", places, secrets, make).unwrap()
        }
    }

    impl SecretRefs {
        fn one(option: &'static str, reference: SecretRef) -> Self {
            Self::new(vec![(option, reference)], Vec::new(), Arc::default())
        }
    }

    async fn write(sink: &ReloadingSink) -> bool {
        sink.write(&[]).await.outcomes == [Outcome::Delivered]
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_secret_is_read_again_now_and_then() {
        let scene = Scene::new();
        let sink = scene.open(None).await;
        assert!(write(&sink).await);
        scene.is_right("second");
        tokio::time::advance(PAUSE).await;
        assert!(!write(&sink).await);
        // It is still the old one; within the pause the new one is not seen.
        scene.put("second");
        assert!(!write(&sink).await && !write(&sink).await);
        tokio::time::advance(PAUSE).await;
        assert!(!write(&sink).await);
        assert!(write(&sink).await);
        assert_eq!(scene.made.load(Ordering::SeqCst), 2);
    }

    /// Nobody may read this one, which fails at once.
    #[tokio::test(start_paused = true)]
    async fn a_vault_is_asked_less_often_than_a_file_is_read() {
        let scene = Scene::new();
        let mut sink = scene.open(None).await;
        let place = VaultSecret {
            vault: "https://north-kv.vault.azure.net".to_owned(),
            name: "password".to_owned(),
            version: None,
            credential: "nobody".to_owned(),
        };
        sink.places = SecretRefs::one("password", SecretRef::KeyVault(place));
        scene.is_right("second");
        for _ in 0..20 {
            tokio::time::advance(PAUSE).await;
            assert!(!write(&sink).await);
        }
        assert_eq!(sink.trouble.failures(), 4);
    }

    #[tokio::test]
    async fn what_cannot_be_read_leaves_the_last_one() {
        let scene = Scene::new();
        let sink = scene.open(None).await;
        scene.put("");
        assert!(!sink.look().await);
        assert!(write(&sink).await);
        scene.put("first\n");
        assert!(!sink.look().await, "white space is no part of it");
        assert_eq!(scene.made.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_write_that_is_under_way_ends_before_another_sink_takes_over() {
        let scene = Scene::new();
        let goes_on = Arc::new(Notify::new());
        let sink = scene.open(Some(Arc::clone(&goes_on))).await;
        let mut writing = std::pin::pin!(write(&sink));
        assert!(futures::poll!(&mut writing).is_pending());
        scene.put("second");
        let mut looking = std::pin::pin!(sink.look());
        while scene.made.load(Ordering::SeqCst) < 2 {
            assert!(futures::poll!(&mut looking).is_pending());
            tokio::task::yield_now().await;
        }
        let mut next = std::pin::pin!(write(&sink));
        assert!(futures::poll!(&mut looking).is_pending());
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(scene.under_way.load(Ordering::SeqCst), 1, "the next write waits");
        goes_on.notify_one();
        assert!(writing.await);
        assert!(looking.await);
        scene.is_right("second");
        goes_on.notify_one();
        assert!(next.await);
    }
}
