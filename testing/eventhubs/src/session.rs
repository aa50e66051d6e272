//! One session: its links and its numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::amqp::performative::{self, Failure, LinkFlow, Performative, SessionFlow, State};
use crate::credit::{Credit, Pusher, Window};
use crate::ingest::{self, Answer};
use crate::link::{self, Asked, CREDIT, Inbound, Link, To};
use crate::message::Request;
use crate::namespace::{Counters, Namespace};
use crate::nodes::{self, Node};
use crate::out::{Ended, Out};
use crate::sas::{Claim, Grant};

/// Frames that the client may send before the server grants more. Links are held back by
/// their credit, so this need not.
pub(crate) const INCOMING_WINDOW: u32 = 1 << 20;

/// The bytes that a frame may have in addition to its payload.
const FRAME_HEAD_BYTES: usize = 512;

/// The reason for the end of the connection.
#[derive(Debug)]
pub(crate) enum End {
    Close(Option<Failure>),
    Cut,
}

impl From<Ended> for End {
    fn from(Ended: Ended) -> Self {
        Self::Cut
    }
}

/// The state that the sessions of a connection share.
pub(crate) struct Shared {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) out: Out,
    pub(crate) grants: Vec<Grant>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) peer_frame_bytes_max: usize,
}

impl Shared {
    /// True if one of the tokens allows sending to a hub now.
    fn covers(&self, hub: &str) -> bool {
        self.grants.iter().any(|grant| grant.covers(hub, Claim::Send, SystemTime::now()))
    }
}

pub(crate) struct Session {
    channel: u16,
    next_incoming: u32,
    window: Arc<Window>,
    links: HashMap<u32, (Link, Option<AbortHandle>)>,
}

impl Session {
    pub(crate) fn new(channel: u16, begin: &Performative) -> Self {
        let window = Arc::new(Window::new(begin.field(2).uint().unwrap_or(0)));
        let next_incoming = begin.field(1).uint().unwrap_or(0);
        Self { channel, next_incoming, window, links: HashMap::new() }
    }

    fn flow(&self, link: Option<LinkFlow>) -> crate::amqp::Value {
        let session = SessionFlow {
            next_incoming: self.next_incoming,
            incoming_window: INCOMING_WINDOW,
            next_outgoing: self.window.next_outgoing(),
        };
        performative::flow(session, link)
    }

    pub(crate) async fn attach(
        &mut self,
        shared: &mut Shared,
        attach: &Performative,
    ) -> Result<(), End> {
        let handle = attach.field(1).uint().unwrap_or(0);
        let asked = link::asked(attach, &shared.namespace, &shared.grants);
        let bytes_max = shared.namespace.message_bytes_max;
        let answer = performative::attach(attach, bytes_max, asked.is_ok());
        shared.out.send(self.channel, &answer).await?;
        match asked {
            Err(failure) => {
                let detach = performative::detach(handle, Some(&failure));
                shared.out.send(self.channel, &detach).await?;
            }
            Ok(Asked::Inbound(to)) => {
                let delivery_count = attach.field(9).uint().unwrap_or(0);
                let flow = LinkFlow { handle, delivery_count, credit: CREDIT, drain: false };
                shared.out.send(self.channel, &self.flow(Some(flow))).await?;
                let inbound = Link::Inbound(Inbound::new(to, delivery_count));
                self.links.insert(handle, (inbound, None));
            }
            Ok(Asked::Answers(node)) => {
                let (answers, queue) = mpsc::unbounded_channel();
                let credit = Arc::new(Credit::default());
                let pusher = self.pusher(shared, attach, Arc::clone(&credit));
                let task = shared.tasks.spawn(link::push_answers(pusher, queue));
                let link = Link::Answers { node, credit, answers };
                self.links.insert(handle, (link, Some(task)));
            }
            Ok(Asked::Events { hub, partition, start }) => {
                let credit = Arc::new(Credit::default());
                let mut pusher = self.pusher(shared, attach, Arc::clone(&credit));
                pusher.events = true;
                let task = shared.tasks.spawn(link::push_events(pusher, hub, partition, start));
                self.links.insert(handle, (Link::Events { credit }, Some(task)));
            }
        }
        Ok(())
    }

    fn pusher(&self, shared: &Shared, attach: &Performative, credit: Arc<Credit>) -> Pusher {
        Pusher {
            channel: self.channel,
            handle: attach.field(1).uint().unwrap_or(0),
            settled: attach.field(3).unsigned() == Some(1),
            payload_bytes_max: shared.peer_frame_bytes_max.saturating_sub(FRAME_HEAD_BYTES).max(1),
            events: false,
            credit,
            window: Arc::clone(&self.window),
            out: shared.out.clone(),
        }
    }

    pub(crate) async fn take_flow(
        &mut self,
        shared: &Shared,
        flow: &Performative,
    ) -> Result<(), End> {
        self.window.grant(flow.field(0).uint(), flow.field(1).uint().unwrap_or(0));
        let mut answer = None;
        let drain = flow.is_true(8);
        if let Some(handle) = flow.field(4).uint() {
            let seen = flow.field(5).uint();
            let credit = flow.field(6).uint().unwrap_or(0);
            match self.links.get(&handle) {
                Some((Link::Answers { credit: link, .. } | Link::Events { credit: link }, _)) => {
                    let delivery_count = link.grant(seen, credit, drain);
                    let credit = if drain { 0 } else { credit };
                    answer = Some(LinkFlow { handle, delivery_count, credit, drain });
                }
                Some((Link::Inbound(inbound), _)) => {
                    let Inbound { delivery_count, credit, .. } = *inbound;
                    answer = Some(LinkFlow { handle, delivery_count, credit, drain: false });
                }
                None => {}
            }
        }
        if drain || flow.is_true(9) {
            shared.out.send(self.channel, &self.flow(answer)).await?;
        }
        Ok(())
    }

