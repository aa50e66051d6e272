//! The members of a document that cannot be parsed.

use std::borrow::Cow;

use serde_json::Value;

use super::{Document, Member, Name};

impl Document {
    fn unparsed(&self) -> impl Iterator<Item = Member> {
        self.members.iter().filter(|member| !member.is_whole()).copied()
    }

    /// True if there is a member that cannot be parsed.
    pub fn has_unparsed(&self) -> bool {
        self.unparsed().next().is_some()
    }

    /// Why the first member that cannot be parsed cannot; `None` if every member can.
    pub fn unparsed_cause(&self) -> Option<String> {
        let member = self.unparsed().next()?;
        let name = serde_json::from_slice::<String>(self.name_text(member)).err();
        let error = name.or_else(|| serde_json::from_slice::<Value>(self.value_of(member)).err());
        Some(error.map(|error| error.to_string()).unwrap_or_default())
    }

    /// True if there is a member of this name that cannot be parsed.
    pub fn is_unparsed(&self, name: &str) -> bool {
        self.unparsed().any(|member| self.is_named(member, name))
    }

    /// True if there is a member whose name cannot be parsed.
    pub fn has_unparsed_name(&self) -> bool {
        self.members.iter().any(|member| member.name == Name::Unparsed)
    }

    /// True if the text of the document is JSON, though perhaps such that it cannot be parsed.
    pub fn is_json(&self) -> bool {
        self.members.iter().all(|member| member.is_json)
    }

    /// The text of a document that cannot be parsed as a whole. `None` if every member can be parsed.
    pub fn unparsed_text(&self) -> Option<Vec<u8>> {
        self.has_unparsed().then(|| self.text())
    }

    /// Names and JSON texts of the members that cannot be parsed.
    pub fn unparsed_members(&self) -> impl Iterator<Item = (Cow<'_, [u8]>, &[u8])> {
        self.unparsed().map(|member| {
            let name = match self.name_of(member) {
                Some(Cow::Borrowed(name)) => Cow::Borrowed(name.as_bytes()),
                Some(Cow::Owned(name)) => Cow::Owned(name.into_bytes()),
                None => Cow::Borrowed(self.name_text(member)),
            };
            (name, self.value_of(member))
        })
    }
}
