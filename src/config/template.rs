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
