//! Templates of texts with fields: `{/tenant}-{/day}`.

use std::fmt;

use serde_json::Value;

use crate::path::PathError;
use crate::{Change, Operation, Path, kind, plain_text};

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
    /// `upsert`, `delete` or `expire`.
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
        let origin = &change.origin;
        match self {
            Self::Id => text.push_str(&change.id),
            Self::PartitionKey => text.push_str(&change.partition_key.text()),
            Self::Operation => text.push_str(change.operation.name()),
            Self::Account => text.push_str(&origin.container.account),
            Self::Database => text.push_str(&origin.container.database),
            Self::Container => text.push_str(&origin.container.container),
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
                    Value::String(value) => text.push_str(value),
                    value => text.push_str(
                        &plain_text(value)
                            .ok_or_else(|| Unrenderable::NoText(path.clone(), kind(value)))?,
                    ),
                },
            }
        }
        Ok(text)
    }
}

fn field_of<'c>(change: &'c Change, path: &Path) -> Result<&'c Value, Unrenderable> {
    let document = match (&change.operation, &change.previous) {
        (Operation::Upsert { document }, _) | (Operation::Delete { .. }, Some(document)) => {
            document
        }
        (Operation::Delete { .. }, None) => return Err(Unrenderable::NoImage(path.clone())),
    };
    path.find(document).ok_or_else(|| {
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
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{ContainerName, KeyValue, Origin, PartitionKey};

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn path(names: &[&str]) -> Piece {
        Piece::Field(Path(names.iter().map(|&name| name.to_owned()).collect()))
    }

    #[test]
    fn templates_are_texts_and_fields() {
        let cases = [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("{/a}", vec![path(&["a"])]),
            ("{/a}-{/b/c}", vec![path(&["a"]), text("-"), path(&["b", "c"])]),
            ("x{{{/a}}}y", vec![text("x{"), path(&["a"]), text("}y")]),
            ("{/\"a}/b\"}", vec![path(&["a}/b"])]),
            ("{/a\"}", vec![path(&["a\""])]),
            ("{id}.{/id}", vec![Piece::Property(Property::Id), text("."), path(&["id"])]),
        ];
        for (written, pieces) in cases {
            assert_eq!(Template::read(written), Ok(Template(pieces)), "{written}");
        }
    }

    #[test]
    fn broken_templates_are_refused() {
        let cases = [
            ("{/a", TemplateError::Unclosed),
            ("{/\"a}", TemplateError::Unclosed),
            ("a}", TemplateError::Unopened),
            ("{}", TemplateError::Path(PathError::Empty)),
            ("{a}", TemplateError::Path(PathError::NoSlash)),
            ("{/a}{Id}", TemplateError::Path(PathError::NoSlash)),
            ("{/a/}", TemplateError::Path(PathError::Empty)),
        ];
        for (written, error) in cases {
            assert_eq!(Template::read(written), Err(error), "{written}");
        }
    }

    fn change(operation: Operation, previous: Option<Value>) -> Change {
        let key = PartitionKey(vec![KeyValue::String("nord".to_owned()), KeyValue::Number(7.0)]);
        let container = ContainerName {
            account: "source".to_owned(),
            database: "shop".to_owned(),
            container: "orders".to_owned(),
            rid: "rid".to_owned(),
        };
        Change {
            id: "o-1".to_owned(),
            partition_key: key.clone(),
            operation,
            previous: previous.and_then(|image| Some(Arc::new(image.as_object()?.clone().into()))),
            origin: Arc::new(Origin {
                container: Arc::new(container),
                id: "1".to_owned(),
                partition_key: key,
                lsn: None,
                committed_at: None,
                nth: 0,
                expiry: None,
                trace: None,
            }),
            old_copies: crate::OldCopies::None,
        }
    }

    #[test]
    fn a_template_is_rendered_from_the_change() {
        let document = json!({"region": "süd", "total": 3.0, "lines": []});
        let upsert =
            Operation::Upsert { document: Arc::new(document.as_object().unwrap().clone().into()) };
        let delete = Operation::Delete { expired: false };
        let before = json!({"region": "west"});
        let region = Path::parse("/region").unwrap();
        let lines = Path::parse("/lines").unwrap();
        let cases: &[(&str, Change, Result<&str, Unrenderable>)] = &[
            ("{/region}-{/total}", change(upsert.clone(), None), Ok("süd-3")),
            (
                "{account}/{database}/{container}",
                change(upsert.clone(), None),
                Ok("source/shop/orders"),
            ),
            (
                "{partition_key} {id} {operation}",
                change(delete.clone(), None),
                Ok(r#"["nord",7] o-1 delete"#),
            ),
            ("{/region}", change(upsert.clone(), Some(before.clone())), Ok("süd")),
            ("{/region}", change(delete.clone(), Some(before)), Ok("west")),
            ("{/region}", change(delete, None), Err(Unrenderable::NoImage(region))),
            ("{/lines}", change(upsert, None), Err(Unrenderable::NoText(lines, "an array"))),
        ];
        for (template, change, expected) in cases {
            let rendered = Template::read(template).unwrap().render(change);
            assert_eq!(rendered.as_deref(), expected.as_ref().copied(), "{template}");
        }
    }

    proptest! {
        #[test]
        fn a_template_is_read_back_as_it_was_shown(
            pieces in prop::collection::vec((".+", prop::collection::vec(".+", 1..3)), 0..4),
        ) {
            let pieces = pieces.into_iter();
            let template =
                Template(pieces.flat_map(|(t, p)| [Piece::Text(t), Piece::Field(Path(p))]).collect());
            prop_assert_eq!(Template::parse(&template.to_string()), Some(template));
        }

        #[test]
        fn no_text_makes_reading_panic(text in "[{}/\"\\\\a]{0,12}") {
            if let Some(template) = Template::parse(&text) {
                prop_assert_eq!(Template::parse(&template.to_string()), Some(template));
            }
        }
    }
}
