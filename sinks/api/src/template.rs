//! Templates of texts with fields: `{/tenant}-{/day}`.

use std::fmt;

use serde_json::Value;

use crate::path::PathError;
use crate::{Change, ContainerName, Operation, Path, kind, plain_text};

/// A text with fields in braces: `{/tenant}-{/day}`. `{{` and `}}` are literal braces.
///
/// A name without a slash is a property of the change: `{database}.{container}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Text(String),
    Field(Path),
    Property(Property),
}

/// A property that every change has, independent of its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// The document's id in the target.
    Id,
    /// The value of the partition key in the target; a JSON array for several values.
    PartitionKey,
    /// `upsert`, `delete`, `expire` or `snapshot`.
    Operation,
    /// The account of the source, like the next two.
    Account,
    Database,
    Container,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the template has an unclosed brace")]
    Unclosed,
    #[error("the template has a closing brace without an opening one")]
    Unopened,
    #[error("invalid path in the template: {0}")]
    Path(#[from] PathError),
}

/// Why a template cannot be rendered for a change. The error is permanent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrenderable {
    #[error("field {0} is missing")]
    Missing(Path),
    #[error("field {0} cannot be parsed")]
    Unparsed(Path),
    #[error("field {0} is {1}, which cannot be part of a text")]
    NoText(Path, &'static str),
    #[error("the delete carries no previous image, and {0} is needed")]
    NoImage(Path),
}

impl Property {
    /// The properties with their names in templates.
    pub const ALL: [(&'static str, Self); 6] = [
        ("id", Self::Id),
        ("partition_key", Self::PartitionKey),
        ("operation", Self::Operation),
        ("account", Self::Account),
        ("database", Self::Database),
        ("container", Self::Container),
    ];

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, property)| *property)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    fn push_to(self, text: &mut String, change: &Change) {
        match self {
            Self::Id => text.push_str(&change.id),
            Self::PartitionKey => text.push_str(&change.partition_key.text()),
            Self::Operation => text.push_str(change.event_name()),
            Self::Account | Self::Database | Self::Container => {
                text.push_str(self.of_container(&change.origin.container).unwrap_or_default());
            }
        }
    }

    /// The value that the property has for all changes of a container; `None` if it is another one for each.
    fn of_container(self, container: &ContainerName) -> Option<&str> {
        match self {
            Self::Account => Some(&container.account),
            Self::Database => Some(&container.database),
            Self::Container => Some(&container.container),
            Self::Id | Self::PartitionKey | Self::Operation => None,
        }
    }
}

impl Template {
    /// `None` unless all braces are paired and hold paths or properties.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    /// Like [`Template::parse`], with the reason of a failure.
    pub fn read(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let rest = characters.as_str();
            match character {
                '{' | '}' if rest.starts_with(character) => {
                    plain.push(character);
                    characters.next();
                }
                '}' => return Err(TemplateError::Unopened),
                '{' => {
                    let (field, after) = field(rest).ok_or(TemplateError::Unclosed)?;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(match Property::of_name(field) {
                        Some(property) => Piece::Property(property),
                        None => Piece::Field(Path::read(field)?),
                    });
                    characters = after.chars();
                }
                _ => plain.push(character),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The fields of the template, in order.
    pub fn fields(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(path) => Some(path),
            Piece::Text(_) | Piece::Property(_) => None,
        })
    }

    /// The text, if it is the same for every change.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The same template for the changes of one container: the properties that they have in common are
    /// texts.
    #[must_use]
    pub fn in_container(&self, container: &ContainerName) -> Self {
        let mut pieces = Vec::new();
        for piece in &self.0 {
            let text = match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Property(property) => property.of_container(container),
                Piece::Field(_) => None,
            };
            match (text, pieces.last_mut()) {
                (Some(text), Some(Piece::Text(before))) => before.push_str(text),
                (Some(text), _) => pieces.push(Piece::Text(text.to_owned())),
                (None, _) => pieces.push(piece.clone()),
            }
        }
        Self(pieces)
    }

    /// The texts that are known before any change, for changes of these containers, each once: one if the
    /// text is the same for every change, and none if each change has its own.
    pub fn known(&self, containers: &[ContainerName]) -> Vec<String> {
        if let Some(text) = self.constant() {
            return vec![text.to_owned()];
        }
        let text = |container| self.in_container(container).constant().map(str::to_owned);
        let mut known: Vec<String> = containers.iter().filter_map(text).collect();
        known.sort();
        known.dedup();
        known
    }

    /// The parts of the text that are the same for every change, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Field(_) | Piece::Property(_) => None,
        })
    }

    /// True if the text may hold a part of a document, its id or its key, which logs and errors must not
    /// show.
    pub fn shows_the_document(&self) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Field(_) | Piece::Property(Property::Id | Property::PartitionKey) => true,
            Piece::Text(_)
            | Piece::Property(
                Property::Operation | Property::Account | Property::Database | Property::Container,
            ) => false,
        })
    }

    /// The text for one change. The fields of a delete are those of its previous image.
    pub fn render(&self, change: &Change) -> Result<String, Unrenderable> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Property(property) => property.push_to(&mut text, change),
                Piece::Field(path) => match field_of(change, path)? {
                    Value::String(value) => text.push_str(&value),
                    value => text.push_str(
                        &plain_text(&value)
                            .ok_or_else(|| Unrenderable::NoText(path.clone(), kind(&value)))?,
                    ),
                },
            }
        }
        Ok(text)
    }
}

fn field_of(change: &Change, path: &Path) -> Result<Value, Unrenderable> {
    let document = match (&change.operation, &change.previous) {
        (Operation::Upsert { document }, _) | (Operation::Delete { .. }, Some(document)) => {
            document
        }
        (Operation::Delete { .. }, None) => return Err(Unrenderable::NoImage(path.clone())),
    };
    document.find(path).ok_or_else(|| {
        let is_unparsed = path.segments().first().is_some_and(|name| document.is_unparsed(name));
        let problem = if is_unparsed { Unrenderable::Unparsed } else { Unrenderable::Missing };
        problem(path.clone())
    })
}

/// The text up to the closing brace, and the rest after it. A brace in double quotes is part of a
/// name if the quotes begin the name.
fn field(text: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped, mut before) = (false, false, '{');
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted => quoted = false,
            '"' if before == '/' => quoted = true,
            '}' if !quoted => {
                let (field, after) = text.split_at(at);
                return Some((field, after.strip_prefix('}')?));
            }
            _ => {}
        }
        before = character;
    }
    None
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Piece::Field(path) => write!(f, "{{{path}}}"),
            Piece::Property(property) => write!(f, "{{{}}}", property.name()),
        })
    }
}

#[cfg(test)]
mod tests;
