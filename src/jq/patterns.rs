//! Compiled regular expressions: those of Oniguruma, with Unicode classes and look-around.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use fancy_regex::{Captures, Regex, RegexBuilder};
use jaq_json::{Rc, Val};
use parking_lot::Mutex;

/// Steps of one match that has to go back, in which look-around and references are; others take none.
const BACKTRACK_MAX: usize = 1_000_000;

/// Compiled expressions that are kept: most patterns are constants of one expression.
const KEPT: usize = 100;

/// A compiled regular expression with the flags that are not part of it.
pub(super) struct Pattern {
    regex: Regex,
    /// All matches, not only the first.
    is_global: bool,
    /// Matches of nothing do not count.
    skips_empty: bool,
}

/// Compiled patterns, by pattern and flags.
#[derive(Default)]
pub(super) struct Regexes(Mutex<HashMap<(String, String), Arc<Pattern>>>);

impl Regexes {
    pub(super) fn get(&self, pattern: &str, flags: &str) -> Result<Arc<Pattern>, String> {
        let key = (pattern.to_owned(), flags.to_owned());
        if let Some(known) = self.0.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let compiled = Arc::new(Pattern::new(pattern, flags)?);
        let mut known = self.0.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }
}

impl Pattern {
    /// The flags are those of jq.
    pub(super) fn new(pattern: &str, flags: &str) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(&with_unicode_classes(pattern));
        builder.oniguruma_mode(true).backtrack_limit(BACKTRACK_MAX);
        let (mut is_global, mut skips_empty) = (false, false);
        for flag in flags.chars() {
            match flag {
                'g' => is_global = true,
                'n' => skips_empty = true,
                'i' => drop(builder.case_insensitive(true)),
                'x' => drop(builder.ignore_whitespace(true)),
                'p' => drop(builder.dot_matches_new_line(true)),
                's' => {}
                'l' => return Err("the flag `l` is not supported".to_owned()),
                other => return Err(format!("there is no flag `{other}`")),
            }
        }
        let regex = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { regex, is_global, skips_empty })
    }

    /// The matches in order, each with its groups. The error has no part of the text.
    pub(super) fn matches<'t>(&self, text: &'t str) -> Result<Vec<Captures<'t, str>>, String> {
        let mut found = Vec::new();
        for captures in self.regex.captures_iter(text) {
            let captures = captures.map_err(|_| "a regular expression takes too many steps")?;
            let is_empty = captures.get(0).is_none_or(|whole| whole.as_str().is_empty());
            if self.skips_empty && is_empty {
                continue;
            }
            found.push(captures);
            if !self.is_global {
                break;
            }
        }
        Ok(found)
    }

    /// A match and its groups, as jq describes them.
    pub(super) fn describe(&self, chars: &mut Chars<'_>, captures: &Captures<'_, str>) -> Val {
        let names = self.regex.capture_names();
        let groups = captures.iter().zip(names).enumerate().map(|(at, (group, name))| {
            let (offset, length, string) = match group {
                Some(group) => {
                    let matched = group.as_str();
                    let (offset, length) = (chars.before(group.start()), matched.chars().count());
                    (count(offset), count(length), string(matched))
                }
                None => (Val::from(-1_isize), count(0), Val::Null),
            };
            let mut fields = vec![("offset", offset), ("length", length), ("string", string)];
            if at > 0 {
                fields.push(("name", name.map_or(Val::Null, self::string)));
            }
            Val::obj(fields.into_iter().map(|(name, value)| (self::string(name), value)).collect())
        });
        Val::Arr(Rc::new(groups.collect()))
    }
}

/// POSIX classes as those of Unicode, which the letters of names and places need.
fn with_unicode_classes(pattern: &str) -> String {
    const CLASSES: [(&str, &str); 19] = [
        ("[:alpha:]", r"\p{Alphabetic}"),
        ("[:^alpha:]", r"\P{Alphabetic}"),
        ("[:digit:]", r"\p{Nd}"),
        ("[:^digit:]", r"\P{Nd}"),
        ("[:alnum:]", r"\p{Alphabetic}\p{Nd}"),
        ("[:upper:]", r"\p{Uppercase}"),
        ("[:^upper:]", r"\P{Uppercase}"),
        ("[:lower:]", r"\p{Lowercase}"),
        ("[:^lower:]", r"\P{Lowercase}"),
        ("[:space:]", r"\s"),
        ("[:^space:]", r"\S"),
        ("[:blank:]", r"\p{Zs}\t"),
        ("[:word:]", r"\w"),
        ("[:^word:]", r"\W"),
        ("[:punct:]", r"\p{P}\p{S}"),
        ("[:cntrl:]", r"\p{Cc}"),
        ("[:graph:]", r"\p{L}\p{M}\p{N}\p{P}\p{S}"),
        ("[:print:]", r"\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}"),
        ("[:xdigit:]", "0-9A-Fa-f"),
    ];
    CLASSES.iter().fold(pattern.to_owned(), |pattern, (name, class)| pattern.replace(name, class))
}

/// Counts characters from one place to the next: from the beginning for each match would take the square of
/// the time.
pub(super) struct Chars<'t> {
    text: &'t str,
    /// The last place, in bytes, and the characters before it.
    last: (usize, usize),
}

impl<'t> Chars<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, last: (0, 0) }
    }

    fn before(&mut self, place: usize) -> usize {
        let (last, count) = if place < self.last.0 { (0, 0) } else { self.last };
        let count = count + part(self.text, last..place).chars().count();
        self.last = (place, count);
        count
    }
}

/// The part of a text between two places that a match has.
pub(super) fn part(text: &str, places: Range<usize>) -> &str {
    text.get(places).unwrap_or_default()
}

pub(super) fn string(text: &str) -> Val {
    Val::utf8_str(text.as_bytes().to_vec())
}

fn count(number: usize) -> Val {
    Val::from(number)
}
