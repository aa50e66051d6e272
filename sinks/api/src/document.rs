//! Documents.

use std::borrow::Cow;

use serde_json::Value;

use crate::Path;
use crate::json_scan::{DEPTH_MAX, Found};

mod convert;
mod parse;
mod unparsed;

/// The fields of an object.
pub type Fields = serde_json::Map<String, Value>;

/// A JSON object as the service holds it: its text, and where its members are.
///
/// Most routes read a few members of a document and change none. So a member is parsed when it is asked
/// for, and what is not changed is written as it was read.
///
/// The service also stores values that no JSON parser of Rust accepts: half of a surrogate pair, a number
/// beyond a double, more than 127 levels. A member with such a name or value is a member like the others;
/// it is not among the [`fields`](Self::fields), and [`get`](Self::get) does not return it.
#[derive(Clone, Default)]
pub struct Document {
    /// Ends with the members that were put in, each as name, colon and value.
    text: Vec<u8>,
    /// In the order in which they are written; no two of them have the same name.
    members: Vec<Member>,
}

/// A member, as places in the text.
#[derive(Clone, Copy)]
struct Member {
    start: u32,
    name_end: u32,
    value: u32,
    end: u32,
    name: Name,
    /// False if the value cannot be parsed.
    is_parsed: bool,
    /// False if name or value are no JSON by its grammar: a control character in a string, or bytes that are
    /// not UTF-8.
    is_json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    /// As it is, between quotes.
    Plain,
    Escaped,
    Unparsed,
}

impl Member {
    /// As places in a text of less than 4 GiB.
    fn of(found: &Found) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: place(found.start),
            name_end: place(found.name_end),
            value: place(found.value),
            end: place(found.end),
            name: if found.is_escaped { Name::Escaped } else { Name::Plain },
            is_parsed: true,
            is_json: true,
        }
    }

    fn is_whole(&self) -> bool {
        self.is_parsed && self.name != Name::Unparsed
    }
}

impl Document {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member at the end.
    fn append(&mut self, name: &[u8], write_value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let name_end = self.text.len();
        self.text.push(b':');
        let value = self.text.len();
        write_value(&mut self.text);
        let end = self.text.len();
        let is_escaped = name.contains(&b'\\');
        let found = Found { start, name_end, value, end, is_escaped, is_doubtful: false };
        self.members.push(Member::of(&found));
    }

    /// Adds a member whose value was written here, and may be nested deeper than a parser accepts.
    fn append_written(&mut self, name: &str, write_value: impl FnOnce(&mut Vec<u8>)) {
        self.append(&quoted(name), write_value);
        let Some(member) = self.members.pop() else { return };
        let value = self.value_of(member);
        let opened = value.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
        let is_parsed = opened <= DEPTH_MAX || serde_json::from_slice::<Value>(value).is_ok();
        self.members.push(Member { is_parsed, ..member });
    }

    fn part(&self, from: u32, to: u32) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    fn name_text(&self, member: Member) -> &[u8] {
        self.part(member.start, member.name_end)
    }

    fn value_of(&self, member: Member) -> &[u8] {
        self.part(member.value, member.end)
    }

