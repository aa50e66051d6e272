//! What a status and substatus of the service mean for whoever asked.
//!
//! Sources: the service's REST reference for HTTP status codes, and the substatus names in the
//! vendor's `azure_data_cosmos_driver`. Codes from 20000 on are the client library's own.

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
}

/// One row per code that is told apart; everything else goes by its status alone.
#[rustfmt::skip]
const TABLE: &[(u16, Option<u32>, Class)] = &[
    (304, None,        Class::NotModified),
    (400, Some(1024),  Class::ContainerReplaced), // collection rid mismatch
    (400, Some(20116), Class::Refused),           // the client library refuses the continuation
    (401, None,        Class::Denied),
    (403, Some(3),     Class::Transient),         // write region is moving
    (403, Some(1008),  Class::Transient),         // account is moving between regions
    (403, None,        Class::Denied),
    (404, Some(1002),  Class::Transient),         // this replica has not caught up with the session
    (404, Some(1003),  Class::ContainerMissing),  // owner resource does not exist
    (404, Some(1013),  Class::Transient),         // the container is still being created
    (404, None,        Class::Missing),
    (408, None,        Class::Transient),
    (409, None,        Class::Conflict),
    (410, None,        Class::RangeMoved),        // 1002 gone, 1007 splitting, 1008 migrating
    (412, None,        Class::Changed),
    (413, None,        Class::TooLarge),
    (424, None,        Class::BatchMate),
    (429, Some(3088),  Class::RangeMoved),        // locked while it is divided
    (429, Some(3092),  Class::Busy),              // the service's own resources
    (429, Some(3200),  Class::Throttled),         // provisioned throughput used up
    (429, Some(3210),  Class::MetadataThrottled), // the partition that holds metadata
    (429, Some(3212),  Class::Throttled),         // throughput bucket used up
    (429, Some(3214),  Class::HotKey),
    (429, None,        Class::Throttled),
    (449, None,        Class::Transient),         // concurrent write to the same document
    (500, Some(20206), Class::RangeMoved),        // the client library gave up on a split
    (503, None,        Class::Busy),
];

/// Looks a status up: the row with the substatus first, then the row without.
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
    let row = |wanted: Option<u32>| {
        TABLE.iter().find(|(s, sub, _)| *s == status && *sub == wanted).map(|row| row.2)
    };
    row(Some(sub_status)).or_else(|| row(None)).unwrap_or(match status {
        500.. => Class::Busy,
        _ => Class::Refused,
    })
}

impl Class {
    /// Why the same request can succeed later; `None` where it never will, or where it did.
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
            | Self::ContainerReplaced => Some(Cause::Fault),
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
    use super::{Class, classify};

    #[test]
    fn a_substatus_wins_over_its_status() {
        assert_eq!(classify(404, 0), Class::Missing);
        assert_eq!(classify(404, 1003), Class::ContainerMissing);
        assert_eq!(classify(429, 3088), Class::RangeMoved);
        assert_eq!(classify(429, 3214), Class::HotKey);
        assert_eq!(classify(429, 9999), Class::Throttled);
        assert_eq!(classify(400, 1024), Class::ContainerReplaced);
    }

    #[test]
    fn an_unknown_status_is_refused_below_500_and_repeated_above() {
        assert_eq!(classify(418, 0), Class::Refused);
        assert_eq!(classify(599, 7), Class::Busy);
        assert_eq!(classify(207, 0), Class::Done);
    }
}
