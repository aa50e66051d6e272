//! Takes JSON text apart that need not be parseable: quotes and brackets delimit the values, and that is
//! all that is looked at.

use crate::json_scan::plain_until;

/// The texts of name and value of a member.
type Member<'t> = (&'t [u8], &'t [u8]);

/// An element of an array.
#[derive(Debug)]
pub struct Element<'t> {
    pub text: &'t [u8],
    /// None unless it is an object.
    pub members: Vec<Member<'t>>,
}

/// The members of an object: the texts of name and value. `None` if the text is not a whole object.
pub fn members(text: &[u8]) -> Option<Vec<Member<'_>>> {
    members_from(text, space(text, 0)).map(|(members, _)| members)
}

/// The elements of an array. `None` if the text is not a whole array.
pub fn elements(text: &[u8]) -> Option<Vec<&[u8]>> {
    let (elements, _) = elements_from(text, space(text, 0))?;
    Some(elements.into_iter().map(|element| element.text).collect())
}

/// The elements of the array that is the member of this name, without escapes, of an object. `None` if the
/// text is not a whole object with such a member.
pub fn elements_of<'t>(text: &'t [u8], name: &str) -> Option<Vec<Element<'t>>> {
    let mut found = None;
    each_member(text, space(text, 0), |name_text, value| {
        if name_text.get(1..name_text.len() - 1) != Some(name.as_bytes()) {
            return end_of_value(text, value);
        }
        let (elements, end) = elements_from(text, value)?;
        // Which of two is meant is unknown.
        found.replace(elements).is_none().then_some(end)
    })?;
    found
}

/// The members of the object at a place, and the place after it.
fn members_from(text: &[u8], start: usize) -> Option<(Vec<Member<'_>>, usize)> {
    let mut all = Vec::new();
    let end = each_member(text, start, |name, value| {
        let end = end_of_value(text, value)?;
        all.push((name, &text[value..end]));
        Some(end)
    })?;
    Some((all, end))
}

/// Calls `read` with the name of each member of the object at a place and with the place of its value; it
/// returns the place after the value. Returns the place after the object.
fn each_member<'t>(
    text: &'t [u8],
    start: usize,
    mut read: impl FnMut(&'t [u8], usize) -> Option<usize>,
) -> Option<usize> {
    let mut at = after(text, start, b'{')?;
    loop {
        at = space(text, at);
        match *text.get(at)? {
            b'}' => return Some(at + 1),
            b',' => at += 1,
            b'"' => {
                let name = at..end_of_string(text, at)?;
                let value = space(text, after(text, space(text, name.end), b':')?);
                at = read(&text[name], value)?;
            }
            _ => return None,
        }
    }
}

/// The elements of the array at a place, and the place after it.
fn elements_from(text: &[u8], start: usize) -> Option<(Vec<Element<'_>>, usize)> {
    let mut all = Vec::new();
    let mut at = after(text, start, b'[')?;
    loop {
        at = space(text, at);
        let (members, end) = match *text.get(at)? {
            b']' => return Some((all, at + 1)),
            b',' => {
                at += 1;
                continue;
            }
            // What is not read as an object may still have an end.
            b'{' => {
                members_from(text, at).or_else(|| Some((Vec::new(), end_of_value(text, at)?)))?
            }
            _ => (Vec::new(), end_of_value(text, at)?),
        };
        // A bracket that was not opened.
        if end == at {
            return None;
        }
        all.push(Element { text: &text[at..end], members });
        at = end;
    }
}

/// The place after `sign`, if it is at `at`.
fn after(text: &[u8], at: usize, sign: u8) -> Option<usize> {
    (*text.get(at)? == sign).then_some(at + 1)
}

/// The first place from `at` on that is not white space.
fn space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The place after the value that starts at `start`.
fn end_of_value(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => end_of_string(text, start),
        b'{' | b'[' => {
            let (mut at, mut depth) = (start, 0_usize);
            loop {
                match text.get(at)? {
                    b'"' => {
                        at = end_of_string(text, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let is_end =
                |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            Some(start + text[start..].iter().position(is_end)?)
        }
    }
}

/// The place after the string that starts with the quote at `start`.
fn end_of_string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at = plain_until(text, at);
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            // A control character.
            _ => at += 1,
        }
    }
}
