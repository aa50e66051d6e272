//! Where the broker refused messages. A message for such an exchange is published alone: a refusal
//! closes the channel, and all messages in flight on it are lost.

use std::collections::HashMap;

use cosmos_bridge_sink::Mutex;

use crate::classify::Failure;
use crate::message::Message;

/// `access-refused` may depend on the routing key; every other refusal concerns the exchange.
///
/// <https://www.rabbitmq.com/docs/access-control#topic-authorisation>
const ACCESS_REFUSED: u16 = 403;
/// If there are more, all are forgotten and learned again.
const MAX: usize = 1000;

/// An exchange, and the routing key if the refusal depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    exchange: String,
    routing_key: Option<String>,
}

impl Destination {
    /// The destinations that a refusal of the message may concern.
    pub(crate) fn of(message: &Message) -> [Self; 2] {
        let exchange = message.exchange.as_str().to_owned();
        let routing_key = Some(message.routing_key.as_str().to_owned());
        [Self { exchange: exchange.clone(), routing_key: None }, Self { exchange, routing_key }]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<Destination, Failure>>);

impl Refusals {
    /// The last refusal of a message to the same destination.
    pub(crate) fn of(&self, message: &Message) -> Option<Failure> {
        let refused = self.0.lock();
        if refused.is_empty() {
            return None;
        }
        Destination::of(message).iter().find_map(|destination| refused.get(destination).cloned())
    }

    pub(crate) fn note(&self, [exchange, with_key]: [Destination; 2], failure: &Failure) {
        let mut refused = self.0.lock();
        if refused.len() >= MAX {
            refused.clear();
        }
        let destination = if failure.code == Some(ACCESS_REFUSED) { with_key } else { exchange };
        refused.insert(destination, failure.clone());
    }

    pub(crate) fn forget(&self, destinations: &[Destination; 2]) {
        let mut refused = self.0.lock();
        for destination in destinations {
            refused.remove(destination);
        }
    }
}
