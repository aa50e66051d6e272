//! Turns changes into messages, and confirmations into outcomes.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Change, Limits, Sink, SinkError, Written};
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ErrorKind, ExchangeKind};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Settings;
use crate::classify::{Meaning, Stage, Trouble, classify};
use crate::connection::{Link, lock};
use crate::message::{Message, Room, message};
use crate::publish::{Answer, Fate, rounds};
use crate::refusals::{Address, Refusals};

/// After a connection was ended each message has its answer at once; this is for a machine that is busy.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How often a check asks when the reason of a refusal was lost.
const QUESTIONS: usize = 5;

/// An exchange that changes are published to.
pub struct AmqpSink {
    name: String,
    settings: Settings,
    /// Held while a connection is made, so that one is made at a time.
    link: tokio::sync::Mutex<Connecting>,
    /// How many attempts to connect have come to an end.
    attempts: AtomicU64,
    /// The most bytes of a body that the broker takes, once it has told.
    largest: AtomicUsize,
    /// Where the broker took nothing when it was asked last.
    refusals: Refusals,
    /// Rounds of messages under way. They outlive a write that gave up waiting.
    rounds: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Connecting {
    link: Option<Arc<Link>>,
    /// Why the last attempt failed.
    trouble: Option<Trouble>,
}

impl AmqpSink {
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        Self {
            name: name.into(),
            settings,
            link: tokio::sync::Mutex::default(),
            attempts: AtomicU64::new(0),
            largest: AtomicUsize::new(usize::MAX),
            refusals: Refusals::default(),
            rounds: Mutex::default(),
        }
    }

