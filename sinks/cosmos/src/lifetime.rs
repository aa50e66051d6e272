//! The time to live of a copy, so that it expires when its source document does.

use cosmos_bridge_sink::{Document, Expiry};

/// Differences up to this many seconds are left, so that documents that are copied at once stay as they
/// are.
const TOLERANCE: i64 = 3;

/// The service's longest time to live, in seconds.
/// <https://learn.microsoft.com/azure/cosmos-db/time-to-live>
pub const TTL_MAX: i64 = i32::MAX as i64;

/// What becomes of the `ttl` of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    AsIs,
    /// Seconds from the write; -1 if the document never expires.
    Set(i64),
    /// The source document has expired: there must be no copy.
    Expired,
}

impl Lifetime {
    /// `default` is the time to live of the target container, -1 if only documents with a `ttl` expire.
    /// `now` in seconds since the Unix epoch.
    pub(crate) fn of(expiry: Expiry, document: &Document, default: i64, now: i64) -> Self {
        let own = document.get("ttl").and_then(|ttl| ttl.as_i64());
        if own != expiry.ttl {
            // The route sets it.
            return Self::AsIs;
        }
        let in_target = own.filter(|ttl| is_ttl(*ttl)).unwrap_or(default);
        match expiry.at {
            None if in_target == -1 => Self::AsIs,
            None => Self::Set(-1),
            Some(at) if at <= now => Self::Expired,
            Some(at) => {
                let rest = (at - now).min(TTL_MAX);
                let is_close = in_target > 0 && (in_target - rest).abs() <= TOLERANCE;
                if is_close { Self::AsIs } else { Self::Set(rest) }
            }
        }
    }
}

/// True for a number of seconds that the service accepts as the `ttl` of a document; -1 is for ever.
pub fn is_ttl(ttl: i64) -> bool {
    ttl == -1 || (1..=TTL_MAX).contains(&ttl)
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_sink::Expiry;
    use serde_json::json;

    use super::Lifetime::{self, AsIs, Expired, Set};

    const NOW: i64 = 1000;

    #[test]
    fn a_copy_expires_when_its_source_document_does() {
        let at = |at: i64, ttl: Option<i64>| Expiry { at: Some(at), ttl };
        let never = |ttl| Expiry { at: None, ttl };
        let (own, none) = (json!({"ttl": 100}), json!({}));
        for (expiry, document, default, expected) in [
            (at(1050, Some(100)), &own, -1, Set(50)),
            (at(1050, Some(100)), &own, 7, Set(50)),
            (at(1050, None), &none, -1, Set(50)),
            (at(1050, None), &none, 50, AsIs),
            (at(1050, None), &none, 7, Set(50)),
            // Copied at once.
            (at(1097, Some(100)), &own, -1, AsIs),
            (at(1096, Some(100)), &own, -1, Set(96)),
            (at(1100, Some(100)), &own, -1, AsIs),
            (at(1001, Some(100)), &own, -1, Set(1)),
            (at(1000, Some(100)), &own, -1, Expired),
            (at(1, Some(100)), &own, -1, Expired),
            // The route changes the field.
            (at(1050, Some(9)), &own, -1, AsIs),
            (at(1050, Some(100)), &none, -1, AsIs),
            (at(1050, None), &own, -1, AsIs),
            // Never.
            (never(None), &none, -1, AsIs),
            (never(None), &none, 50, Set(-1)),
            (never(Some(-1)), &json!({"ttl": -1}), 50, AsIs),
            // The service ignores such a field.
            (at(1050, Some(0)), &json!({"ttl": 0}), 50, AsIs),
            (at(1050, Some(0)), &json!({"ttl": 0}), -1, Set(50)),
            (at(i64::MAX, Some(100)), &own, -1, Set(i64::from(i32::MAX))),
        ] {
            let shown = format!("{expiry:?} {document} {default:?}");
            let document = document.as_object().unwrap().clone().into();
            assert_eq!(Lifetime::of(expiry, &document, default, NOW), expected, "{shown}");
        }
    }
}