    pub(crate) async fn take_transfer(
        &mut self,
        shared: &mut Shared,
        transfer: &Performative,
        payload: Bytes,
    ) -> Result<(), End> {
        self.next_incoming = self.next_incoming.wrapping_add(1);
        let handle = transfer.field(0).uint().unwrap_or(0);
        // After a detach, frames in flight still arrive.
        let Some((Link::Inbound(inbound), _)) = self.links.get_mut(&handle) else {
            return Ok(());
        };
        let Some(whole) = inbound.transfer(transfer, &payload) else { return Ok(()) };
        let (to, delivery_count) = (inbound.to.clone(), inbound.delivery_count);
        let refill = inbound.credit <= CREDIT / 2;
        if refill {
            inbound.credit = CREDIT;
        }
        let answer = match &to {
            To::Hub(entrance) if !shared.covers(&entrance.hub.name) => {
                let text = "ExpiredToken: The token is expired.";
                Answer::Detach(Failure::new("amqp:unauthorized-access", text))
            }
            To::Hub(entrance) => entrance.take(&shared.namespace, whole.format, &whole.payload),
            To::Node(node) => self.request(shared, *node, &whole.payload),
        };
        if refill {
            let flow = LinkFlow { handle, delivery_count, credit: CREDIT, drain: false };
            shared.out.send(self.channel, &self.flow(Some(flow))).await?;
        }
        self.answer(shared, handle, (whole.delivery, whole.settled), answer).await
    }

    async fn answer(
        &mut self,
        shared: &mut Shared,
        handle: u32,
        (delivery, settled): (u32, bool),
        answer: Answer,
    ) -> Result<(), End> {
        let channel = self.channel;
        match answer {
            Answer::Settle(_) if settled => Ok(()),
            Answer::Settle(state) => {
                let disposition = performative::disposition(delivery, &state);
                Ok(shared.out.send(channel, &disposition).await?)
            }
            Answer::Late(delay) => {
                let disposition = performative::disposition(delivery, &State::Accepted);
                let out = shared.out.clone();
                shared.tasks.spawn(async move {
                    sleep(delay).await;
                    // The connection may have ended, and with it the receiver.
                    drop(out.send(channel, &disposition).await);
                });
                Ok(())
            }
            Answer::Silence => Ok(()),
            Answer::Stall => {
                // The client may resume immediately after the answer.
                let mut resumed = shared.namespace.resumed.subscribe();
                let disposition = performative::disposition(delivery, &State::Accepted);
                shared.out.send(channel, &disposition).await?;
                // This is where the connection is read.
                resumed.changed().await.map_err(|_| End::Cut)
            }
            Answer::Detach(failure) => {
                self.links.remove(&handle);
                let detach = performative::detach(handle, Some(&failure));
                Ok(shared.out.send(channel, &detach).await?)
            }
            Answer::Close(failure) => Err(End::Close(Some(failure))),
            Answer::Cut => Err(End::Cut),
        }
    }

    /// Answers a request on the link that leads back from its node. Which one that is, the client
    /// need not say: the Python client gives no reply-to for `$cbs`.
    fn request(&self, shared: &mut Shared, node: Node, payload: &Bytes) -> Answer {
        if let Some(fault) = shared.namespace.faults.strike_request(node) {
            return ingest::answer(fault);
        }
        let Ok(request) = Request::read(payload) else {
            let failure = Failure::new("amqp:decode-error", "The request is malformed.");
            return Answer::Settle(State::Rejected(failure));
        };
        let bytes = match node {
            Node::Cbs => {
                Counters::count(&shared.namespace.counters.tokens);
                nodes::put_token(&request, &shared.namespace, &mut shared.grants)
            }
            Node::Management => nodes::read(&request, &shared.namespace, &shared.grants),
        };
        let back = self.links.values().find_map(|(link, _)| match link {
            Link::Answers { node: from, answers, .. } if *from == node => Some(answers),
            _ => None,
        });
        if let Some(Ok(())) = back.map(|answers| answers.send(bytes)) {
            return Answer::Settle(State::Accepted);
        }
        let failure = Failure::new("amqp:not-found", "There is no link for the answer.");
        Answer::Settle(State::Rejected(failure))
    }

    pub(crate) async fn detach(
        &mut self,
        shared: &Shared,
        detach: &Performative,
    ) -> Result<(), End> {
        let handle = detach.field(0).uint().unwrap_or(0);
        // The answer to a detach of ours needs none.
        if let Some((_, task)) = self.links.remove(&handle) {
            if let Some(task) = task {
                task.abort();
            }
            shared.out.send(self.channel, &performative::detach(handle, None)).await?;
        }
        Ok(())
    }

    pub(crate) fn end(self) {
        for (_, task) in self.links.into_values() {
            if let Some(task) = task {
                task.abort();
            }
        }
    }
}
