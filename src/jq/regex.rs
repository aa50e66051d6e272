//! The filters that `test`, `match`, `sub` and the others are defined with.

use jaq_core::native::{Fun, bome, v};
use jaq_core::{Cv, Error, Native};
use jaq_json::{Rc, Val};

use super::limits::Limited;
use super::patterns::{Chars, part, string};

/// What a filter returns of a text.
#[derive(Clone, Copy)]
struct Parts {
    matches: bool,
    rest: bool,
}

fn parts_of(mut cv: Cv<'_, Limited>, wanted: Parts) -> Result<Val, Error<Val>> {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let text = text_of(&cv.1)?;
    let flags = if flags == Val::Null { "" } else { text_of(&flags)? };
    let invalid = |reason| Error::str(format_args!("invalid regular expression: {reason}"));
    let pattern = cv.0.data().regexes.get(text_of(&pattern)?, flags).map_err(invalid)?;
    let (mut parts, mut end, mut chars) = (Vec::new(), 0, Chars::of(text));
    for captures in pattern.matches(text).map_err(Error::str)? {
        let Some(whole) = captures.get(0) else { continue };
        if wanted.rest {
            parts.push(string(part(text, end..whole.start())));
        }
        if wanted.matches {
            parts.push(pattern.describe(&mut chars, &captures));
        }
        end = whole.end();
    }
    if wanted.rest {
        parts.push(string(part(text, end..text.len())));
    }
    Ok(Val::Arr(Rc::new(parts)))
}

fn text_of(value: &Val) -> Result<&str, Error<Val>> {
    let text = match value {
        Val::TStr(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    text.ok_or_else(|| Error::typ(value.clone(), "string"))
}

/// The filters that `test`, `match`, `sub` and the others are defined with.
pub(super) fn filters() -> [Fun<Limited>; 3] {
    let matches = Native::new(|cv| bome(parts_of(cv, Parts { matches: true, rest: false })));
    let both = Native::new(|cv| bome(parts_of(cv, Parts { matches: true, rest: true })));
    let rest = Native::new(|cv| bome(parts_of(cv, Parts { matches: false, rest: true })));
    [("matches", v(2), matches), ("split_matches", v(2), both), ("split_", v(2), rest)]
}
