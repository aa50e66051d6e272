//! What the name of a sink refers to.

use std::fmt;

/// The target of a sink. A position holds only there. Nothing in it is a secret: it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetIdentity {
    /// The type of the sink, as the configuration writes it.
    pub kind: String,
    /// What decides where changes go, by name.
    pub parts: Vec<(String, String)>,
}

/// The name of the part with the service's id of a container.
const RID: &str = "_rid";

/// How a target differs from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetDifference {
    /// A container was deleted and created again.
    Recreated,
    Other,
}

impl TargetIdentity {
    pub fn new(kind: &str, parts: Vec<(&'static str, String)>) -> Self {
        let parts = parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { kind: kind.to_owned(), parts }
    }

    /// A container of Cosmos DB. `account` is an address that all names of the account share.
    pub fn container(account: &str, database: &str, container: &str, rid: &str) -> Self {
        let parts =
            [("account", account), ("database", database), ("container", container), (RID, rid)];
        Self::new("cosmos", parts.map(|(name, value)| (name, value.to_owned())).to_vec())
    }

    /// How this target differs from another; `None` if they are one. A part that only one of them has
    /// does not count: another version of the bridge may know more of a target, or less.
    pub fn difference(&self, other: &Self) -> Option<TargetDifference> {
        if self.kind != other.kind {
            return Some(TargetDifference::Other);
        }
        let differ = |(name, value): &&(String, String)| {
            other.parts.iter().any(|(known, other)| known == name && other != value)
        };
        let names: Vec<_> = self.parts.iter().filter(differ).map(|(name, _)| name).collect();
        match names.as_slice() {
            [] => None,
            [only] if *only == RID => Some(TargetDifference::Recreated),
            _ => Some(TargetDifference::Other),
        }
    }
}

impl fmt::Display for TargetIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.kind)?;
        for (at, (name, value)) in self.parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name} `{value}`")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::{TargetDifference, TargetIdentity};

    #[test]
    fn targets_differ_by_the_parts_that_both_have() {
        let container = |account: &str, name: &str, rid: &str| {
            TargetIdentity::container(account, "shop", name, rid)
        };
        let known = container("a", "copies", "one");
        let topic = |name: &str| TargetIdentity::new("kafka", vec![("topic", name.to_owned())]);
        let cluster = vec![("topic", "t".to_owned()), ("cluster", "c".to_owned())];
        let with_cluster = TargetIdentity::new("kafka", cluster);
        let (recreated, other) = (TargetDifference::Recreated, TargetDifference::Other);
        for (one, two, expected) in [
            (&known, &known, None),
            (&known, &container("a", "copies", "two"), Some(recreated)),
            (&known, &container("b", "copies", "two"), Some(other)),
            (&known, &container("b", "copies", "one"), Some(other)),
            (&known, &container("a", "other", "one"), Some(other)),
            (&topic("t"), &topic("t"), None),
            (&topic("t"), &topic("u"), Some(other)),
            (&topic("t"), &with_cluster, None),
            (&known, &topic("copies"), Some(other)),
        ] {
            assert_eq!(one.difference(two), expected, "{one} {two}");
            assert_eq!(two.difference(one), expected, "{two} {one}");
        }
    }

    #[test]
    fn a_target_is_shown_with_its_parts() {
        let shown = TargetIdentity::container("a.example", "shop", "copies", "x==").to_string();
        let expected =
            "cosmos (account `a.example`, database `shop`, container `copies`, _rid `x==`)";
        assert_eq!(shown, expected);
    }
}
