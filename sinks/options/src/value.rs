//! A value of the configuration file and its position.
//!
//! A reading function reports its problem and returns `None`, so its caller continues and all problems
//! of a file are found in one pass. Secrets are never shown: neither values of options that hold secrets
//! nor those of unknown keys, nor anything that looks like an account key in another place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::problem::{Problem, meant};
use crate::secret::{SecretRef, looks_like_a_secret};
use crate::table::Table;

/// The file being read, and the problems found so far.
pub struct ConfigText<'d> {
    text: &'d str,
    /// The folder of the configuration file: relative paths begin there.
    base_dir: &'d FilePath,
    /// Names that other options refer to, by kind: the accounts, the credentials, the sinks.
    names: BTreeMap<&'static str, Vec<String>>,
    problems: RefCell<Vec<Problem>>,
    resources: RefCell<Resources>,
}

/// What options name outside of the configuration file, each with the dotted path of its option, in the
/// order of reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub secrets: Vec<(String, SecretRef)>,
    /// Files of certificates and keys, which are replaced together with secrets.
    pub certificates: Vec<(String, PathBuf)>,
}

impl<'d> ConfigText<'d> {
    pub fn new(
        text: &'d str,
        base_dir: &'d FilePath,
        names: BTreeMap<&'static str, Vec<String>>,
    ) -> Self {
        Self { text, base_dir, names, problems: RefCell::default(), resources: RefCell::default() }
    }

    pub fn base_dir(&self) -> &'d FilePath {
        self.base_dir
    }

    pub(crate) fn names(&self, what: &str) -> Vec<&str> {
        self.names.get(what).into_iter().flatten().map(String::as_str).collect()
    }

    /// The line of an offset, counted from one.
    pub fn line(&self, at: usize) -> usize {
        1 + self.text.get(..at).unwrap_or_default().matches('\n').count()
    }

    pub fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// What the options below a path name outside of the file; paths are relative to it.
    pub fn resources_below(&self, path: &str) -> Resources {
        fn below<T: Clone>(all: &[(String, T)], path: &str) -> Vec<(String, T)> {
            let relative = |(option, it): &(String, T)| {
                Some((option.strip_prefix(path)?.strip_prefix('.')?.to_owned(), it.clone()))
            };
            all.iter().filter_map(relative).collect()
        }
        let all = self.resources.borrow();
        Resources {
            secrets: below(&all.secrets, path),
            certificates: below(&all.certificates, path),
        }
    }

    /// Every problem, in the order of the lines.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

/// A value of the file and its position.
#[derive(Clone)]
pub struct Value<'d> {
    file: &'d ConfigText<'d>,
    node: &'d DeValue<'d>,
    span: Range<usize>,
    /// The dotted path.
    key: String,
    secret: bool,
}

impl<'d> Value<'d> {
    /// The file as a whole.
    pub fn root(file: &'d ConfigText<'d>, node: &'d DeValue<'d>) -> Self {
        Self { file, node, span: 0..0, key: String::new(), secret: false }
    }

    pub fn file(&self) -> &'d ConfigText<'d> {
        self.file
    }

