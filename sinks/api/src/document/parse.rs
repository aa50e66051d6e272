//! Finds the members of a document.

use std::collections::HashSet;

use serde::de;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Document, Fields, Member, Name};
use crate::json_scan::scan;
use crate::json_text::members;

impl Document {
    /// Takes the text of an object. Of members with one name, the last counts.
    ///
    /// # Errors
    ///
    /// The text is not a whole object.
    pub fn parse(text: &[u8]) -> serde_json::Result<Self> {
        if u32::try_from(text.len()).is_err() {
            return Err(de::Error::custom("the document has more than 4 GiB"));
        }
        let mut document = Self { text: Vec::new(), members: Vec::new() };
        let mut has_doubts = false;
        let is_scanned = scan(text, |found| {
            has_doubts |= found.is_doubtful;
            // Such a name or value is looked at below.
            let is_parsed = !found.is_doubtful;
            document.members.push(Member { is_parsed, ..Member::of(&found) });
        });
        if is_scanned.is_none() {
            return match members(text) {
                Some(members) => Ok(Self::of_members(&members)),
                None => serde_json::from_slice::<Fields>(text).map(Self::from),
            };
        }
        document.text = text.to_vec();
        if has_doubts {
            document.resolve_doubts();
        }
        document.leave_out_repeated();
        Ok(document)
    }

    /// Of members that are not JSON as a whole.
    fn of_members(members: &[(&[u8], &[u8])]) -> Self {
        let mut document = Self::new();
        for (name, value) in members {
            document.append(name, |text| text.extend_from_slice(value));
        }
        for at in 0..document.members.len() {
            let member = document.members[at];
            let (name, value) = (document.name_text(member), document.value_of(member));
            let is_json = is_json(name) && is_json(value);
            document.members[at] = Member { is_json, is_parsed: false, ..member };
        }
        document.resolve_doubts();
        document.leave_out_repeated();
        document
    }

    /// Parses the members that may not be parseable, to know.
    fn resolve_doubts(&mut self) {
        for at in 0..self.members.len() {
            let member = self.members[at];
            if member.is_parsed {
                continue;
            }
            let is_parsed = serde_json::from_slice::<Value>(self.value_of(member)).is_ok();
            let name = match serde_json::from_slice::<String>(self.name_text(member)) {
                Ok(_) => Name::Escaped,
                Err(_) => Name::Unparsed,
            };
            self.members[at] = Member { name, is_parsed, ..member };
        }
    }

    /// Of members with one name, the last counts.
    pub(super) fn leave_out_repeated(&mut self) {
        let is_few = self.members.len() <= 32;
        if is_few && self.members.iter().all(|member| member.name == Name::Plain) {
            let name = |at: usize| self.name_text(self.members[at]);
            let is_repeated = |at: usize| (0..at).any(|before| name(before) == name(at));
            if !(0..self.members.len()).any(is_repeated) {
                return;
            }
        }
        let mut names: HashSet<String> = HashSet::with_capacity(self.members.len());
        let mut members = std::mem::take(&mut self.members);
        members.reverse();
        members.retain(|member| match self.name_of(*member) {
            Some(name) => names.insert(name.into_owned()),
            None => true,
        });
        members.reverse();
        self.members = members;
    }
}

/// True if a text is JSON by its grammar, which also holds for numbers of any size, any depth and halves
/// of surrogate pairs.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok()
}
