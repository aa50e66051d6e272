//! Rules between tables.

use std::collections::BTreeMap;
use std::path::{Component, Path as FilePath, PathBuf};

use super::budget::Spending;
use super::pipelines;
use super::reader::Value;
use super::sinks::Place;

/// What the rules need to know of the rest of the file.
pub(super) struct Known<'d> {
    /// Account to address, in one spelling.
    pub(super) addresses: BTreeMap<&'d str, Option<String>>,
    pub(super) sinks: BTreeMap<&'d str, Option<Place>>,
}

impl Known<'_> {
    fn same(&self, one: &Place, other: &Place) -> bool {
        let address = |place: &Place| self.addresses.get(place.account.as_str())?.clone();
        let same_account = one.account == other.account
            || matches!((address(one), address(other)), (Some(one), Some(other)) if one == other);
        same_account && one.database == other.database && one.container == other.container
    }

    /// A pipeline must not feed itself, nor write one container through two sinks.
    pub(super) fn containers(&self, pipeline: &pipelines::Reading<'_>) {
        for (index, (name, value)) in pipeline.to.iter().enumerate() {
            let Some(Some(target)) = self.sinks.get(name.as_str()) else { continue };
            if let Some(from) = &pipeline.from
                && self.same(from, target)
            {
                value.problem(
                    format!("`{name}` writes to the container that this pipeline reads"),
                    "Every write would be read again, without end. Choose another container.",
                );
                continue;
            }
            let twin = pipeline.to.iter().take(index).find(|(earlier, _)| {
                let place = self.sinks.get(earlier.as_str()).and_then(Option::as_ref);
                earlier != name && place.is_some_and(|place| self.same(place, target))
            });
            if let Some((twin, _)) = twin {
                value.problem(
                    format!("`{twin}` and `{name}` write to the same container"),
                    "Two sinks would overtake each other there. Use one sink in both routes.",
                );
            }
        }
    }

    /// What reads (or writes) one container shares one budget, so all of it must say the same.
    pub(super) fn shared<'s, 'd: 's>(
        &self,
        tables: impl Iterator<Item = (Option<&'s Place>, Option<&'s Spending<'d>>)>,
        verb: &str,
    ) {
        let mut earlier: Vec<(&Place, &Spending<'_>)> = Vec::new();
        for (place, spending) in tables.filter_map(|(place, spending)| place.zip(spending)) {
            match earlier.iter().find(|(first, _)| self.same(first, place)) {
                Some((_, first)) => spend_alike(first, spending, verb),
                None => earlier.push((place, spending)),
            }
        }
    }
}

fn spend_alike(first: &Spending<'_>, second: &Spending<'_>, verb: &str) {
    /// What could not be read has its own problem.
    fn differ<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
        one.zip(other).is_some_and(|(one, other)| one != other)
    }
    let budgets = differ(first.budget.as_ref(), second.budget.as_ref());
    let yields = differ(first.good_neighbour.as_ref(), second.good_neighbour.as_ref());
    let options = [("budget", budgets), ("good_neighbour", yields)];
    for (key, _) in options.iter().filter(|(_, differ)| *differ) {
        let (other, written) = (first.table.at(key), second.table.at(key));
        let how = match (&other, &written) {
            (Some(_), Some(_)) => "this differs from",
            (Some(_), None) => "this is missing, unlike",
            (None, _) => "this is missing in",
        };
        let other = other.as_ref().unwrap_or(&first.table);
        let line = other.page.line(other.span.start);
        let message = format!("{how} `{}` (line {line}), and both {verb} one container", other.key);
        let hint =
            format!("They share one budget: write the same `{key}` in both tables, or in neither.");
        if let Some(written) = written {
            written.problem(message, hint);
        } else {
            let place = second.table.keyed(format!("{}.{key}", second.table.key));
            place.problem_unshown(message, hint);
        }
    }
}

/// The state must not overwrite a file that the configuration needs.
pub(super) fn state_file(state: &FilePath, written: &Value<'_>, needed: &[(PathBuf, &str)]) {
    const HINT: &str = "Give the state a file of its own.";
    if state.is_dir() {
        written.problem("this is a folder", HINT);
    }
    if let Some((_, what)) = needed.iter().find(|(file, _)| one_file(file, state)) {
        written.problem(format!("this is {what}"), HINT);
    }
}

/// Whether two paths lead to the same file, as far as can be told before it exists.
fn one_file(one: &FilePath, other: &FilePath) -> bool {
    let real = |path: &FilePath| std::fs::canonicalize(path).unwrap_or_else(|_| plain(path));
    plain(one) == plain(other) || real(one) == real(other)
}

/// Without `.` and `..`, by the text alone.
fn plain(path: &FilePath) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    plain
}
