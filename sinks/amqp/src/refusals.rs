//! Where the broker took no message, so that others are not sent together with one for there.
//!
//! A refusal ends the channel and with it all that is under way there.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::classify::Trouble;
use crate::connection::lock;
use crate::message::Message;

/// `access-refused` may depend on the routing key; everything else is said of the exchange.
///
/// <https://www.rabbitmq.com/docs/access-control#topic-authorisation>
const ACCESS_REFUSED: u16 = 403;
/// More than these are forgotten together, and found out again.
const MOST: usize = 1000;

/// An exchange, and the routing key where that matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    exchange: String,
    routing_key: Option<String>,
}

impl Address {
    /// Those that a refusal of the message may be said of.
    pub(crate) fn of(message: &Message) -> [Self; 2] {
        let exchange = message.exchange.as_str().to_owned();
        let routing_key = Some(message.routing_key.as_str().to_owned());
        [Self { exchange: exchange.clone(), routing_key: None }, Self { exchange, routing_key }]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<Address, Trouble>>);

impl Refusals {
    /// What was said of messages like this one.
    pub(crate) fn of(&self, message: &Message) -> Option<Trouble> {
        let refused = lock(&self.0);
        if refused.is_empty() {
            return None;
        }
        Address::of(message).iter().find_map(|address| refused.get(address).cloned())
    }

    pub(crate) fn note(&self, [exchange, with_key]: [Address; 2], trouble: &Trouble) {
        let mut refused = lock(&self.0);
        if refused.len() >= MOST {
            refused.clear();
        }
        let address = if trouble.code == Some(ACCESS_REFUSED) { with_key } else { exchange };
        refused.insert(address, trouble.clone());
    }

    pub(crate) fn forget(&self, addresses: &[Address; 2]) {
        let mut refused = lock(&self.0);
        for address in addresses {
            refused.remove(address);
        }
    }
}
