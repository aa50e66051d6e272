//! Paths of property names: `/customer/region`.

use std::fmt;

use serde_json::{Map, Value};

/// A JSON path of property names: `/a/b`. It has at least one name, and no name is empty.
///
/// A path traverses objects only: `/items/price` does not match the elements of an array.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(pub(crate) Vec<String>);

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a path begins with a slash")]
    NoSlash,
    #[error("the path has an empty name")]
    Empty,
    #[error("the path has an unclosed name in double quotes")]
    Quote,
}

impl PathError {
    /// What to write instead.
    pub fn hint(self, text: &str) -> String {
        match self {
            Self::NoSlash => {
                let dotted = text.trim_start_matches("$.").replace('.', "/");
                format!("Write \"/{dotted}\".")
            }
            Self::Empty => {
                "Write each name once, with one slash before it: \"/customer/region\".".to_owned()
            }
            Self::Quote => {
                "Write a name that contains a slash in double quotes: '/\"a/b\"/c'.".to_owned()
            }
        }
    }
}

impl Path {
    /// `None` unless the text is `/name` repeated. A name in double quotes may hold a slash, as in
    /// the service's own key paths: `/"a/b"`. In quotes, `\"` and `\\` mean `"` and `\`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// True if the path is `upper` or a field below it.
    pub fn is_within(&self, upper: &Self) -> bool {
        self.0.starts_with(&upper.0)
    }

    /// Like [`Path::parse`], with the reason of a failure.
    pub fn read(text: &str) -> Result<Self, PathError> {
        let mut rest = text;
        let mut segments = Vec::new();
        if rest.is_empty() {
            return Err(PathError::Empty);
        }
        while !rest.is_empty() {
            rest = rest.strip_prefix('/').ok_or(if segments.is_empty() {
                PathError::NoSlash
            } else {
                PathError::Quote
            })?;
            let (segment, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted_name(quoted).ok_or(PathError::Quote)?,
                None => match rest.find('/').map(|at| rest.split_at(at)) {
                    Some((name, after)) => (name.to_owned(), after),
                    None => (rest.to_owned(), ""),
                },
            };
            if segment.is_empty() {
                return Err(PathError::Empty);
            }
            segments.push(segment);
            rest = after;
        }
        Ok(Self(segments))
    }

    /// The value at this path in a document.
    pub fn find<'d>(&self, document: &'d Map<String, Value>) -> Option<&'d Value> {
        let (last, parents) = self.0.split_last()?;
        let mut object = document;
        for name in parents {
            object = object.get(name)?.as_object()?;
        }
        object.get(last)
    }

    /// True if the other path is this one or below it.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

/// The name up to the closing quote, and the rest after it.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((name, characters.as_str())),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => name.push(escaped),
                _ => return None,
            },
            character => name.push(character),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            if segment.contains(['/', '"', '{', '}']) {
                let escaped = segment.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "/\"{escaped}\"")?;
            } else {
                write!(f, "/{segment}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_slashes_and_names() {
        let cases: &[(&str, Result<&[&str], PathError>)] = &[
            ("/a", Ok(&["a"])),
            ("/a/b c/ü", Ok(&["a", "b c", "ü"])),
            ("/\"a/b\"/c", Ok(&["a/b", "c"])),
            (r#"/"a\"\\b""#, Ok(&[r#"a"\b"#])),
            ("/a\"b", Ok(&["a\"b"])),
            ("", Err(PathError::Empty)),
            ("/", Err(PathError::Empty)),
            ("/a/", Err(PathError::Empty)),
            ("/a//b", Err(PathError::Empty)),
            ("/\"\"", Err(PathError::Empty)),
            ("a", Err(PathError::NoSlash)),
            ("a/b", Err(PathError::NoSlash)),
            ("/\"a", Err(PathError::Quote)),
            ("/\"a\"b", Err(PathError::Quote)),
            ("/\"a\\x\"", Err(PathError::Quote)),
        ];
        for (text, expected) in cases {
            let expected =
                expected.map(|names| Path(names.iter().map(|&name| name.to_owned()).collect()));
            assert_eq!(Path::read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_path_covers_itself_and_paths_below_it() {
        let path = |text| Path::parse(text).unwrap();
        assert!(path("/a").covers(&path("/a")));
        assert!(path("/a").covers(&path("/a/b")));
        assert!(!path("/a/b").covers(&path("/a")));
        assert!(!path("/a").covers(&path("/ab")));
    }

    proptest! {
        #[test]
        fn a_path_is_read_back_as_it_was_shown(names in prop::collection::vec(".+", 1..4)) {
            let path = Path(names);
            prop_assert_eq!(Path::parse(&path.to_string()), Some(path));
        }
    }
}
