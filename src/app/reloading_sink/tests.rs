use std::sync::atomic::{AtomicUsize, Ordering};

use cosmos_bridge_options::Opening as _;
use cosmos_bridge_sink::{Grouping, Outcome, SinkErrorKind, Wait};
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
    closes: Closes,
}

/// How a sink closes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Closes {
    InOrder,
    Fails,
    Never,
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
        match self.closes {
            Closes::InOrder => Ok(()),
            Closes::Fails => {
                let (message, kind) = ("gone".to_owned(), SinkErrorKind::Other);
                Err(SinkError { message, hint: None, kind, source: None })
            }
            Closes::Never => std::future::pending().await,
        }
    }
}

struct Scene {
    folder: tempfile::TempDir,
    right: Arc<SyncMutex<String>>,
    in_flight: Arc<AtomicUsize>,
    built: Arc<AtomicUsize>,
    closes: Closes,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
            right: Arc::default(),
            in_flight: Arc::default(),
            built: Arc::default(),
            closes: Closes::InOrder,
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
        let reference = SecretRef::Local(LocalSecret::File(self.folder.path().join("password")));
        let references = SecretRefs::one("password", reference.clone());
        let (right, built) = (Arc::clone(&self.right), Arc::clone(&self.built));
        let (in_flight, closes) = (Arc::clone(&self.in_flight), self.closes);
        let build: Build = Box::new(move |secrets| {
            built.fetch_add(1, Ordering::SeqCst);
            let opened =
                OpenedSecrets { secrets, identities: &Identities::default(), sources: &[] };
            let password = opened.secret(&reference)?.expose().to_owned();
            let (right, in_flight) = (Arc::clone(&right), Arc::clone(&in_flight));
            let may_end = may_end.clone();
            Ok(Arc::new(LoginSink { password, right, in_flight, may_end, closes }))
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

/// What the old sink has sent may arrive after what the new one sends, unless the old one has ended in order.
#[tokio::test(start_paused = true)]
async fn the_new_sink_writes_when_nothing_of_the_old_one_can_arrive_any_more() {
    let seconds = Duration::from_secs;
    // How the old sink closes, how long the replacement takes, and how long nothing is written after it.
    let table = [
        (Closes::InOrder, seconds(0), seconds(0)),
        (Closes::Fails, seconds(0), LATE_LIMIT),
        (Closes::Never, CLOSE_WITHIN, LATE_LIMIT),
    ];
    for (closes, takes, held) in table {
        let scene = Scene { closes, ..Scene::new() };
        let sink = scene.build(None).await;
        assert!(write(&sink).await);
        scene.put("second");
        scene.is_right("second");
        let began = Instant::now();
        assert!(sink.reload().await);
        // A timer of tokio fires up to 1 ms late.
        assert_eq!(began.elapsed().as_secs(), takes.as_secs(), "{closes:?}");
        let replaced = Instant::now();
        loop {
            let written = sink.write(&[]).await;
            if written.outcomes == [Outcome::Delivered] {
                break;
            }
            let wait = written.wait.and_then(|wait| wait.retry_after);
            tokio::time::advance(wait.unwrap_or(seconds(1)).max(seconds(1))).await;
        }
        assert_eq!(replaced.elapsed().as_secs(), held.as_secs(), "{closes:?}");
    }
}
