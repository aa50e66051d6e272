//! Finds the members of an object in one pass over its text, without a tree.
//!
//! What passes is JSON by its grammar. Of nearly all of it, the pass also tells that a parser accepts it.

/// Values in a member may be nested this deep; a parser refuses what is much deeper.
pub(crate) const DEPTH_MAX: usize = 100;

/// A number of this many bytes, with an exponent of two digits, is far from the largest double.
const NUMBER_BYTES: usize = 100;

/// A member of an object, as places in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Of the quote before the name.
    pub(crate) start: usize,
    /// After the quote behind the name.
    pub(crate) name_end: usize,
    pub(crate) value: usize,
    pub(crate) end: usize,
    /// True if the name has escapes.
    pub(crate) is_escaped: bool,
    /// True if a parser may refuse the name or value: it has halves of surrogate pairs, a number that may be
    /// beyond a double, or a name that the parser has a use for.
    pub(crate) is_doubtful: bool,
}

/// Calls `found` for each member of the object that the text is. `None` if the text is no such object, is
/// nested too deep or is not UTF-8: then the members that were found mean nothing.
pub(crate) fn scan(text: &[u8], mut found: impl FnMut(Found)) -> Option<()> {
    std::str::from_utf8(text).ok()?;
    let mut scan = Scan { text, at: 0, is_doubtful: false };
    scan.skip_space();
    scan.object(0, &mut found)?;
    scan.skip_space();
    (scan.at == text.len()).then_some(())
}

struct Scan<'t> {
    text: &'t [u8],
    at: usize,
    is_doubtful: bool,
}

