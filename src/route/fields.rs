//! Changes fields: jq, include, exclude, rename, set and mask, in this order.

use std::cmp::Reverse;
use std::fmt::Write as _;

use cosmos_bridge_sink::{Document, Fields as Tree, json_text};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::access::{
    check_parsed, check_reach, put, put_in, put_text, remove, remove_text, replace,
};
use super::jq::Jq;
use crate::config::{self, Path, SecretRef};

/// The field changes of a route.
pub(super) struct Fields {
    jq: Option<Jq>,
    include: Vec<Path>,
    exclude: Vec<Path>,
    /// The deepest fields first: what is inside a field that is renamed too is taken out of it before, and
    /// put into it after.
    rename: Vec<(Path, Path)>,
    set: Vec<(Path, Value)>,
    mask: Vec<(Path, Mask)>,
}

/// Why field changes cannot be compiled.
pub(super) enum FieldsProblem {
    Jq(String),
    Salt(Path),
}

/// [`config::Mask`] with its salt read.
enum Mask {
    Text(String),
    Sha256 { salt: Vec<u8> },
}

impl Fields {
    /// `None` if the route changes no field.
    pub(super) fn compile(
        route: &config::Route,
        salt_of: impl Fn(&SecretRef) -> Option<Vec<u8>>,
    ) -> Result<Option<Self>, FieldsProblem> {
        let mask = |(path, mask): &(Path, config::Mask)| {
            let mask = match mask {
                config::Mask::Text(text) => Mask::Text(text.clone()),
                config::Mask::Sha256 { salt } => {
                    let salt = salt_of(salt).ok_or_else(|| FieldsProblem::Salt(path.clone()))?;
                    Mask::Sha256 { salt }
                }
            };
            Ok((path.clone(), mask))
        };
        let mut rename = route.rename.clone();
        rename.sort_by_key(|(from, _)| Reverse(depth(from)));
        let fields = Self {
            jq: route.jq.as_deref().map(Jq::compile).transpose().map_err(FieldsProblem::Jq)?,
            include: route.include.clone(),
            exclude: route.exclude.clone(),
            rename,
            set: route.set.clone(),
            mask: route.mask.iter().map(mask).collect::<Result<_, _>>()?,
        };
        Ok((!fields.is_empty()).then_some(fields))
    }

    fn is_empty(&self) -> bool {
        self.jq.is_none()
            && self.include.is_empty()
            && self.exclude.is_empty()
            && self.rename.is_empty()
            && self.set.is_empty()
            && self.mask.is_empty()
    }

    /// The changed document; `None` if the jq expression has no output.
    pub(super) fn apply(&self, source: &Document) -> Result<Option<Document>, String> {
        let mut document = match &self.jq {
            None => self.included(source)?,
            Some(jq) => match jq.transform(source)? {
                None => return Ok(None),
                Some(document) if self.include.is_empty() => document,
                Some(document) => self.included(&document)?,
            },
        };
        for path in &self.exclude {
            check_reach(&document, path)?;
            remove(&mut document, path)?;
        }
        self.rename(&mut document)?;
        for (path, value) in &self.set {
            put(&mut document, path, value.clone())?;
        }
        for (path, mask) in &self.mask {
            check_reach(&document, path)?;
            replace(&mut document, path, |value| mask.of(value))?;
        }
        Ok(Some(document))
    }

    /// All renames are of the document before them, so that their order means nothing: fields can change
    /// places.
    fn rename(&self, document: &mut Document) -> Result<(), String> {
        let mut taken = Vec::new();
        for (from, to) in &self.rename {
            if let Some(value) = remove_text(document, from)? {
                taken.push((to, value));
            }
        }
        taken.sort_by_key(|(to, _)| depth(to));
        taken.into_iter().try_for_each(|(to, value)| put_text(document, to, &value))
    }

    fn included(&self, source: &Document) -> Result<Document, String> {
        if self.include.is_empty() {
            return Ok(source.clone());
        }
        let mut document = source.clone();
        document.retain(|name| name.is_some_and(|name| name == "id" || self.starts_with(name)));
        for path in &self.include {
            let Some(name) = path.segments().first() else { continue };
            if name != "id" && !self.include.iter().any(|path| path.segments() == [name.as_str()]) {
                self.keep_parts(&mut document, name)?;
            }
        }
        Ok(document)
    }

    /// True if an included field is this one or below it.
    fn starts_with(&self, name: &str) -> bool {
        self.include.iter().any(|path| path.segments().first().is_some_and(|first| first == name))
    }

    /// Leaves out what is not included below a field.
    fn keep_parts(&self, document: &mut Document, name: &str) -> Result<(), String> {
        let mut kept = Tree::new();
        for path in self
            .include
            .iter()
            .filter(|path| path.segments().first().is_some_and(|first| first == name))
        {
            check_parsed(document, path)?;
            if let Some(value) = document.find(path) {
                put_in(&mut kept, path, value)?;
            }
        }
        match kept.remove(name) {
            Some(value) => document.insert(name, value),
            None => drop(document.remove(name)),
        }
        Ok(())
    }
}

impl Mask {
    fn of(&self, value: &Value) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Sha256 { salt } => {
                let mut hash = Sha256::new();
                hash.update(salt);
                hash.update(json_text(value));
                Value::String(hex(&hash.finalize()))
            }
        }
    }
}

fn depth(path: &Path) -> usize {
    path.segments().len()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}
