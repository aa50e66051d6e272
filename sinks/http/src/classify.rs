//! What an answer means: one table.

use cosmos_bridge_sink::Cause;

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Delivered,
    /// The endpoint will never take this event.
    Rejected,
    /// Another time.
    Deferred(Cause),
}

/// Statuses and what they mean. Where two rows hold a status, the first one counts.
///
/// Sources: RFC 9110, section 15, and <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>,
/// section 2.1. A mistake that an operator can mend, such as a wrong secret, waits for that: events
/// are not given up for it.
pub const TABLE: [(u16, u16, Class, &str); 15] = [
    (200, 299, Class::Delivered, "taken"),
    (
        300,
        399,
        Class::Deferred(Cause::Fault),
        "redirects are not followed; name the address itself",
    ),
    (401, 401, Class::Deferred(Cause::Fault), "the secret is missing or wrong"),
    (403, 403, Class::Deferred(Cause::Fault), "the secret does not allow this"),
    (404, 405, Class::Deferred(Cause::Fault), "nothing there takes events"),
    (407, 407, Class::Deferred(Cause::Fault), "a proxy wants credentials"),
    (408, 408, Class::Deferred(Cause::Busy), "the request took too long"),
    (410, 410, Class::Deferred(Cause::Fault), "the endpoint was retired"),
    (411, 411, Class::Deferred(Cause::Fault), "it wants the length of a body that has none"),
    (415, 415, Class::Deferred(Cause::Fault), "it takes another format"),
    (425, 425, Class::Deferred(Cause::Busy), "too early"),
    (429, 429, Class::Deferred(Cause::Throttled), "too many requests"),
    (400, 499, Class::Rejected, "refused for what it is"),
    (502, 504, Class::Deferred(Cause::Busy), "not available"),
    // One event may be what breaks it: the others go on.
    (500, 599, Class::Deferred(Cause::Fault), "it failed"),
];

/// The class of a status, and why. `refusals` are statuses that this endpoint refuses events with.
pub fn classify(status: u16, refusals: &[u16]) -> (Class, &'static str) {
    if refusals.contains(&status) {
        return (Class::Rejected, "refused for what it is");
    }
    let row = TABLE.iter().find(|(first, last, ..)| (*first..=*last).contains(&status));
    row.map_or((Class::Deferred(Cause::Fault), "no status of HTTP"), |(.., class, why)| {
        (*class, why)
    })
}
