//! A table with known keys.

use std::cell::RefCell;

use toml::de::DeTable;

use super::problem::{closest, meant};
use super::reader::{Value, sorted};

/// Reads keys by name; [`Table::finish`] reports the others.
pub(super) struct Table<'d> {
    value: Value<'d>,
    entries: &'d DeTable<'d>,
    asked: RefCell<Vec<&'static str>>,
    missing: RefCell<Vec<(&'static str, String)>>,
}

impl<'d> Table<'d> {
    pub(super) fn new(value: Value<'d>, entries: &'d DeTable<'d>) -> Self {
        Self { value, entries, asked: RefCell::default(), missing: RefCell::default() }
    }

    pub(super) fn value(&self) -> &Value<'d> {
        &self.value
    }

    /// The value of a key, if it is written.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'d>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let shape = match self.value.shape.as_str() {
            "" => key.to_owned(),
            parent => format!("{parent}.{key}"),
        };
        let mut options = self.value.page.options.borrow_mut();
        let found = self.entries.get_key_value(key);
        if found.is_some() {
            options.used.insert(shape.clone());
        }
        options.known.insert(shape);
        found.map(|(name, item)| self.value.below(name, item, key))
    }

    /// A key that must be written; the hint says what to write.
    pub(super) fn required(&self, key: &'static str, hint: &str) -> Option<Value<'d>> {
        let value = self.get(key);
        if value.is_none() {
            self.missing.borrow_mut().push((key, hint.to_owned()));
        }
        value
    }

    /// What is read from a key, or the default when it is not written. `None` after a problem.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => read(&value),
            None => Some(default),
        }
    }

    /// What is read from a key, `Some(None)` when it is not written. `None` after a problem.
    #[expect(clippy::option_option, reason = "the outer one is whether there was a problem")]
    pub(super) fn maybe<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<Option<T>> {
        self.or(key, None, |value| read(value).map(Some))
    }

    /// Whether a key is written that nobody asked for yet.
    pub(super) fn has_unknown(&self) -> bool {
        let asked = self.asked.borrow();
        self.entries.keys().any(|name| !asked.contains(&&**name.get_ref()))
    }

    /// Reports unknown keys, then missing ones, unless an unknown one was probably meant for it.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        let mut mistyped = Vec::new();
        for (name, item) in sorted(self.entries) {
            let written: &str = name.get_ref();
            if asked.contains(&written) {
                continue;
            }
            mistyped.extend(closest(written, &asked));
            let value = self.value.below(name, item, written);
            let value = value.spanning(name.span());
            let hint = meant(written, &asked, "key");
            value.problem_unshown("there is no such key", hint);
        }
        for (key, hint) in self.missing.into_inner() {
            if !mistyped.contains(&key) {
                let below = match self.value.key.as_str() {
                    "" => key.to_owned(),
                    parent => format!("{parent}.{key}"),
                };
                self.value.keyed(below).problem_unshown("this is missing", hint);
            }
        }
    }
}
