//! What a status means: one table.

use std::ops::RangeInclusive;

use cosmos_bridge_sink::Class;

/// The statuses of success.
const SUCCESS: RangeInclusive<u16> = 200..=299;

const BUSY: Class = Class::BUSY;
const FAULT: Class = Class::FAULT;
const THROTTLED: Class = Class::THROTTLED;
const REFUSED: &str = "event refused";

/// Ranges of statuses, the class of each, and its text for logs. The first row with a status counts.
///
/// Sources: RFC 9110, section 15, and <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>,
/// section 2.1. A mistake that an operator can correct, such as a wrong secret, is deferred, so that no
/// event is lost.
pub const TABLE: [(u16, u16, Class, &str); 14] = [
    (300, 399, FAULT, "redirects are not followed; configure the address of the target"),
    (401, 401, FAULT, "the secret is missing or wrong"),
    (403, 403, FAULT, "the secret does not allow this"),
    (404, 405, FAULT, "no resource at this address accepts events"),
    (407, 407, FAULT, "a proxy requires credentials"),
    (408, 408, BUSY, "the request took too long"),
    (410, 410, FAULT, "the endpoint was retired"),
    (411, 411, FAULT, "content length required for an empty body"),
    (415, 415, FAULT, "unsupported format"),
    (425, 425, BUSY, "too early"),
    (429, 429, THROTTLED, "too many requests"),
    (400, 499, Class::Rejected, REFUSED),
    (502, 504, BUSY, "not available"),
    // One event may be the reason, so the other events are sent.
    (500, 599, FAULT, "internal error"),
];

/// The class of a status that is no success, and its text. `refusals` are the statuses with which this
/// endpoint rejects events.
pub fn classify(status: u16, refusals: &[u16]) -> Result<(), (Class, &'static str)> {
    if refusals.contains(&status) {
        return Err((Class::Rejected, REFUSED));
    }
    if SUCCESS.contains(&status) {
        return Ok(());
    }
    let row = TABLE.iter().find(|(first, last, ..)| (*first..=*last).contains(&status));
    Err(row.map_or((FAULT, "not a status of HTTP"), |(.., class, why)| (*class, why)))
}
