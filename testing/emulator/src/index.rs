//! Which documents have a text in a property, for the properties that queries compare.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::document::{Address, Version};
use crate::write::parse;

type Texts = HashMap<Box<str>, BTreeSet<Arc<Address>>>;

/// The indexes of one container, each made when a query first needs it.
#[derive(Debug, Default)]
pub struct Indexes(HashMap<Vec<String>, Texts>);

impl Indexes {
    /// Adds a new version of a document.
    pub fn add(&mut self, address: &Arc<Address>, version: &Version) {
        if self.0.is_empty() {
            return;
        }
        let document = parse(&version.text);
        for (path, texts) in &mut self.0 {
            insert(texts, path, address, &document);
        }
    }

    /// The documents that have, or once had, one of these texts at a path.
    pub fn candidates(
        &mut self,
        documents: &BTreeMap<Arc<Address>, Arc<Version>>,
        path: &[String],
        wanted: &[&str],
    ) -> BTreeSet<Arc<Address>> {
        let index = self.0.entry(path.to_vec()).or_insert_with(|| {
            let mut texts = Texts::new();
            for (address, version) in documents {
                insert(&mut texts, path, address, &parse(&version.text));
            }
            texts
        });
        wanted.iter().filter_map(|text| index.get(*text)).flatten().cloned().collect()
    }
}

fn insert(texts: &mut Texts, path: &[String], address: &Arc<Address>, document: &Value) {
    if let Some(text) = at(document, path).and_then(Value::as_str) {
        texts.entry(text.into()).or_default().insert(Arc::clone(address));
    }
}

/// The value at a path of property names.
pub fn at<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, name| value.as_object()?.get(name))
}
