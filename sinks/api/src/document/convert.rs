//! Documents from and to other types.

use std::fmt;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Document, Fields};

impl From<Fields> for Document {
    fn from(fields: Fields) -> Self {
        Self::from_iter(fields)
    }
}

impl From<Document> for Fields {
    /// Without the members that cannot be parsed.
    fn from(document: Document) -> Self {
        document.fields()
    }
}

impl FromIterator<(String, Value)> for Document {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        let mut document = Self::new();
        for (name, value) in fields {
            let write = |text: &mut Vec<u8>| drop(serde_json::to_writer(text, &value));
            document.append_written(&name, write);
        }
        document.leave_out_repeated();
        document
    }
}

/// By values: neither the order of members nor the notation of what can be parsed counts.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        let unparsed = |document: &Self| {
            let members = document.unparsed_members();
            let mut all: Vec<_> =
                members.map(|(name, text)| (name.into_owned(), text.to_vec())).collect();
            all.sort();
            all
        };
        self.members.len() == other.members.len()
            && (self.text() == other.text()
                || (self.fields() == other.fields() && unparsed(self) == unparsed(other)))
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl<'de> Deserialize<'de> for Document {
    /// Fails if a member cannot be parsed: what is kept as text needs the text, see [`Document::parse`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fields::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Document {
    /// Fails if the text of the document is not JSON.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        let text: &RawValue = serde_json::from_slice(&text).map_err(S::Error::custom)?;
        text.serialize(serializer)
    }
}
