//! Reads a parsed file table by table and collects every problem on the way.
//!
//! A reading function returns `None` after it has reported why, so the caller reads on and gives
//! up only at the end. Secrets are never shown: neither values of keys that hold secrets nor those
//! of unknown keys, nor anything that looks like an account key in a wrong place.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path as FilePath;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::{Problem, meant};
use super::secret::looks_like_a_secret;
use super::table::Table;

/// The text being read, and what has been found so far.
pub(super) struct Page<'d> {
    pub(super) text: &'d str,
    /// What relative paths are relative to.
    pub(super) base_dir: &'d FilePath,
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) options: RefCell<Options>,
    /// The names of the `[credentials]`, for references to secrets wherever they stand.
    pub(super) credentials: RefCell<Vec<String>>,
}

/// Options by their place, `pipelines.*.routes[].to`: for the tests that hold the example to naming
/// every one, and the reference to saying what each may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Those the reader asked for.
    pub known: BTreeSet<String>,
    /// Those among them that were written.
    pub used: BTreeSet<String>,
    /// What those that were written may be, as the reader that took them says it.
    pub kinds: BTreeMap<String, String>,
}

impl Page<'_> {
    /// Counted from one.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.text.get(..at).unwrap_or_default().matches('\n').count()
    }

    pub(super) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }
}

/// A value of the file, and where it stands.
#[derive(Clone)]
pub(super) struct Value<'d> {
    pub(super) page: &'d Page<'d>,
    pub(super) node: &'d DeValue<'d>,
    pub(super) span: Range<usize>,
    /// The dotted path.
    pub(super) key: String,
    /// The dotted path without names and indexes.
    pub(super) shape: String,
    secret: bool,
}

impl<'d> Value<'d> {
    /// The file as a whole.
    pub(super) fn root(page: &'d Page<'d>, node: &'d DeValue<'d>) -> Self {
        Self { page, node, span: 0..0, key: String::new(), shape: String::new(), secret: false }
    }

    /// Never to be shown.
    pub(super) fn secret(&self) -> Self {
        Self { secret: true, ..self.clone() }
    }

    /// The same value under another place among the options.
    pub(super) fn shaped(&self, shape: impl Into<String>) -> Self {
        Self { shape: shape.into(), ..self.clone() }
    }

    /// The same value, pointing elsewhere.
    pub(super) fn spanning(&self, span: Range<usize>) -> Self {
        Self { span, ..self.clone() }
    }

    /// The same place under another dotted path.
    pub(super) fn keyed(&self, key: String) -> Self {
        Self { key, ..self.clone() }
    }

    /// Notes what may be written here. The first reader knows best: it is the one with a range.
    pub(super) fn is_a(&self, kind: impl FnOnce() -> String) {
        let mut options = self.page.options.borrow_mut();
        options.kinds.entry(self.shape.clone()).or_insert_with(kind);
    }

    /// Reports a problem with this value.
    pub(super) fn problem(&self, message: impl Into<String>, hint: impl Into<String>) {
        let value = self.as_written();
        self.page.report(Problem { value, ..self.problem_here(message.into(), hint.into()) });
    }

    /// Reports a problem with what is missing below this value, or with its name.
    pub(super) fn problem_unshown(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.page.report(self.problem_here(message.into(), hint.into()));
    }

    fn problem_here(&self, message: String, hint: String) -> Problem {
        // The root has no line, and neither has what is missing from it.
        let line = (!self.shape.is_empty()).then(|| self.page.line(self.span.start));
        let hint = (!hint.is_empty()).then_some(hint);
        Problem { line, key: self.key.clone(), value: None, message, hint }
    }

    /// The first line of the value's text; `None` for tables under a header and for secrets.
    fn as_written(&self) -> Option<String> {
        /// Enough to recognise a value by.
        const SHOWN: usize = 60;
        let text = self.page.text.get(self.span.clone())?;
        let under_header = match self.node {
            DeValue::Table(_) => !text.starts_with('{'),
            DeValue::Array(items) => {
                !text.starts_with('[')
                    || matches!(items.first().map(Spanned::get_ref), Some(DeValue::Table(_)))
                        && text.starts_with("[[")
            }
            _ => text.is_empty(),
        };
        if under_header {
            return None;
        }
        if self.secret || looks_like_a_secret(text) {
            return Some("[redacted]".to_owned());
        }
        let first: String = text.lines().next()?.chars().take(SHOWN).collect();
        Some(if first.len() < text.len() { format!("{} …", first.trim_end()) } else { first })
    }

    fn wrong_type<T>(&self, expected: &str, hint: &str) -> Option<T> {
        let found = match self.node {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a point in time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("expected {expected}, found {found}"), hint);
        None
    }

