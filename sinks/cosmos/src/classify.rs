//! What a status and substatus of the service mean: one table.
//!
//! Sources: the service's REST reference for HTTP status codes, and in the vendor's
//! `azure_data_cosmos_driver` the names of the substatuses (`error/cosmos_status.rs`) and the retries of
//! the driver (`driver/pipeline/retry_evaluation.rs`). Substatuses from 20000 on are those of the client
//! library. `docs/faults.md` has the same table for operators.

use std::fmt;
use std::ops::RangeInclusive;

use cosmos_bridge_sink::Cause;

/// What an answer means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Done,
    /// 304: nothing new.
    NotModified,
    /// The physical partition has no request units left. Retry after the pause in the answer.
    Throttled,
    /// One logical key uses more than a key may use. Only the requests of this key have to wait.
    HotKey,
    /// Too many requests for metadata of containers and ranges. Requests for documents are not
    /// affected.
    MetadataThrottled,
    /// The service is overloaded or failing: send fewer requests, with growing pauses.
    Busy,
    /// A transient fault of this request: retry with growing pauses.
    Transient,
    /// The feed range is being split or merged. Look up the ranges again, then retry.
    RangeMoved,
    /// The document does not exist.
    Missing,
    /// The document exists, or a unique key is taken.
    Conflict,
    /// A precondition did not hold.
    Changed,
    /// Another operation of the same batch failed.
    BatchMate,
    /// Larger than the service accepts.
    TooLarge,
    /// The service will never accept this request.
    Refused,
    /// The credential is wrong, expired or lacks a right.
    Denied,
    /// The answer is not the service's: a proxy or a firewall on the way refused the request. It says
    /// nothing about the document, the position or the credential.
    Intermediary,
    /// The database or container does not exist.
    ContainerMissing,
    /// The container was deleted and created again under the same name.
    ContainerReplaced,
    /// An internal error (bug) of the bridge or the client library. A retry will not help.
    Defect,
}

/// The substatuses of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubStatus {
    These(RangeInclusive<u32>),
    /// All substatuses without a row.
    Rest,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub status: u16,
    pub sub_status: SubStatus,
    pub class: Class,
}

/// The code as operators write it: `429/3200`, `429/3073-3103`, `429`.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, sub_status, .. } = self;
        match sub_status {
            SubStatus::Rest => write!(f, "{status}"),
            SubStatus::These(subs) if subs.start() == subs.end() => {
                write!(f, "{status}/{}", subs.start())
            }
            SubStatus::These(subs) => write!(f, "{status}/{}-{}", subs.start(), subs.end()),
        }
    }
}

const fn one(status: u16, sub_status: u32, class: Class) -> Row {
    some(status, sub_status..=sub_status, class)
}

const fn some(status: u16, sub_status: RangeInclusive<u32>, class: Class) -> Row {
    Row { status, sub_status: SubStatus::These(sub_status), class }
}

const fn rest(status: u16, class: Class) -> Row {
    Row { status, sub_status: SubStatus::Rest, class }
}

/// The status of an error without a status: no request was sent, or the answer was invalid.
pub const NO_STATUS: u16 = 0;

/// The bridge's own substatus, which neither the service nor the client library uses: the answer to a
/// request is not the service's.
pub const INTERMEDIARY: u32 = 29_402;

/// The first row that matches a status and substatus counts.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    rest(NO_STATUS,           Class::Defect),
    rest(304,                 Class::NotModified),
    one(400, 1024,            Class::ContainerReplaced), // collection rid mismatch
    some(400, 20112..=20118,  Class::Defect),            // the library refuses range or continuation
    rest(400,                 Class::Refused),           // 1001 the key is not the document's
    rest(401,                 Class::Denied),
    one(403, 3,               Class::Transient),         // write region is moving
    one(403, 1008,            Class::Transient),         // account is moving between regions
    one(403, 1014,            Class::Refused),           // the logical key is full (20 GB)
    rest(403,                 Class::Denied),
    // Only 404/0 is about the document; a delete with another 404 was not carried out.
    one(404, 0,               Class::Missing),
    one(404, 1003,            Class::ContainerMissing),  // owner resource does not exist
    rest(404,                 Class::Transient),         // 1002 replica behind, 1013 being created
    rest(408,                 Class::Transient),         // 20008: the library's own time limit
    one(409, 1006,            Class::Transient),         // the container is being changed
    rest(409,                 Class::Conflict),
    rest(410,                 Class::RangeMoved),        // 1002 gone, 1007 splitting, 1008 migrating
    rest(412,                 Class::Changed),
    rest(413,                 Class::TooLarge),
    rest(423,                 Class::Transient),         // throughput is being changed
    rest(424,                 Class::BatchMate),
    one(429, 3088,            Class::RangeMoved),        // locked during a split
    some(429, 3073..=3103,    Class::Busy),              // resources of the service; mostly 3092
    one(429, 3200,            Class::Throttled),         // provisioned throughput used up
    one(429, 3210,            Class::MetadataThrottled), // the partition that holds metadata
    one(429, 3212,            Class::Throttled),         // throughput bucket used up
    one(429, 3214,            Class::HotKey),
    rest(429,                 Class::Throttled),
    rest(449,                 Class::Transient),         // concurrent write to the same document
    one(500, 20020,           Class::Transient),         // an incomplete answer
    some(500, 20203..=20205,  Class::Defect),            // the library refuses the continuation
    one(500, 20206,           Class::RangeMoved),        // the library gave up on a split
    rest(500,                 Class::Busy),
    some(503, 20003..=20019,  Class::Transient),         // no answer
    one(503, 20305,           Class::RangeMoved),        // the library found no ranges
    some(503, 20310..=20312,  Class::Transient),         // retries of 404/1002, 403/3, 403/1008 failed
    rest(503,                 Class::Busy),
];