    pub fn node(&self) -> &'d DeValue<'d> {
        self.node
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn line(&self) -> usize {
        self.file.line(self.span.start)
    }

    /// The same value, never to be shown.
    #[must_use]
    pub fn secret(&self) -> Self {
        Self { secret: true, ..self.clone() }
    }

    /// The same value at another position.
    pub(crate) fn spanning(&self, span: Range<usize>) -> Self {
        Self { span, ..self.clone() }
    }

    /// The same position under another dotted path.
    #[must_use]
    pub fn keyed(&self, key: String) -> Self {
        Self { key, ..self.clone() }
    }

    /// Another node in the place of this value: a default, which is not in the file.
    pub(crate) fn replaced<'s>(&self, key: &str, node: &'s DeValue<'s>) -> Value<'s>
    where
        'd: 's,
    {
        let key = join(&self.key, key);
        Value { file: self.file, node, span: self.span.clone(), key, secret: self.secret }
    }

    /// Notes that this value names a secret.
    pub(crate) fn names_secret(&self, secret: &SecretRef) {
        let mut resources = self.file.resources.borrow_mut();
        resources.secrets.push((self.key.clone(), secret.clone()));
    }

    /// Notes that this value names a file of certificates.
    pub(crate) fn names_certificates(&self, path: &FilePath) {
        let mut resources = self.file.resources.borrow_mut();
        resources.certificates.push((self.key.clone(), path.to_owned()));
    }

    /// Reads something without reporting its problems or noting its secrets.
    pub fn quietly<T>(&self, read: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        let (problems, resources) = (&self.file.problems, &self.file.resources);
        let before = (problems.borrow().len(), resources.borrow().clone());
        let value = read(self);
        problems.borrow_mut().truncate(before.0);
        resources.replace(before.1);
        value
    }

    /// Reports a problem with this value.
    pub fn problem(&self, message: impl Into<String>, hint: impl Into<String>) {
        let value = self.as_written();
        self.file.report(Problem { value, ..self.problem_here(message.into(), hint.into()) });
    }

    /// Reports a problem without showing the value: something is missing below it, or its name is wrong.
    pub fn problem_unshown(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.file.report(self.problem_here(message.into(), hint.into()));
    }

    fn problem_here(&self, message: String, hint: String) -> Problem {
        // The root has no line, and neither has what is missing from it.
        let line = (self.span != (0..0)).then(|| self.line());
        let hint = (!hint.is_empty()).then_some(hint);
        Problem { line, key: self.key.clone(), value: None, message, hint }
    }

    /// The first line of the value's text; `None` for tables under a header.
    fn as_written(&self) -> Option<String> {
        /// Enough to recognise a value by.
        const SHOWN: usize = 60;
        let text = self.file.text.get(self.span.clone())?;
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

    pub fn wrong_type<T>(&self, expected: &str, hint: &str) -> Option<T> {
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

    /// A text of a certain kind, which the messages name.
    pub fn text_like(&self, expected: &str, hint: &str) -> Option<&'d str> {
        match self.node {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(expected, hint),
        }
    }

    /// One of several words.
    pub fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names = || choices.iter().map(|(name, _)| *name);
        let quoted: Vec<String> = names().map(|name| format!("\"{name}\"")).collect();
        let written = self.text_like("text", &format!("Write {}.", quoted.join(" or ")))?;
        let chosen = choices.iter().find(|(name, _)| *name == written);
        if chosen.is_none() {
            let hint = meant(written, &names().collect::<Vec<_>>(), "value");
            self.problem("unknown value", hint);
        }
        chosen.map(|(_, choice)| choice.clone())
    }

    pub fn list(&self) -> Option<Vec<Value<'d>>> {
        let DeValue::Array(items) = self.node else {
            let hint = if self.node.is_table() && self.key.ends_with(".routes") {
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
            ..self.clone()
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The entries of a table whose keys are names that the user chose, in the order of the file.
    pub fn named(&self, expected: &str) -> Option<Vec<(&'d str, Value<'d>)>> {
        let DeValue::Table(table) = self.node else { return self.wrong_type(expected, "") };
        Some(
            sorted(table).map(|(name, item)| (&**name.get_ref(), self.below(name, item))).collect(),
        )
    }

    pub(crate) fn below(
        &self,
        name: &'d Spanned<DeString<'d>>,
        item: &'d Spanned<DeValue<'d>>,
    ) -> Value<'d> {
        // The span of an array may be empty or be that of its first header; the key's span is reliable.
        let span = if item.span().is_empty() { name.span() } else { item.span() };
        let key = join(&self.key, &bare_or_quoted(name.get_ref()));
        Value { node: item.get_ref(), span, key, ..self.clone() }
    }

    /// The value of a key of this table; `None` if this is no table, or the key is not written.
    pub fn at(&self, key: &str) -> Option<Value<'d>> {
        let DeValue::Table(entries) = self.node else { return None };
        entries.get_key_value(key).map(|(name, item)| self.below(name, item))
    }

    pub fn table(&self, expected: &str, hint: &str) -> Option<Table<'d>> {
        match self.node {
            DeValue::Table(entries) => Some(Table::new(self.clone(), entries)),
            _ => self.wrong_type(expected, hint),
        }
    }
}

/// The dotted path of a name below a parent, which may be empty.
pub fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// A key as it has to be written in the file.
fn bare_or_quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

/// In the order of the file.
pub(crate) fn sorted<'d>(
    table: &'d DeTable<'d>,
) -> impl Iterator<Item = (&'d Spanned<DeString<'d>>, &'d Spanned<DeValue<'d>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries.into_iter()
}
