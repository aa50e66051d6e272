//! Which of two versions stays, where both sides have changed a document.

use std::cmp::Ordering;

use cosmos_bridge_sink::{Document, Path};
use serde_json::Value;

use super::record::Stored;

/// What the deciding side prefers. If it prefers neither, the target's version stays.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// The version that was committed last, by the clocks of the service.
    Newest,
    /// The version with the greater number or text at this path.
    NewestBy(Path),
    /// The version that comes in.
    Source,
    /// The version that the target has.
    Target,
}

impl Policy {
    /// True if the version that comes in is preferred.
    pub(crate) fn prefers(&self, incoming: &Stored, target: &Stored) -> bool {
        match self {
            Self::Newest => incoming.version.changed_at() > target.version.changed_at(),
            Self::NewestBy(path) => {
                compare(&rank(&incoming.document, path), &rank(&target.document, path))
                    == Some(Ordering::Greater)
            }
            Self::Source => true,
            Self::Target => false,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Rank {
    /// Neither a number nor a text.
    None,
    Number(f64),
    Text(String),
}

fn rank(document: &Document, path: &Path) -> Rank {
    match document.find(path) {
        Some(Value::String(text)) => Rank::Text(text),
        Some(Value::Number(number)) => number.as_f64().map_or(Rank::None, Rank::Number),
        _ => Rank::None,
    }
}

/// `None` where a number meets a text.
fn compare(one: &Rank, other: &Rank) -> Option<Ordering> {
    match (one, other) {
        (Rank::Number(one), Rank::Number(other)) => one.partial_cmp(other),
        (Rank::Text(one), Rank::Text(other)) => Some(one.cmp(other)),
        (Rank::None, Rank::None) => Some(Ordering::Equal),
        (_, Rank::None) => Some(Ordering::Greater),
        (Rank::None, _) => Some(Ordering::Less),
        (Rank::Number(_), Rank::Text(_)) | (Rank::Text(_), Rank::Number(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_sink::Path;
    use serde_json::{Value, json};

    use super::Policy;
    use crate::mirror::record::Stored;
    use crate::mirror::{ContentHash, Kind, Order, Own, Stamp, Version};

    fn stored(at: &Value, committed_at: i64) -> Stored {
        let content = ContentHash::of(b"");
        let version = Version { etag: "e".to_owned(), committed_at, content, stamp: None };
        let document = json!({"id": "1", "t": at});
        Stored { version, document: document.as_object().unwrap().clone().into() }
    }

    /// Written again by the bridge at another time.
    fn again(mut stored: Stored, at: i64) -> Stored {
        let Version { committed_at, content, .. } = stored.version;
        let own = Some(Own { name: "e".to_owned(), changed_at: committed_at });
        let order = Order { lsn: 1, nth: 0, committed_at: 0 };
        let (other, over) = ("o".to_owned(), None);
        let kind = Kind::Open;
        stored.version.stamp =
            Some(Stamp { kind, other, order, over, own, content, written_at: at });
        stored.version.committed_at = at;
        stored
    }

    #[test]
    fn a_policy_prefers_one_version_or_neither() {
        let by = || Policy::NewestBy(Path::parse("/t").unwrap());
        let (none, one, two) =
            (stored(&Value::Null, 5), stored(&json!(1), 5), stored(&json!(2.5), 5));
        let (early, late) = (stored(&json!("2026-01-31"), 5), stored(&json!("2026-02-01"), 5));
        for (policy, incoming, target, expected) in [
            (Policy::Newest, &stored(&json!(0), 6), &one, true),
            (Policy::Newest, &one, &two, false),
            (Policy::Newest, &one, &stored(&json!(0), 6), false),
            // The time of the user's write counts.
            (Policy::Newest, &again(one.clone(), 9), &stored(&json!(0), 6), false),
            (Policy::Newest, &stored(&json!(0), 6), &again(one.clone(), 9), true),
            (Policy::Source, &one, &two, true),
            (Policy::Target, &two, &one, false),
            (by(), &two, &one, true),
            (by(), &one, &two, false),
            (by(), &one, &one, false),
            (by(), &late, &early, true),
            (by(), &early, &late, false),
            (by(), &one, &none, true),
            (by(), &none, &one, false),
            (by(), &none, &none, false),
            (by(), &one, &late, false),
            (by(), &late, &one, false),
        ] {
            assert_eq!(
                policy.prefers(incoming, target),
                expected,
                "{policy:?} {incoming:?} {target:?}"
            );
        }
    }
}