impl Scan<'_> {
    fn next(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.next() {
            self.at += 1;
        }
    }

    /// An object: with `found`, the doubts are those of each member.
    fn object(&mut self, depth: usize, found: &mut impl FnMut(Found)) -> Option<()> {
        self.take(b'{')?;
        self.skip_space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.skip_space();
            self.is_doubtful &= depth > 0;
            let start = self.at;
            let is_escaped = self.string()?;
            // A parser may take such a name, alone in its object, for a mark of its own.
            self.is_doubtful |=
                depth > 0 && (is_escaped || self.text.get(start + 1) == Some(&b'$'));
            let name_end = self.at;
            self.skip_space();
            self.take(b':')?;
            self.skip_space();
            let value = self.at;
            self.value(depth)?;
            let (end, is_doubtful) = (self.at, self.is_doubtful);
            found(Found { start, name_end, value, end, is_escaped, is_doubtful });
            self.skip_space();
            match self.next()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        self.skip_space();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.skip_space();
            self.value(depth)?;
            self.skip_space();
            match self.next()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' if depth == DEPTH_MAX => None,
            // The members inside a value are of no interest.
            b'{' => self.object(depth + 1, &mut nothing),
            b'[' => self.array(depth + 1),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        rest.starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        if self.next() == Some(b'-') {
            self.at += 1;
        }
        let is_zero = self.next() == Some(b'0');
        let digits = self.digits()?;
        if is_zero && digits > 1 {
            return None;
        }
        if self.next() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.next() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.next() {
                self.at += 1;
            }
            self.is_doubtful |= self.digits()? > 2;
        }
        self.is_doubtful |= self.at - start > NUMBER_BYTES;
        Some(())
    }

    /// One digit or more; returns how many.
    fn digits(&mut self) -> Option<usize> {
        let start = self.at;
        while self.next().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(self.at - start)
    }

    /// A string, from its opening quote on; returns true if it has escapes.
    fn string(&mut self) -> Option<bool> {
        self.take(b'"')?;
        let mut is_escaped = false;
        loop {
            self.at = plain_until(self.text, self.at);
            match self.next()? {
                b'"' => {
                    self.at += 1;
                    return Some(is_escaped);
                }
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match *self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                // Half of a surrogate pair; the other half may follow.
                self.is_doubtful |= matches!(digits, [b'd' | b'D', second, ..] if *second >= b'8');
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }
}

fn nothing(_: Found) {}

/// The first place from `at` on of a quote, a backslash or a control character; else the end of the text.
pub(crate) fn plain_until(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    // The highest bit of each byte that is less than `limit`. Bytes above the lowest such byte may be wrong.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let stops = below(quote, 1) | below(backslash, 1) | below(word, 0x20);
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | ..=0x1f);
    at + rest.iter().take_while(is_plain).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::{Found, scan};

    fn found(text: &[u8]) -> Option<Vec<Found>> {
        let mut all = Vec::new();
        scan(text, |found| all.push(found)).map(|()| all)
    }

    #[test]
    fn members_are_found_by_name_and_value() {
        let text = br#" { "a" : 1 ,"b\n":[{"c":"}"},-0.5e+7],"":null}
            "#;
        let members = found(text).unwrap();
        let parts = members.iter().map(|one| {
            let part = |from: usize, to: usize| str::from_utf8(&text[from..to]).unwrap();
            (part(one.start, one.name_end), part(one.value, one.end), one.is_escaped)
        });
        let expected = [
            (r#""a""#, "1", false),
            (r#""b\n""#, r#"[{"c":"}"},-0.5e+7]"#, true),
            (r#""""#, "null", false),
        ];
        assert_eq!(parts.collect::<Vec<_>>(), expected);
        assert!(members.iter().all(|one| !one.is_doubtful));
    }

    #[test]
    fn what_a_parser_may_refuse_is_doubtful_in_its_member_alone() {
        let long = format!("1{}", "0".repeat(400));
        for value in [
            r#""\ud83d""#,
            r#""\uDE00""#,
            "1e400",
            "[-1E+999]",
            long.as_str(),
            r#"{"$serde_json::private::RawValue":"x"}"#,
            r#"{"\u0024serde_json::private::RawValue":"x"}"#,
        ] {
            let text = format!(r#"{{"a":1,"b":{value},"c":"x"}}"#);
            let doubts = found(text.as_bytes()).unwrap();
            let doubts: Vec<_> = doubts.iter().map(|one| one.is_doubtful).collect();
            assert_eq!(doubts, [false, true, false], "{value}");
        }
        let name = found(br#"{"\ud83d":1,"x":2}"#).unwrap();
        assert!(name[0].is_doubtful && !name[1].is_doubtful);
    }

    #[test]
    fn what_is_nested_deeper_than_a_parser_may_accept_is_not_looked_at() {
        for (depth, passes) in [(100, true), (101, false), (100_000, false)] {
            let text = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
            assert_eq!(found(text.as_bytes()).is_some(), passes, "{depth}");
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let signs = prop::sample::select(br#"{}[]":,\ 01.-+eEutrfalsn/d8"#.to_vec());
        prop::collection::vec(prop_oneof![20 => signs, 1 => any::<u8>()], 0..24)
    }

    /// Texts that are close to JSON: the text of a value with a few bytes changed.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let value = prop::sample::select(vec![
            r#"{"k":[1,-2.5e3,"a\"b\\","\u00e9\ud83d\ude00"],"n":null}"#,
            r#"[true,false,null,{"a":{"b":[]}},0,-0,1E-7]"#,
            r#""0123456789abcdef \n ghijklmnop""#,
        ]);
        (value, prop::collection::vec((any::<prop::sample::Index>(), bytes()), 0..2)).prop_map(
            |(value, edits)| {
                let mut text = value.as_bytes().to_vec();
                for (at, bytes) in edits {
                    let at = at.index(text.len());
                    text.splice(at..(at + bytes.len() / 2).min(text.len()), bytes);
                }
                text
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What passes is what the parser's own grammar accepts, and what is not doubtful is parsed.
        #[test]
        fn the_grammar_is_that_of_the_parser(value in prop_oneof![bytes(), nearly()]) {
            let text = [br#"{"a":"#, &value[..], b"}"].concat();
            let is_object = serde_json::from_slice::<&RawValue>(&text).is_ok();
            let members = found(&text);
            prop_assert_eq!(members.is_some(), is_object, "{}", text.escape_ascii());
            for member in members.unwrap_or_default() {
                let value = serde_json::from_slice::<Value>(&text[member.value..member.end]);
                let name = serde_json::from_slice::<String>(&text[member.start..member.name_end]);
                let is_parsed = value.is_ok() && name.is_ok();
                prop_assert!(is_parsed || member.is_doubtful, "{}", text.escape_ascii());
            }
        }
    }
}
