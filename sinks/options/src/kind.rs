//! Kinds of values: how a value is read, what it may be, and what two of them differ in.

use crate::form::{Form, TableForm};
use crate::table::Table;
use crate::value::{Value, join};

/// A kind of value.
pub trait Kind {
    type Output: PartialEq;

    /// The value; `None` after a problem was reported.
    fn read(&self, value: &Value<'_>) -> Option<Self::Output>;

    fn form(&self) -> Form;

    /// The dotted paths below this value in which two values differ. An empty path is the value itself.
    fn differences(&self, one: &Self::Output, other: &Self::Output) -> Vec<String> {
        if one == other { Vec::new() } else { vec![String::new()] }
    }

    /// The same kind with a further condition, which reports its problem and returns whether it holds.
    fn check<F>(self, check: F) -> Check<Self, F>
    where
        Self: Sized,
        F: Fn(&Value<'_>, &Self::Output) -> bool,
    {
        Check { kind: self, check }
    }
}

/// A table of options, from [`crate::options!`] or [`crate::variants!`].
pub trait Options: PartialEq + Sized {
    /// Reads the options of a table. Unknown keys are reported by the caller, with [`Table::finish`].
    fn read(table: &Table<'_>) -> Option<Self>;

    fn form() -> TableForm;

    /// The dotted paths of the options that differ.
    fn differences(&self, other: &Self) -> Vec<String>;
}

/// A kind of single values; [`kind`] makes it.
pub struct Custom<F> {
    form: Form,
    read: F,
}

/// A kind of single values.
pub fn kind<T: PartialEq, F: Fn(&Value<'_>) -> Option<T>>(form: Form, read: F) -> Custom<F> {
    Custom { form, read }
}

impl<T: PartialEq, F: Fn(&Value<'_>) -> Option<T>> Kind for Custom<F> {
    type Output = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        (self.read)(value)
    }

    fn form(&self) -> Form {
        self.form.clone()
    }
}

/// A kind with a further condition.
pub struct Check<K, F> {
    kind: K,
    check: F,
}

impl<K: Kind, F: Fn(&Value<'_>, &K::Output) -> bool> Kind for Check<K, F> {
    type Output = K::Output;

    fn read(&self, value: &Value<'_>) -> Option<K::Output> {
        self.kind.read(value).filter(|output| (self.check)(value, output))
    }

    fn form(&self) -> Form {
        self.kind.form()
    }

    fn differences(&self, one: &K::Output, other: &K::Output) -> Vec<String> {
        self.kind.differences(one, other)
    }
}

/// What may be left out, and then is `None`.
pub struct Optional<K>(pub K);

impl<K: Kind> Kind for Optional<K> {
    type Output = Option<K::Output>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Output> {
        self.0.read(value).map(Some)
    }

    fn form(&self) -> Form {
        self.0.form()
    }

    fn differences(&self, one: &Self::Output, other: &Self::Output) -> Vec<String> {
        match (one, other) {
            (Some(one), Some(other)) => self.0.differences(one, other),
            (None, None) => Vec::new(),
            _ => vec![String::new()],
        }
    }
}

/// A list of values of one kind; every item is read, so that all problems are found.
pub struct List<K> {
    kind: K,
    least: usize,
    hint: &'static str,
}

pub fn list<K: Kind>(kind: K) -> List<K> {
    List { kind, least: 0, hint: "" }
}

/// A list of at least one value; the hint is for an empty one.
pub fn some<K: Kind>(kind: K, hint: &'static str) -> List<K> {
    List { kind, least: 1, hint }
}

impl<K: Kind> Kind for List<K> {
    type Output = Vec<K::Output>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Output> {
        let items = value.list()?;
        if items.len() < self.least {
            value.problem("the list is empty", self.hint);
            return None;
        }
        let items: Vec<_> = items.iter().map(|item| self.kind.read(item)).collect();
        items.into_iter().collect()
    }

    fn form(&self) -> Form {
        Form::List { of: Box::new(self.kind.form()), least: self.least }
    }
}

/// A table whose keys are names that the user chooses, in the order of the file.
pub struct Map<K> {
    words: &'static str,
    kind: K,
    is_name: fn(&Value<'_>, &str) -> bool,
}

/// `is_name` reports a name that cannot be used.
pub fn map<K: Kind>(words: &'static str, kind: K, is_name: fn(&Value<'_>, &str) -> bool) -> Map<K> {
    Map { words, kind, is_name }
}

impl<K: Kind> Kind for Map<K> {
    type Output = Vec<(String, K::Output)>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Output> {
        let entry = |(name, value): (&str, Value<'_>)| {
            (self.is_name)(&value, name).then_some(())?;
            Some((name.to_owned(), self.kind.read(&value)?))
        };
        let entries: Vec<_> = value.named(self.words)?.into_iter().map(entry).collect();
        entries.into_iter().collect()
    }

    fn form(&self) -> Form {
        Form::map(self.words, self.kind.form())
    }
}

/// A table of options.
pub struct TableKind<T> {
    expected: &'static str,
    hint: &'static str,
    /// True if a value that is no table may be a secret.
    is_secret: bool,
    make: fn(&Table<'_>) -> Option<T>,
}

pub fn table<T: Options>() -> TableKind<T> {
    table_like("a table", "")
}

/// A table that messages name as `expected`; the hint is for a value that is no table.
pub fn table_like<T: Options>(expected: &'static str, hint: &'static str) -> TableKind<T> {
    TableKind { expected, hint, is_secret: false, make: T::read }
}

/// A table that holds a secret: a value that is no table may be the secret itself, and is not shown.
pub fn secret_table<T: Options>(hint: &'static str) -> TableKind<T> {
    TableKind { is_secret: true, ..table_like("a table", hint) }
}

impl<T: Options> Kind for TableKind<T> {
    type Output = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        let is_hidden = self.is_secret && !value.node().is_table();
        let value = if is_hidden { &value.secret() } else { value };
        let table = value.table(self.expected, self.hint)?;
        let read = (self.make)(&table);
        table.finish();
        read
    }

    fn form(&self) -> Form {
        Form::Table(T::form())
    }

    fn differences(&self, one: &T, other: &T) -> Vec<String> {
        one.differences(other)
    }
}

/// The kind, of which the output is a type that is written down.
pub fn typed<T, K: Kind<Output = T>>(kind: K) -> K {
    kind
}

/// Paths below a name; an empty one is the name itself.
pub fn below(name: &str, paths: Vec<String>) -> impl Iterator<Item = String> {
    let place = move |path: String| match path.as_str() {
        "" => name.to_owned(),
        path => join(name, path),
    };
    paths.into_iter().map(place)
}
