//! What a status and substatus of the service mean for whoever asked.
//!
//! Sources: the service's REST reference for HTTP status codes, and in the vendor's
//! `azure_data_cosmos_driver` the names of the substatuses (`error/cosmos_status.rs`) and what it
//! repeats by itself (`driver/pipeline/retry_evaluation.rs`). Substatuses from 20000 on are the
//! client library's own. For people the same table is in `docs/faults.md`.

use std::fmt;
use std::ops::RangeInclusive;

use cosmos_bridge_sink::Cause;

/// What an answer calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Done,
    /// 304: nothing new.
    NotModified,
    /// The request was fine, its physical partition has no request units left. Wait as told.
    Throttled,
    /// One logical key takes more than a key may have. Only its own requests have to wait.
    HotKey,
    /// Too many requests about containers and ranges; those about documents are not concerned.
    MetadataThrottled,
    /// The service has trouble of its own: less at once, later and later.
    Busy,
    /// A passing fault of this request: try again, later and later.
    Transient,
    /// The feed range is being divided or joined. Look up the ranges again, then try again.
    RangeMoved,
    /// The document is not there.
    Missing,
    /// The document is there already, or a unique key is taken.
    Conflict,
    /// A precondition did not hold.
    Changed,
    /// Another operation of the same batch failed.
    BatchMate,
    /// Larger than the service takes.
    TooLarge,
    /// The service will never take this request.
    Refused,
    /// The credential is wrong, expired or lacks a right.
    Denied,
    /// The database or container is not there.
    ContainerMissing,
    /// The container is not the one it was: deleted and created again under the same name.
    ContainerReplaced,
    /// Bridge and client library do not understand each other. Neither the service nor time will
    /// change that.
    Defect,
}

/// The substatuses of a status that a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubStatus {
    These(RangeInclusive<u32>),
    /// Whatever has no row of its own.
    Rest,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub status: u16,
    pub sub_status: SubStatus,
    pub class: Class,
}

/// The code as people write it: `429/3200`, `429/3073-3103`, `429`.
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

/// The status of what never became a request, or whose answer makes no sense: no status at all.
pub const NO_STATUS: u16 = 0;

/// The first row that fits a status and substatus is the one that counts.
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
    one(403, 1014,            Class::Refused),           // the logical key holds all it may, 20 GB
    rest(403,                 Class::Denied),
    // Only a clean 404 is about the document; a delete that met another one was not carried out.
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
    one(429, 3088,            Class::RangeMoved),        // locked while it is divided
    some(429, 3073..=3103,    Class::Busy),              // the service's own resources; mostly 3092
    one(429, 3200,            Class::Throttled),         // provisioned throughput used up
    one(429, 3210,            Class::MetadataThrottled), // the partition that holds metadata
    one(429, 3212,            Class::Throttled),         // throughput bucket used up
    one(429, 3214,            Class::HotKey),
    rest(429,                 Class::Throttled),
    rest(449,                 Class::Transient),         // concurrent write to the same document
    one(500, 20020,           Class::Transient),         // an answer that was cut short
    some(500, 20203..=20205,  Class::Defect),            // the library refuses the continuation
    one(500, 20206,           Class::RangeMoved),        // the library gave up on a split
    rest(500,                 Class::Busy),
    some(503, 20003..=20019,  Class::Transient),         // no answer came
    one(503, 20305,           Class::RangeMoved),        // the library found no ranges
    some(503, 20310..=20312,  Class::Transient),         // 404/1002, 403/3, 403/1008, in vain
    rest(503,                 Class::Busy),
];

/// Looks a status up. Above 500 what is not in the table is the service's trouble, below it is
/// refused for good.
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
    row_of(status, sub_status).map_or(
        match status {
            500.. => Class::Busy,
            _ => Class::Refused,
        },
        |row| row.class,
    )
}

/// The row that counts for a status and substatus; `None` where the table has none.
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
    /// Why the same request can succeed later; `None` where it never will, or where it did.
    ///
    /// What a person has to mend is tried again all the same: once mended, nothing is lost.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Throttled => Some(Cause::Throttled),
            Self::HotKey => Some(Cause::HotKey),
            Self::Busy => Some(Cause::Busy),
            Self::RangeMoved => Some(Cause::Moved),
            Self::MetadataThrottled
            | Self::Transient
            | Self::Denied
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
    use super::{Class, NO_STATUS, Row, SubStatus, TABLE, classify};

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
