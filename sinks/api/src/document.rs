//! Documents.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json_text::members;

/// The fields of an object.
pub type Fields = serde_json::Map<String, Value>;

/// A JSON object as the service holds it.
///
/// Nearly always fields alone. The service also stores values that no JSON parser of Rust accepts: half
/// of a surrogate pair, a number beyond a double, more than 127 levels. A member with such a name or value
/// is kept as text and written as it was read; it is not among the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    fields: Fields,
    /// `None` if every member was parsed.
    unparsed: Option<Arc<Unparsed>>,
}

/// The members of a document that cannot be parsed.
#[derive(Clone, Debug, PartialEq)]
struct Unparsed {
    members: Vec<Member>,
    /// False if a text is no JSON at all: a control character in a string, or bytes that are not UTF-8.
    is_json: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Member {
    /// The name; `None` if it is the name that cannot be parsed.
    name: Option<String>,
    /// The JSON text of the name, with its quotes.
    name_text: Vec<u8>,
    value_text: Vec<u8>,
    /// Why it cannot be parsed.
    cause: String,
}

impl Document {
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the text of an object. Members that cannot be parsed are kept as text.
    ///
    /// # Errors
    ///
    /// The text is not a whole object.
    pub fn parse(text: &[u8]) -> serde_json::Result<Self> {
        match serde_json::from_slice::<Fields>(text) {
            Ok(fields) => Ok(fields.into()),
            Err(error) => members(text).map(Self::of_members).ok_or(error),
        }
    }

    /// Of members with one name, the last counts.
    fn of_members(members: Vec<(&[u8], &[u8])>) -> Self {
        let mut fields = Fields::new();
        let mut unparsed: Vec<Member> = Vec::new();
        let mut names = HashSet::new();
        for (name_text, value_text) in members {
            let name = serde_json::from_slice::<String>(name_text);
            let value = serde_json::from_slice::<Value>(value_text);
            // Only for names that are repeated: there may be very many.
            if let Ok(name) = &name
                && !names.insert(name.clone())
            {
                fields.remove(name);
                unparsed.retain(|member| member.name.as_ref() != Some(name));
            }
            match (name, value) {
                (Ok(name), Ok(value)) => drop(fields.insert(name, value)),
                (name, value) => {
                    let error = name.as_ref().err().or(value.as_ref().err());
                    let cause = error.map(ToString::to_string).unwrap_or_default();
                    let (name_text, value_text) = (name_text.to_vec(), value_text.to_vec());
                    unparsed.push(Member { name: name.ok(), name_text, value_text, cause });
                }
            }
        }
        let mut document = Self { fields, unparsed: None };
        document.set_unparsed(unparsed);
        document
    }

    fn set_unparsed(&mut self, members: Vec<Member>) {
        let is_json = members.iter().all(|one| is_json(&one.name_text) && is_json(&one.value_text));
        let unparsed = Unparsed { members, is_json };
        self.unparsed = (!unparsed.members.is_empty()).then(|| Arc::new(unparsed));
    }

    /// The members that were parsed.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Takes the members that cannot be parsed from another document.
    #[must_use]
    pub fn with_unparsed_of(self, other: &Self) -> Self {
        Self { unparsed: other.unparsed.clone(), ..self }
    }

    /// Why the first member that was not parsed could not be; `None` if every member was parsed.
    pub fn unparsed_cause(&self) -> Option<&str> {
        self.unparsed.as_ref()?.members.first().map(|member| member.cause.as_str())
    }

    /// True if there is a member of this name that cannot be parsed.
    pub fn is_unparsed(&self, name: &str) -> bool {
        let members = self.unparsed.iter().flat_map(|unparsed| &unparsed.members);
        members.into_iter().any(|member| member.name.as_deref() == Some(name))
    }

    /// True if there is a member whose name cannot be parsed.
    pub fn has_unparsed_name(&self) -> bool {
        let mut members = self.unparsed.iter().flat_map(|unparsed| &unparsed.members);
        members.any(|member| member.name.is_none())
    }

    /// Keeps the members that cannot be parsed if `keep` returns true for their name: `None` for a name
    /// that cannot be parsed.
    pub fn retain_unparsed(&mut self, keep: impl Fn(Option<&str>) -> bool) {
        if let Some(unparsed) = self.unparsed.take() {
            let mut members = unparsed.members.clone();
            members.retain(|member| keep(member.name.as_deref()));
            self.set_unparsed(members);
        }
    }

    /// True if the text of the document is JSON, though perhaps such that it cannot be parsed.
    pub fn is_json(&self) -> bool {
        self.unparsed.as_ref().is_none_or(|unparsed| unparsed.is_json)
    }

    /// The text of a document that cannot be parsed as a whole: the fields, then the other members as
    /// they were read. `None` if every member was parsed.
    pub fn unparsed_text(&self) -> Option<Vec<u8>> {
        let unparsed = self.unparsed.as_ref()?;
        let mut text = serde_json::to_vec(&self.fields).unwrap_or_default();
        // The closing brace.
        text.pop();
        for Member { name_text, value_text, .. } in &unparsed.members {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend([name_text.as_slice(), b":", value_text].concat());
        }
        text.push(b'}');
        Some(text)
    }

    /// Bytes of the members that cannot be parsed, as text.
    pub(crate) fn unparsed_bytes(&self) -> usize {
        let members = self.unparsed.iter().flat_map(|unparsed| &unparsed.members);
        members.map(|one| one.name_text.len() + one.value_text.len() + 2).sum()
    }

    /// Names and JSON texts of the members that cannot be parsed.
    pub fn unparsed_members(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let members = self.unparsed.iter().flat_map(|unparsed| &unparsed.members);
        members.map(|one| {
            let name = one.name.as_ref().map_or(one.name_text.as_slice(), String::as_bytes);
            (name, one.value_text.as_slice())
        })
    }
}

/// True if a text is JSON by its grammar, which also holds for numbers of any size, any depth and halves
/// of surrogate pairs.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok()
}

impl From<Fields> for Document {
    fn from(fields: Fields) -> Self {
        Self { fields, unparsed: None }
    }
}

impl From<Document> for Fields {
    /// Without the members that cannot be parsed.
    fn from(document: Document) -> Self {
        document.fields
    }
}

impl FromIterator<(String, Value)> for Document {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        Fields::from_iter(fields).into()
    }
}

/// The fields.
impl Deref for Document {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for Document {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
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
        match self.unparsed_text() {
            None => self.fields.serialize(serializer),
            Some(text) => {
                let text = String::from_utf8(text).map_err(S::Error::custom)?;
                RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests;
