//! Tables whose names the user chooses.

use std::collections::BTreeMap;

use cosmos_bridge_options::{Form, Kind, Value, below};

/// Tables of one kind, by name.
pub(super) fn named<K: Kind>(kind: K) -> Named<K> {
    Named { kind }
}

pub(super) struct Named<K> {
    kind: K,
}

impl<K: Kind> Kind for Named<K> {
    type Output = BTreeMap<String, K::Output>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Output> {
        let entries = entries(value)?.into_iter();
        let read: Vec<_> =
            entries.map(|(name, value)| (name.to_owned(), self.kind.read(&value))).collect();
        read.into_iter().map(|(name, read)| Some((name, read?))).collect()
    }

    fn form(&self) -> Form {
        form(self.kind.form())
    }

    fn differences(&self, one: &Self::Output, other: &Self::Output) -> Vec<String> {
        differences(one, other, |one, other| self.kind.differences(one, other))
    }
}

/// The paths in which named values differ; the names alone if only one side has them.
pub(super) fn differences<T>(
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
    differ: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, one) in ours {
        match theirs.get(name) {
            None => paths.push(name.clone()),
            Some(other) => paths.extend(below(name, differ(one, other))),
        }
    }
    paths.extend(theirs.keys().filter(|name| !ours.contains_key(*name)).cloned());
    paths
}

/// The form of a table of names.
pub(super) fn form(of: Form) -> Form {
    Form::Map { words: "a table of names", names: "^[a-zA-Z0-9_-]{1,64}$", of: Box::new(of) }
}

/// The entries of a table of names; reports names that cannot be used.
pub(super) fn entries<'d>(value: &Value<'d>) -> Option<Vec<(&'d str, Value<'d>)>> {
    /// Fits a line of the progress display, and a metric's label.
    const LONGEST: usize = 64;
    let entries = value.named("a table of names")?;
    for (name, entry) in &entries {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
            entry.problem_unshown(
                "invalid name",
                "A name has up to 64 letters of a to z, digits, - and _.",
            );
        }
    }
    Some(entries)
}

/// Reports names that differ only in case: names are keys of positions and metrics, where that is a trap.
pub(super) fn distinct(entries: &[(&str, Value<'_>)], why: &str) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, entry) in entries {
        if let Some(first) = seen.insert(name.to_ascii_lowercase(), name) {
            let message = format!("`{first}` and `{name}` are too much alike{why}");
            entry.problem_unshown(message, "Choose names that differ in more than case.");
        }
    }
}
