//! What an answer of the service means: one table.

use std::time::Duration;

use cosmos_bridge_sink::Cause;

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The service takes no message of this size.
    TooLarge,
    /// The service will never take this event.
    Rejected,
    /// Another time.
    Deferred(Cause),
}

/// Conditions of AMQP and of the service, and what they mean.
///
/// Sources: "AMQP 1.0 errors in Azure Service Bus" and "Event Hubs messaging exceptions",
/// learn.microsoft.com; OASIS AMQP 1.0, 2.8.15 to 2.8.18. A mistake that an operator can mend, such
/// as a wrong key or a missing hub, waits for that: events are not given up for it. `released` and
/// `modified` are outcomes, not conditions: the service has not taken the message.
pub const TABLE: [(&str, Class, &str); 26] = [
    ("com.microsoft:server-busy", THROTTLED, "the throughput of the hub is used up"),
    ("amqp:resource-limit-exceeded", THROTTLED, "a quota of the namespace is used up"),
    ("com.microsoft:timeout", BUSY, "the service did not finish in time"),
    ("com.microsoft:operation-cancelled", BUSY, "the service is moving or starting"),
    ("com.microsoft:container-close", BUSY, "the service is moving the hub"),
    ("amqp:internal-error", BUSY, "the service has trouble of its own"),
    ("amqp:connection:forced", BUSY, "the service closed the connection"),
    ("amqp:connection:framing-error", BUSY, "the connection was disturbed"),
    ("amqp:link:detach-forced", BUSY, "the service detached the link"),
    ("amqp:link:redirect", BUSY, "the hub has moved"),
    ("amqp:session:window-violation", BUSY, "the connection was disturbed"),
    ("amqp:session:unattached-handle", BUSY, "the connection was disturbed"),
    ("amqp:session:errant-link", BUSY, "the connection was disturbed"),
    ("amqp:link:transfer-limit-exceeded", BUSY, "more was sent than was asked for"),
    ("com.microsoft:entity-disabled", FAULT, "the hub is disabled"),
    ("amqp:not-found", FAULT, "there is no such hub"),
    ("com.microsoft:argument-out-of-range", FAULT, "there is no such partition"),
    ("amqp:unauthorized-access", FAULT, "it is not allowed, or the token has expired"),
    ("com.microsoft:auth-failed", FAULT, "it is not allowed, or the token has expired"),
    ("amqp:not-allowed", FAULT, "the service does not allow this"),
    ("amqp:link:message-size-exceeded", Class::TooLarge, "the message is too large"),
    ("com.microsoft:argument-error", Class::Rejected, "the service does not take such an event"),
    ("amqp:invalid-field", Class::Rejected, "the service does not take such an event"),
    ("amqp:decode-error", Class::Rejected, "the service cannot read the event"),
    ("amqp:not-implemented", FAULT, "the service does not know this"),
    ("amqp:precondition-failed", FAULT, "the service does not allow this now"),
];

/// The conditions of whom the service does not let in.
pub(crate) const UNAUTHORIZED: [&str; 2] =
    ["amqp:unauthorized-access", "com.microsoft:auth-failed"];

const THROTTLED: Class = Class::Deferred(Cause::Throttled);
const BUSY: Class = Class::Deferred(Cause::Busy);
const FAULT: Class = Class::Deferred(Cause::Fault);

/// How long the service asks to be left alone when it is busy: it says so in its documentation
/// ("Event Hubs messaging exceptions", 50002), not in its answer.
const BUSY_FOR: Duration = Duration::from_secs(4);

/// The class of a condition, and why.
pub fn classify(condition: &str) -> (Class, &'static str) {
    let row = TABLE.iter().find(|(known, ..)| *known == condition);
    row.map_or((FAULT, "the service refused it"), |(_, class, why)| (*class, why))
}

/// How long to wait after a condition.
pub(crate) fn retry_after(class: Class) -> Option<Duration> {
    (class == THROTTLED).then_some(BUSY_FOR)
}

#[cfg(test)]
mod tests {
    use super::{Class, FAULT, TABLE, classify, retry_after};

    #[test]
    fn every_condition_stands_once_and_the_unknown_wait() {
        for (at, (condition, class, _)) in TABLE.iter().enumerate() {
            let first = TABLE.iter().position(|(known, ..)| known == condition);
            assert_eq!(first, Some(at), "{condition} stands twice");
            assert_eq!(classify(condition).0, *class);
        }
        assert_eq!(classify("com.microsoft:new").0, FAULT);
    }

    #[test]
    fn only_throttling_says_how_long() {
        for (condition, class, _) in TABLE {
            let says = retry_after(class).is_some();
            let throttles = ["com.microsoft:server-busy", "amqp:resource-limit-exceeded"];
            assert_eq!(says, throttles.contains(&condition), "{condition}");
        }
        assert_eq!(retry_after(Class::Rejected), None);
    }
}