    /// The connection; a new one if there is none. Whoever waited for another's attempt has its
    /// result.
    async fn link(&self) -> Result<Arc<Link>, Trouble> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut connecting = self.link.lock().await;
        if let Some(link) = connecting.link.as_ref().filter(|link| link.is_alive()) {
            return Ok(Arc::clone(link));
        }
        connecting.link = None;
        if let Some(trouble) = &connecting.trouble
            && self.attempts.load(Ordering::Acquire) != before
        {
            return Err(trouble.clone());
        }
        let opened = Link::open(&self.settings, &self.name).await.map(Arc::new);
        self.attempts.fetch_add(1, Ordering::AcqRel);
        connecting.trouble = opened.as_ref().err().cloned();
        connecting.link = opened.as_ref().ok().cloned();
        opened
    }

    /// Publishes messages and waits for what becomes of them, but no longer than the broker is well.
    async fn publish(
        &self,
        link: &Arc<Link>,
        messages: Vec<Message>,
    ) -> Result<Vec<Fate>, Trouble> {
        let (sender, mut answer) = oneshot::channel();
        let round = Arc::clone(link).publish(messages, self.settings.mandatory);
        {
            let mut rounds = lock(&self.rounds);
            while rounds.try_join_next().is_some() {}
            rounds.spawn(async move {
                // Nobody may be waiting any longer.
                sender.send(round.await).ok();
            });
        }
        let limit = self.settings.confirm_timeout;
        let stopped = |_| Trouble::busy("publishing: stopped");
        let given_up = tokio::select! {
            biased;
            fates = &mut answer => return fates.map_err(stopped),
            trouble = link.blocked() => trouble,
            () = tokio::time::sleep(limit) => {
                // A connection that is well and says nothing is not trusted any further.
                link.kill();
                let late = self.late();
                // What was confirmed by then is not to be sent again, or a slow link never gets on.
                match timeout(ENDS_WITHIN, &mut answer).await {
                    Ok(fates) => return fates.map_err(stopped).map(|fates| late_for(fates, &late)),
                    Err(_) => late,
                }
            }
        };
        link.settle();
        Err(given_up)
    }

    fn late(&self) -> Trouble {
        let Settings { broker, confirm_timeout, .. } = &self.settings;
        let seconds = confirm_timeout.as_secs_f64();
        Trouble::busy(format!(
            "publishing to {broker}: not confirmed in {seconds} s; on a slow link raise \
             `confirm_timeout` or lower `batch`"
        ))
    }

    fn learn(&self, fates: &[Fate]) {
        for fate in fates {
            if let Fate::Lost(Trouble { largest: Some(bytes), .. }) = fate {
                self.largest.fetch_min(*bytes, Ordering::AcqRel);
            }
        }
    }

    /// As far as it gets; what has no outcome then waits for the reason given.
    async fn write_rounds(
        &self,
        changes: &[Change],
        answer: &mut Answer<'_>,
        requests: &mut u32,
    ) -> Trouble {
        let link = match self.link().await {
            Ok(link) => link,
            Err(trouble) => return trouble,
        };
        if let Some(obstacle) = link.obstacle() {
            return obstacle;
        }
        let room = Room {
            message: self.settings.max_message.min(self.largest.load(Ordering::Acquire)),
            frame: link.frame_max(),
        };
        for round in rounds(changes) {
            let (mut together, mut alone) = (Vec::with_capacity(round.len()), Vec::new());
            for at in round {
                if !answer.is_open(at) {
                    continue;
                }
                match message(&self.settings, room, &changes[at]) {
                    Ok(message) if self.refusals.of(&message).is_some() => {
                        alone.push((at, message));
                    }
                    Ok(message) => together.push((at, message)),
                    Err(refusal) => answer.reject(at, refusal.to_string()),
                }
            }
            let sent = together.len() + alone.len();
            *requests = requests.saturating_add(u32::try_from(sent).unwrap_or(u32::MAX));
            let passed = async {
                for at in self.together(&link, together, answer).await? {
                    if let Ok(message) = message(&self.settings, room, &changes[at]) {
                        alone.push((at, message));
                    }
                }
                self.one_by_one(&link, alone, answer).await
            };
            if let Err(trouble) = passed.await {
                return trouble;
            }
            if !link.is_alive() {
                return Trouble::busy("publishing: the connection was lost");
            }
        }
        Trouble::busy("publishing: nothing was sent")
    }

    /// Publishes the messages of a round. Those that were lost because the broker refused one of several
    /// have no outcome yet.
    async fn together(
        &self,
        link: &Arc<Link>,
        messages: Vec<(usize, Message)>,
        answer: &mut Answer<'_>,
    ) -> Result<Vec<usize>, Trouble> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let (sent, messages): (Vec<usize>, Vec<Message>) = messages.into_iter().unzip();
        let fates = self.publish(link, messages).await?;
        self.learn(&fates);
        let is_open = |fate: &Fate| {
            sent.len() > 1 && matches!(fate, Fate::Lost(trouble) if trouble.is_refusal())
        };
        let mut open = Vec::new();
        for (at, fate) in sent.iter().copied().zip(fates) {
            if is_open(&fate) {
                open.push(at);
            } else {
                answer.note(at, fate, self.settings.unroutable);
            }
        }
        Ok(open)
    }

    /// Publishes messages of different documents of which some may be refused. One is enough to know of
    /// all that go the same way.
    async fn one_by_one(
        &self,
        link: &Arc<Link>,
        messages: Vec<(usize, Message)>,
        answer: &mut Answer<'_>,
    ) -> Result<(), Trouble> {
        let refused = Refusals::default();
        for (at, message) in messages {
            if let Some(trouble) = refused.of(&message) {
                answer.note(at, Fate::Lost(trouble), self.settings.unroutable);
                continue;
            }
            let addresses = Address::of(&message);
            for fate in self.publish(link, vec![message]).await? {
                match &fate {
                    Fate::Lost(trouble) if trouble.is_refusal() => {
                        refused.note(addresses.clone(), trouble);
                        self.refusals.note(addresses.clone(), trouble);
                    }
                    Fate::Lost(_) => {}
                    _ => self.refusals.forget(&addresses),
                }
                answer.note(at, fate, self.settings.unroutable);
            }
            if !link.is_alive() {
                return Err(Trouble::busy("publishing: the connection was lost"));
            }
        }
        Ok(())
    }

    /// Asks until there is a reason, where there is none but the link is alive: a refusal ends the channel,
    /// and one that arrives between two requests is told to nobody.
    async fn ask_for_reason(&self, link: &Link) -> Result<(), Trouble> {
        for _ in 1..QUESTIONS {
            match self.ask(link).await {
                Err(trouble) if trouble.meaning == Meaning::Busy && link.is_alive() => {}
                told => return told,
            }
        }
        self.ask(link).await
    }

    /// What can be asked without publishing: whether the exchange is there, and whether the user may
    /// write to it. For the latter a message is published in a transaction that is taken back.
    async fn ask(&self, link: &Link) -> Result<(), Trouble> {
        let Settings { exchange, routing_key, broker, .. } = &self.settings;
        let Some(exchange) = exchange.constant() else { return Ok(()) };
        let shown = if exchange.is_empty() { "the default exchange" } else { exchange };
        let what = format!("asking {broker} for exchange `{shown}`");
        let failed = |error| classify(Stage::Publishing, &what, &error);
        let (passive, key) = (true, routing_key.constant());
        let channel = link.raw_channel().await.map_err(failed)?;
        if !exchange.is_empty() {
            let options = ExchangeDeclareOptions { passive, ..ExchangeDeclareOptions::default() };
            let kind = ExchangeKind::default();
            let none = FieldTable::default();
            channel.exchange_declare(exchange.into(), kind, options, none).await.map_err(failed)?;
        } else if let Some(queue) = key {
            let options = QueueDeclareOptions { passive, ..QueueDeclareOptions::default() };
            let none = FieldTable::default();
            let asked = channel.queue_declare(queue.into(), options, none).await;
            asked.map_err(|error| {
                let what = format!("asking {broker} for queue `{queue}`");
                let hint = Some("Declare the queue, or correct `routing_key`.");
                Trouble { hint, ..classify(Stage::Publishing, &what, &error) }
            })?;
        }
        let transaction = async {
            channel.tx_select().await?;
            let (options, nothing) = (BasicPublishOptions::default(), BasicProperties::default());
            let key = key.unwrap_or_default();
            channel
                .basic_publish(exchange.into(), key.into(), options, &[], nothing)
                .await?
                .await?;
            channel.tx_rollback().await
        };
        match transaction.await {
            // Not every broker has transactions.
            Err(error) if is_not_implemented(&error) => Ok(()),
            other => other.map_err(failed),
        }
    }
}