/// The class of a status and substatus. A status without a row is `Busy` from 500 on, and `Refused`
/// below. What is not the service's is [`Class::Intermediary`] with every status.
///
/// # Examples
///
/// ```
/// use cosmos_bridge_cosmos::{Class, classify};
/// assert_eq!(classify(429, 3200), Class::Throttled);
/// ```
pub fn classify(status: u16, sub_status: u32) -> Class {
    if (200..300).contains(&status) {
        return Class::Done;
    }
    if sub_status == INTERMEDIARY {
        return Class::Intermediary;
    }
    row_of(status, sub_status).map_or(
        match status {
            500.. => Class::Busy,
            _ => Class::Refused,
        },
        |row| row.class,
    )
}

/// The row for a status and substatus; `None` if the table has none.
pub fn row_of(status: u16, sub_status: u32) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        row.status == status
            && match &row.sub_status {
                SubStatus::These(subs) => subs.contains(&sub_status),
                SubStatus::Rest => true,
            }
    })
}

impl Class {
    /// Why the same request can succeed later; `None` if it never will, or if it succeeded.
    ///
    /// Errors that need operator action are retried too, so that nothing is lost once they are
    /// corrected.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Throttled => Some(Cause::Throttled),
            Self::HotKey => Some(Cause::HotKey),
            Self::Busy => Some(Cause::Busy),
            Self::RangeMoved => Some(Cause::Moved),
            Self::MetadataThrottled
            | Self::Transient
            | Self::Denied
            | Self::Intermediary
            | Self::ContainerMissing
            | Self::ContainerReplaced
            | Self::Defect => Some(Cause::Fault),
            Self::Done
            | Self::NotModified
            | Self::Missing
            | Self::Conflict
            | Self::Changed
            | Self::BatchMate
            | Self::TooLarge
            | Self::Refused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, INTERMEDIARY, NO_STATUS, Row, SubStatus, TABLE, classify};

    #[test]
    fn a_substatus_wins_over_its_status() {
        for (status, sub_status, class) in [
            (NO_STATUS, 0, Class::Defect),
            (400, 1024, Class::ContainerReplaced),
            (400, 20_116, Class::Defect),
            (400, 20_101, Class::Refused),
            (403, 1014, Class::Refused),
            (403, 5300, Class::Denied),
            (404, 0, Class::Missing),
            (404, 1003, Class::ContainerMissing),
            (404, 1023, Class::Transient),
            (409, 0, Class::Conflict),
            (409, 1006, Class::Transient),
            (429, 3075, Class::Busy),
            (429, 3088, Class::RangeMoved),
            (429, 3214, Class::HotKey),
            (429, 9999, Class::Throttled),
            (500, 20_203, Class::Defect),
            (503, 20_010, Class::Transient),
            (503, 20_311, Class::Transient),
            (503, 1338, Class::Busy),
            (400, INTERMEDIARY, Class::Intermediary),
            (404, INTERMEDIARY, Class::Intermediary),
            (409, INTERMEDIARY, Class::Intermediary),
        ] {
            assert_eq!(classify(status, sub_status), class, "{status}/{sub_status}");
        }
    }

    #[test]
    fn every_row_can_be_reached() {
        let sample = |row: &Row| match &row.sub_status {
            SubStatus::These(subs) => *subs.start(),
            SubStatus::Rest => u32::MAX,
        };
        for row in TABLE {
            assert_eq!(classify(row.status, sample(row)), row.class, "{row}");
        }
    }

    #[test]
    fn an_unknown_status_is_refused_below_500_and_repeated_above() {
        assert_eq!(classify(418, 0), Class::Refused);
        assert_eq!(classify(599, 7), Class::Busy);
        assert_eq!(classify(207, 0), Class::Done);
    }
}
