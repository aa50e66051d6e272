//! What a condition of the service means: one table.

use std::time::Duration;

use cosmos_bridge_sink::Class;

/// The conditions of AMQP and of the service, the class of each, and its text for logs.
///
/// Sources: "AMQP 1.0 errors in Azure Service Bus" and "Event Hubs messaging exceptions",
/// learn.microsoft.com; OASIS AMQP 1.0, 2.8.15 to 2.8.18. A mistake that an operator can correct, such
/// as a wrong key or a missing hub, is deferred, so that no event is lost. `released` and `modified`
/// are outcomes, not conditions: the service has not stored the message.
pub const TABLE: [(&str, Class, &str); 26] = [
    ("com.microsoft:server-busy", THROTTLED, "the throughput of the hub is used up"),
    ("amqp:resource-limit-exceeded", THROTTLED, "a quota of the namespace is used up"),
    ("com.microsoft:timeout", BUSY, "the service did not finish in time"),
    ("com.microsoft:operation-cancelled", BUSY, "the service is moving or starting"),
    ("com.microsoft:container-close", BUSY, "the service is moving the hub"),
    ("amqp:internal-error", BUSY, "the service failed"),
    ("amqp:connection:forced", BUSY, "the service closed the connection"),
    ("amqp:connection:framing-error", BUSY, "the connection was disturbed"),
    ("amqp:link:detach-forced", BUSY, "the service detached the link"),
    ("amqp:link:redirect", BUSY, "the hub has moved"),
    ("amqp:session:window-violation", BUSY, "the connection was disturbed"),
    ("amqp:session:unattached-handle", BUSY, "the connection was disturbed"),
    ("amqp:session:errant-link", BUSY, "the connection was disturbed"),
    ("amqp:link:transfer-limit-exceeded", BUSY, "more messages were sent than the service granted"),
    ("com.microsoft:entity-disabled", FAULT, "the hub is disabled"),
    (NOT_FOUND, FAULT, "the hub does not exist"),
    ("com.microsoft:argument-out-of-range", FAULT, "the partition does not exist"),
    ("amqp:unauthorized-access", FAULT, "access is denied, or the token has expired"),
    ("com.microsoft:auth-failed", FAULT, "access is denied, or the token has expired"),
    ("amqp:not-allowed", FAULT, "the service does not allow this"),
    ("amqp:link:message-size-exceeded", Class::TooLarge, "the message is too large"),
    ("com.microsoft:argument-error", Class::Rejected, "the service does not accept this event"),
    ("amqp:invalid-field", Class::Rejected, "the service does not accept this event"),
    ("amqp:decode-error", Class::Rejected, "the service cannot read the event"),
    ("amqp:not-implemented", FAULT, "the service does not implement this"),
    ("amqp:precondition-failed", FAULT, "the service does not allow this now"),
];

/// The conditions of a refused credential or permission.
pub(crate) const UNAUTHORIZED: [&str; 2] =
    ["amqp:unauthorized-access", "com.microsoft:auth-failed"];

/// The hub does not exist.
pub(crate) const NOT_FOUND: &str = "amqp:not-found";

const THROTTLED: Class = Class::THROTTLED;
const BUSY: Class = Class::BUSY;
const FAULT: Class = Class::FAULT;

/// The pause that the service asks for when it is busy. It is in the documentation ("Event Hubs
/// messaging exceptions", 50002), not in the answer.
const BUSY_FOR: Duration = Duration::from_secs(4);

/// The class of a condition, and its text.
pub fn classify(condition: &str) -> (Class, &'static str) {
    let row = TABLE.iter().find(|(known, ..)| *known == condition);
    row.map_or((FAULT, "the service refused it"), |(_, class, why)| (*class, why))
}

/// The pause that the service asks for after an error of this class.
pub(crate) fn retry_after(class: Class) -> Option<Duration> {
    (class == THROTTLED).then_some(BUSY_FOR)
}

#[cfg(test)]
mod tests {
    use super::{Class, FAULT, TABLE, classify, retry_after};

    #[test]
    fn every_condition_is_listed_once_and_an_unknown_one_is_deferred() {
        for (at, (condition, class, _)) in TABLE.iter().enumerate() {
            let first = TABLE.iter().position(|(known, ..)| known == condition);
            assert_eq!(first, Some(at), "{condition} is listed twice");
            assert_eq!(classify(condition).0, *class);
        }
        assert_eq!(classify("com.microsoft:new").0, FAULT);
    }

    #[test]
    fn only_throttling_has_a_pause() {
        for (condition, class, _) in TABLE {
            let has_pause = retry_after(class).is_some();
            let throttles = ["com.microsoft:server-busy", "amqp:resource-limit-exceeded"];
            assert_eq!(has_pause, throttles.contains(&condition), "{condition}");
        }
        assert_eq!(retry_after(Class::Rejected), None);
    }
}