/// What is lost, is lost because its answer was late.
fn late_for(mut fates: Vec<Fate>, late: &Trouble) -> Vec<Fate> {
    for fate in fates.iter_mut().filter(|fate| matches!(fate, Fate::Lost(_))) {
        *fate = Fate::Lost(late.clone());
    }
    fates
}

fn is_not_implemented(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said) if said.get_id() == 540)
}

#[async_trait]
impl Sink for AmqpSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        self.settings.limits
    }

    async fn check(&self) -> Result<(), SinkError> {
        // Of its own, so that what it asks cannot disturb what is under way.
        let link =
            Link::open(&self.settings, &self.name).await.map_err(Trouble::into_sink_error)?;
        let limit = self.settings.connect_timeout;
        let asked = tokio::select! {
            asked = timeout(limit, self.ask_for_reason(&link)) => asked.unwrap_or_else(|_| {
                let broker = &self.settings.broker;
                Err(Trouble::busy(format!("asking {broker}: no answer in {} s", limit.as_secs_f64())))
            }),
            trouble = link.blocked() => Err(trouble),
        };
        link.close().await;
        asked.map_err(Trouble::into_sink_error)
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answer = Answer::new(changes);
        let mut requests = 0;
        let trouble = Box::pin(self.write_rounds(changes, &mut answer, &mut requests)).await;
        let (outcomes, wait) = answer.finish(&trouble);
        Written { outcomes, charge: 0.0, requests, throttled: 0, wait }
    }

    async fn close(&self) -> Result<(), SinkError> {
        let link = self.link.lock().await.link.take();
        if let Some(link) = link {
            link.close().await;
        }
        let mut rounds = std::mem::take(&mut *lock(&self.rounds));
        rounds.shutdown().await;
        Ok(())
    }
}