    pub(super) fn text(&self) -> Option<&'d str> {
        self.text_like("text", "Write it in double quotes.")
    }

    /// A text of a certain kind, which the messages name.
    pub(super) fn text_like(&self, expected: &str, hint: &str) -> Option<&'d str> {
        self.is_a(|| expected.to_owned());
        match self.node {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(expected, hint),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        self.is_a(|| "true or false".to_owned());
        match self.node {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type("true or false", "Write it without quotes."),
        }
    }

    /// A whole number in the range.
    pub(super) fn integer(&self, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.is_a(|| match (*range.start(), *range.end()) {
            (least, u32::MAX) => format!("a whole number from {least}"),
            (least, most) => format!("a whole number from {least} to {most}"),
        });
        let DeValue::Integer(written) = self.node else {
            return self.wrong_type("a whole number", "Write digits alone.");
        };
        let number = i64::from_str_radix(written.as_str(), written.radix());
        let number = number.ok().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let range = format!("Write a number from {} to {}.", range.start(), range.end());
            self.problem("the number is out of range", range);
        }
        number
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names = || choices.iter().map(|(name, _)| *name);
        let quoted: Vec<String> = names().map(|name| format!("\"{name}\"")).collect();
        self.is_a(|| quoted.join(" or "));
        let written = self.text_like("text", &format!("Write {}.", quoted.join(" or ")))?;
        let chosen = choices.iter().find(|(name, _)| *name == written).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let hint = meant(written, &names().collect::<Vec<_>>(), "choice");
            self.problem("there is no such choice", hint);
        }
        chosen
    }

    pub(super) fn list(&self) -> Option<Vec<Value<'d>>> {
        self.is_a(|| "a list".to_owned());
        let DeValue::Array(items) = self.node else {
            let hint = if self.node.is_table() && self.shape.ends_with(".routes") {
                format!("Write the header with two brackets: [[{}]].", self.key)
            } else {
                "Write it in square brackets.".to_owned()
            };
            return self.wrong_type("a list", &hint);
        };
        let item = |(index, item): (usize, &'d Spanned<DeValue<'d>>)| Value {
            node: item.get_ref(),
            span: item.span(),
            key: format!("{}[{index}]", self.key),
            shape: format!("{}[]", self.shape),
            ..self.clone()
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Reads every item of a list, and is `None` if one was `None`, after all are read.
    pub(super) fn all<T>(&self, read: impl Fn(&Value<'d>) -> Option<T>) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = self.list()?.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// The entries of a table whose keys are names that the person chose, as written.
    pub(super) fn named(&self, expected: &str) -> Option<Vec<(&'d str, Value<'d>)>> {
        self.is_a(|| expected.to_owned());
        let DeValue::Table(table) = self.node else { return self.wrong_type(expected, "") };
        Some(
            sorted(table)
                .map(|(name, item)| (&**name.get_ref(), self.below(name, item, "*")))
                .collect(),
        )
    }

    pub(super) fn below(
        &self,
        name: &'d Spanned<DeString<'d>>,
        item: &'d Spanned<DeValue<'d>>,
        shape: &str,
    ) -> Value<'d> {
        let join = |parent: &str, name: &str| match parent {
            "" => name.to_owned(),
            _ => format!("{parent}.{name}"),
        };
        // An array's own span may be empty or be its first header; a key's never lies.
        let span = if item.span().is_empty() { name.span() } else { item.span() };
        Value {
            node: item.get_ref(),
            span,
            key: join(&self.key, &bare_or_quoted(name.get_ref())),
            shape: join(&self.shape, shape),
            ..self.clone()
        }
    }

    /// What is written at a key of this table, without asking for it.
    pub(super) fn at(&self, key: &str) -> Option<Value<'d>> {
        let DeValue::Table(entries) = self.node else { return None };
        entries.get_key_value(key).map(|(name, item)| self.below(name, item, key))
    }

    /// A table that names a secret. What stands in its place may be the secret itself.
    pub(super) fn secret_table(&self, expected: &str, hint: &str) -> Option<Table<'d>> {
        if self.node.is_table() { self.clone() } else { self.secret() }.table(expected, hint)
    }

    pub(super) fn table(&self, expected: &str, hint: &str) -> Option<Table<'d>> {
        self.is_a(|| expected.to_owned());
        match self.node {
            DeValue::Table(entries) => Some(Table::new(self.clone(), entries)),
            _ => self.wrong_type(expected, hint),
        }
    }
}

/// A key as it has to be written in the file.
fn bare_or_quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

/// In the order of the file.
pub(super) fn sorted<'d>(
    table: &'d DeTable<'d>,
) -> impl Iterator<Item = (&'d Spanned<DeString<'d>>, &'d Spanned<DeValue<'d>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries.into_iter()
}
