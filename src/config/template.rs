//! Texts made of fields: `{/tenant}-{/day}`.

use std::fmt;

use super::path::PathError;
use super::{Path, Piece, Template};

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("the template opens a brace and does not close it")]
    Unclosed,
    #[error("the template closes a brace that it did not open")]
    Unopened,
    #[error("the template has a field that is no path: {0}")]
    Path(#[from] PathError),
}

impl Template {
    /// `None` unless the braces are in pairs and hold paths.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    pub(super) fn read(text: &str) -> Result<Self, TemplateError> {
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
                    pieces.push(Piece::Field(Path::read(field)?));
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

    /// The fields it is made of, in order.
    pub fn fields(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(path) => Some(path),
            Piece::Text(_) => None,
        })
    }
}

/// The text up to the closing brace, and what follows it. A brace in double quotes is part of a
/// name when the quotes begin a name.
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
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            ("{/a/}", TemplateError::Path(PathError::Empty)),
        ];
        for (written, error) in cases {
            assert_eq!(Template::read(written), Err(error), "{written}");
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
