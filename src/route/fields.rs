//! Changes fields: jq, include, exclude, rename, set and mask, in this order.

use std::cmp::Reverse;
use std::fmt::Write as _;

use cosmos_bridge_sink::{Document, json_text};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::access::{check_reach, get_mut, put, remove};
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
            remove(&mut document, path);
            if let [name] = path.segments() {
                document.retain_unparsed(|other| other != Some(name));
            }
        }
        self.rename(&mut document)?;
        for (path, value) in &self.set {
            put(&mut document, path, value.clone())?;
        }
        for (path, mask) in &self.mask {
            check_reach(&document, path)?;
            if let Some(value) = get_mut(&mut document, path) {
                *value = mask.of(value);
            }
        }
        Ok(Some(document))
    }

    /// All renames are of the document before them, so that their order means nothing: fields can change
    /// places.
    fn rename(&self, document: &mut Document) -> Result<(), String> {
        let taken = self.rename.iter().filter_map(|(from, to)| {
            let value = remove(document, from)?;
            Some((to, value))
        });
        let mut taken: Vec<_> = taken.collect();
        taken.sort_by_key(|(to, _)| depth(to));
        taken.into_iter().try_for_each(|(to, value)| put(document, to, value))
    }

    fn included(&self, source: &Document) -> Result<Document, String> {
        if self.include.is_empty() {
            return Ok(source.clone());
        }
        let mut document = Document::new();
        if let Some(id) = source.get("id") {
            document.insert("id".to_owned(), id.clone());
        }
        for path in &self.include {
            if let Some(value) = path.find(source) {
                put(&mut document, path, value.clone())?;
            }
        }
        let is_included = |name: Option<&str>| {
            self.include.iter().any(|path| path.segments().first().map(String::as_str) == name)
        };
        document = document.with_unparsed_of(source);
        document.retain_unparsed(|name| name.is_some() && is_included(name));
        Ok(document)
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
