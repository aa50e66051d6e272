//! Faults that can be injected into the answers to sent events.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;

use crate::lock;
use crate::nodes::Node;

/// The fault of one delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The outcome is `rejected`, with this condition.
    Reject { condition: String },
    /// The outcome is `released`.
    Release,
    /// The outcome is `modified`, with delivery-failed.
    Modify,
    /// No disposition is ever sent.
    Silence,
    /// The link is detached with this condition instead of an answer.
    Detach { condition: String },
    /// The connection is closed with this condition instead of an answer.
    Close { condition: String },
    /// The TCP connection is closed without a close frame.
    Cut,
    /// The events are stored and accepted, but only after this many milliseconds.
    Delay { milliseconds: u64 },
    /// The events are stored and accepted; then the server stops reading from the connection until stalled
    /// connections are resumed.
    Stall,
}

impl Fault {
    /// `rejected` with `com.microsoft:server-busy`, the service's throttling.
    pub fn server_busy() -> Self {
        Self::Reject { condition: "com.microsoft:server-busy".to_owned() }
    }

    pub(crate) fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay { milliseconds } => Some(Duration::from_millis(*milliseconds)),
            _ => None,
        }
    }
}

/// A fault, and the deliveries that it applies to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    pub fault: Fault,
    /// The number of deliveries with the fault.
    #[serde(default = "once")]
    pub times: u32,
    /// The number of matching deliveries without the fault before that.
    #[serde(default)]
    pub after: u32,
    /// True if the events are stored nevertheless, so that only the answer is lost.
    #[serde(default)]
    pub stored: bool,
    /// Only events for this hub.
    #[serde(default)]
    pub hub: Option<String>,
    /// Only events for this partition.
    #[serde(default)]
    pub partition: Option<usize>,
    /// Only requests to this node, and no events.
    #[serde(default)]
    pub node: Option<Node>,
}

fn once() -> u32 {
    1
}

impl Injection {
    /// Applies the fault to the next `times` deliveries, whose events are not stored.
    pub fn new(fault: Fault, times: u32) -> Self {
        Self { fault, times, after: 0, stored: false, hub: None, partition: None, node: None }
    }

    /// Stores the events nevertheless.
    #[must_use]
    pub fn stored(self) -> Self {
        Self { stored: true, ..self }
    }

    /// Skips the first `after` deliveries.
    #[must_use]
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }

    /// Only events for this partition.
    #[must_use]
    pub fn on_partition(self, partition: usize) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Only requests to this node, which are not answered then.
    #[must_use]
    pub fn on_node(self, node: Node) -> Self {
        Self { node: Some(node), ..self }
    }
}

/// The pending faults, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<VecDeque<Injection>>);

impl Faults {
    pub(crate) fn add(&self, injection: Injection) {
        lock(&self.0).push_back(injection);
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// The fault of a delivery, and whether its events are stored.
    pub(crate) fn strike(&self, hub: &str, partition: usize) -> Option<(Fault, bool)> {
        self.strike_where(|injection| {
            injection.node.is_none()
                && injection.hub.as_deref().is_none_or(|wanted| wanted == hub)
                && injection.partition.is_none_or(|wanted| wanted == partition)
        })
    }

    /// The fault of a request to a node.
    pub(crate) fn strike_request(&self, node: Node) -> Option<Fault> {
        let struck = self.strike_where(|injection| injection.node == Some(node));
        struck.map(|(fault, _)| fault)
    }

    fn strike_where(&self, strikes: impl Fn(&Injection) -> bool) -> Option<(Fault, bool)> {
        let mut faults = lock(&self.0);
        let at = faults.iter().position(strikes)?;
        let injection = &mut faults[at];
        if injection.after > 0 {
            injection.after -= 1;
            return None;
        }
        let struck = (injection.fault.clone(), injection.stored);
        injection.times = injection.times.saturating_sub(1);
        if injection.times == 0 {
            faults.remove(at);
        }
        Some(struck)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults, Injection, Node};

    #[test]
    fn faults_strike_in_order_as_often_and_where_they_were_asked_to() {
        let faults = Faults::default();
        faults.add(Injection::new(Fault::Release, 2).after(1));
        faults.add(Injection::new(Fault::Cut, 1).stored().on_partition(1));
        assert_eq!(faults.strike("h", 0), None);
        assert_eq!(faults.strike("h", 1), Some((Fault::Release, false)));
        assert_eq!(faults.strike("h", 0), Some((Fault::Release, false)));
        assert_eq!(faults.strike("h", 0), None);
        assert_eq!(faults.strike("h", 1), Some((Fault::Cut, true)));
        assert_eq!(faults.strike("h", 1), None);
        faults.add(Injection::new(Fault::Cut, 1).on_node(Node::Cbs));
        assert_eq!((faults.strike("h", 0), faults.strike_request(Node::Management)), (None, None));
        assert_eq!(faults.strike_request(Node::Cbs), Some(Fault::Cut));
    }

    #[test]
    fn a_fault_is_written_as_json_on_the_control_port() {
        let text = r#"{"fault": {"reject": {"condition": "amqp:internal-error"}}, "times": 3}"#;
        let read: Injection = serde_json::from_str(text).unwrap();
        let fault = Fault::Reject { condition: "amqp:internal-error".to_owned() };
        assert_eq!(read, Injection::new(fault, 3));
    }
}