    /// The name of a member; `None` if it cannot be parsed.
    fn name_of(&self, member: Member) -> Option<Cow<'_, str>> {
        let text = self.name_text(member);
        match member.name {
            Name::Plain => str::from_utf8(text.get(1..text.len() - 1)?).ok().map(Cow::Borrowed),
            Name::Escaped => serde_json::from_slice(text).ok().map(Cow::Owned),
            Name::Unparsed => None,
        }
    }

    fn is_named(&self, member: Member, name: &str) -> bool {
        match member.name {
            Name::Plain => {
                let text = self.name_text(member);
                text.len() == name.len() + 2 && text.get(1..=name.len()) == Some(name.as_bytes())
            }
            Name::Escaped => self.name_of(member).is_some_and(|found| found == name),
            Name::Unparsed => false,
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| self.is_named(*member, name))
    }

    /// The value of a member, parsed.
    pub fn get(&self, name: &str) -> Option<Value> {
        let member = self.members[self.position(name)?];
        if !member.is_parsed {
            return None;
        }
        serde_json::from_slice(self.value_of(member)).ok()
    }

    /// The value at a path, parsed.
    pub fn find(&self, path: &Path) -> Option<Value> {
        let (first, rest) = path.segments().split_first()?;
        let value = self.get(first)?;
        rest.iter().try_fold(value, |value, name| match value {
            Value::Object(mut fields) => fields.remove(name),
            _ => None,
        })
    }

    /// True if there is a member of this name, parseable or not.
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Puts a value in the place of the member of this name, or at the end.
    pub fn insert(&mut self, name: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        // Writing a value to memory cannot fail.
        self.put(name, |text| drop(serde_json::to_writer(text, &value)));
    }

    fn put(&mut self, name: &str, write_value: impl FnOnce(&mut Vec<u8>)) {
        let position = self.position(name);
        self.append_written(name, write_value);
        if let Some(position) = position {
            self.members.swap_remove(position);
        }
    }

    /// Takes the member of this name out; returns its value, parsed.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let value = self.get(name);
        self.members.remove(self.position(name)?);
        value
    }

    /// Takes the member of this name out; returns the text of its value if it can be parsed.
    pub fn remove_text(&mut self, name: &str) -> Option<Vec<u8>> {
        let member = self.members.remove(self.position(name)?);
        member.is_parsed.then(|| self.value_of(member).to_vec())
    }

    /// Like [`insert`](Self::insert), for a value that [`remove_text`](Self::remove_text) returned.
    pub fn insert_text(&mut self, name: &str, value: &[u8]) {
        self.put(name, |text| text.extend_from_slice(value));
    }

    /// Keeps the members for whose name `keep` returns true: `None` for a name that cannot be parsed.
    pub fn retain(&mut self, keep: impl Fn(Option<&str>) -> bool) {
        let mut members = std::mem::take(&mut self.members);
        members.retain(|member| keep(self.name_of(*member).as_deref()));
        self.members = members;
    }

    /// The members that can be parsed.
    pub fn fields(&self) -> Fields {
        let whole = self.members.iter().filter(|member| member.is_whole());
        let field = |member: &Member| {
            let value = serde_json::from_slice(self.value_of(*member)).ok()?;
            Some((self.name_of(*member)?.into_owned(), value))
        };
        whole.filter_map(field).collect()
    }

    /// The text of the document.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.bytes());
        self.append_text(&mut text);
        text
    }

    /// Appends the text of the document.
    pub fn append_text(&self, text: &mut Vec<u8>) {
        self.append_text_without(text, None);
    }

    /// Appends the text of the document without the members for whose name `is_left_out` returns true; names
    /// that cannot be parsed stay.
    pub fn append_text_without(
        &self,
        text: &mut Vec<u8>,
        is_left_out: Option<&dyn Fn(&str) -> bool>,
    ) {
        let is_left_out = |member: &Member| {
            let name = || self.name_of(*member);
            is_left_out.is_some_and(|test| name().is_some_and(|name| test(&name)))
        };
        text.reserve(self.bytes());
        text.push(b'{');
        // Members that follow each other in the text are copied together, with what is between them.
        let mut run: Option<(u32, u32)> = None;
        for member in self.members.iter().filter(|member| !is_left_out(member)) {
            let start = match run {
                Some((start, end)) if is_comma(self.part(end, member.start)) => start,
                Some((start, end)) => {
                    text.extend_from_slice(self.part(start, end));
                    text.push(b',');
                    member.start
                }
                None => member.start,
            };
            run = Some((start, member.end));
        }
        let (start, end) = run.unwrap_or_default();
        text.extend_from_slice(self.part(start, end));
        text.push(b'}');
    }

    /// The text with its parseable members sorted by name and in the parser's notation, then the others. It
    /// is the same for documents that are equal.
    pub fn sorted_text(&self) -> Vec<u8> {
        let mut sorted = Self::from(self.fields());
        for member in self.members.iter().filter(|member| !member.is_whole()) {
            let value = self.value_of(*member);
            sorted.append(self.name_text(*member), |text| text.extend_from_slice(value));
        }
        sorted.text()
    }

    /// Bytes of the text, or one more.
    pub(crate) fn bytes(&self) -> usize {
        let members = self.members.iter().map(|member| (member.end - member.start) as usize);
        let gap = |pair: &[Member]| match pair {
            [one, next] => Some(self.part(one.end, next.start)).filter(|gap| is_comma(gap)),
            _ => None,
        };
        let gaps = self.members.windows(2).map(|pair| gap(pair).map_or(1, <[u8]>::len));
        3 + members.sum::<usize>() + gaps.sum::<usize>()
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity() + self.members.capacity() * size_of::<Member>()
    }
}

/// True for what separates two members that follow each other.
fn is_comma(gap: &[u8]) -> bool {
    let mut commas = 0;
    for byte in gap {
        match byte {
            b',' => commas += 1,
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => return false,
        }
    }
    commas == 1
}

/// The JSON text of a name.
fn quoted(name: &str) -> Vec<u8> {
    // The text of a string cannot fail.
    serde_json::to_vec(name).unwrap_or_default()
}

#[cfg(test)]
mod tests;
