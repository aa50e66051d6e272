//! What requests cost, in request units. The whole model is the table below.
//!
//! The service publishes 1 RU for a point read of 1 KB, about 10 RU for one of 100 KB, and 5 to 6
//! RU for writing 1 KB with few indexed properties; a replacement removes index terms as well and
//! costs about twice an insertion. What it does not publish (feeds, queries by size, errors) is an
//! assumption of the same order of magnitude.

/// Read 1 KB by id and key.
const READ: f64 = 1.0;
/// Insert 1 KB.
const CREATE: f64 = 5.29;
/// Replace 1 KB.
const REPLACE: f64 = 10.29;
/// Delete 1 KB.
const DELETE: f64 = 5.29;
/// What each further KB adds, as a share of the first.
const PER_FURTHER_KB: f64 = 0.095;
/// A page of the change feed or of all documents, also when it is empty.
const FEED_FLOOR: f64 = 1.0;
const FEED_PER_KB: f64 = 0.1;
/// A page of a query, also when it is empty.
const QUERY_FLOOR: f64 = 2.31;
const QUERY_PER_KB: f64 = 0.2;
/// A write or read refused by the state of the document (404, 409, 412).
const REFUSED: f64 = 1.24;
/// A request refused for its form (400, 413) or for its rate (429).
const MALFORMED: f64 = 1.0;
const THROTTLED: f64 = 0.38;
/// Anything about accounts, databases, containers, ranges and offers.
pub const METADATA: f64 = 1.0;

fn sized(first_kb: f64, bytes: usize) -> f64 {
    first_kb * (1.0 + PER_FURTHER_KB * (kilobytes(bytes) - 1.0).max(0.0))
}

#[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn kilobytes(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}

pub fn read(bytes: usize) -> f64 {
    sized(READ, bytes)
}

pub fn create(bytes: usize) -> f64 {
    sized(CREATE, bytes)
}

pub fn replace(bytes: usize) -> f64 {
    sized(REPLACE, bytes)
}

pub fn delete(bytes: usize) -> f64 {
    sized(DELETE, bytes)
}

pub fn feed(bytes: usize) -> f64 {
    FEED_FLOOR + FEED_PER_KB * kilobytes(bytes)
}

pub fn query(bytes: usize) -> f64 {
    QUERY_FLOOR + QUERY_PER_KB * kilobytes(bytes)
}

/// A charge with the two decimals that answers carry.
pub fn as_told(units: f64) -> f64 {
    (units * 100.0).round() / 100.0
}

/// The charge of a refusal, by its status.
pub fn refused(status: u16) -> f64 {
    match status {
        304 => READ,
        404 | 409 | 412 | 424 => REFUSED,
        429 => THROTTLED,
        400 | 413 => MALFORMED,
        _ => 0.0,
    }
}
