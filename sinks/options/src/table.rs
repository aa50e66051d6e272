//! A table with known keys.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::kind::{Kind, Options};
use crate::problem::{Problems, closest, meant};
use crate::value::{ConfigText, Value, join, sorted};

/// Reads keys by name; [`Table::finish`] reports the others.
pub struct Table<'d> {
    value: Value<'d>,
    entries: &'d DeTable<'d>,
    known: RefCell<Vec<&'static str>>,
    missing: RefCell<Vec<(&'static str, String)>>,
    /// True if the known keys depend on an option that could not be read.
    is_undecided: Cell<bool>,
}

impl<'d> Table<'d> {
    pub(crate) fn new(value: Value<'d>, entries: &'d DeTable<'d>) -> Self {
        let (known, missing) = (RefCell::default(), RefCell::default());
        Self { value, entries, known, missing, is_undecided: Cell::new(false) }
    }

    pub fn value(&self) -> &Value<'d> {
        &self.value
    }

    /// The value of a key, if it is written.
    pub fn get(&self, key: &'static str) -> Option<Value<'d>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.entries.get_key_value(key).map(|(name, item)| self.value.below(name, item))
    }

    /// The value of a key that must be written. `<table>` in the hint stands for the table's path.
    pub fn required(&self, key: &'static str, hint: &str) -> Option<Value<'d>> {
        let value = self.get(key);
        if value.is_none() {
            let hint = hint.replace("<table>", self.value.key());
            self.missing.borrow_mut().push((key, hint));
        }
        value
    }

    /// What is read from a key; `Some(None)` if it is not written, `None` after a problem.
    pub fn optional<K: Kind<Output = Option<T>>, T>(
        &self,
        key: &'static str,
        kind: &K,
    ) -> Option<Option<T>> {
        match self.get(key) {
            Some(value) => kind.read(&value),
            None => Some(None),
        }
    }

    /// What is read from a key, or from the default's text if the key is not written.
    pub fn or_default<K: Kind>(
        &self,
        key: &'static str,
        default: &str,
        kind: &K,
    ) -> Option<K::Output> {
        if let Some(value) = self.get(key) {
            return kind.read(&value);
        }
        let text = format!("default = {default}");
        let table = DeTable::parse(&text).ok()?;
        let (_, node) = table.get_ref().get_key_value("default")?;
        kind.read(&self.value.replaced(key, node.get_ref()))
    }

    /// Reports a missing key now, and no unknown keys: which keys are known depends on it.
    pub fn undecided(&self, key: &str, hint: &str) {
        self.leave_undecided();
        let value = &self.value;
        value.keyed(join(value.key(), key)).problem_unshown("this is missing", hint);
    }

    /// Reports no unknown and no missing keys: which ones are known depends on an option that is wrong.
    pub fn leave_undecided(&self) {
        self.is_undecided.set(true);
    }

    /// True if a key is written that no option has read yet.
    pub fn has_unknown(&self) -> bool {
        let known = self.known.borrow();
        self.entries.keys().any(|name| !known.contains(&&**name.get_ref()))
    }

    /// Reports unknown keys, then missing ones unless a similar unknown key was probably meant.
    pub fn finish(self) {
        if self.is_undecided.get() {
            return;
        }
        let known = self.known.into_inner();
        let mut mistyped = Vec::new();
        for (name, item) in sorted(self.entries) {
            let written: &str = name.get_ref();
            if known.contains(&written) {
                continue;
            }
            mistyped.extend(closest(written, &known));
            let value = self.value.below(name, item).spanning(name.span());
            value.problem_unshown("unknown key", meant(written, &known, "key"));
        }
        for (key, hint) in self.missing.into_inner() {
            if !mistyped.contains(&key) {
                let below = join(self.value.key(), key);
                self.value.keyed(below).problem_unshown("this is missing", hint);
            }
        }
    }
}

/// Options as a configuration file writes them, outside of one: for tests and benchmarks.
///
/// # Errors
///
/// The text has problems.
pub fn from_toml<T: Options>(text: &str) -> Result<T, Problems> {
    let name = "options";
    let table = DeTable::parse(text)
        .map_err(|error| Problems::of_file(name, error.message().to_owned(), "Write TOML."))?;
    let node = DeValue::Table(table.into_inner());
    let file = ConfigText::new(text, Path::new("."), BTreeMap::new());
    let read = crate::kind::table().read(&Value::root(&file, &node));
    let problems = file.into_problems();
    match read {
        Some(options) if problems.is_empty() => Ok(options),
        _ => Err(Problems { name: name.to_owned(), problems }),
    }
}
