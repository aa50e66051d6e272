//! Takes JSON text apart that need not be parseable: quotes and brackets delimit the values, and that is
//! all that is looked at.

/// The members of an object: the texts of name and value. `None` if the text is not a whole object.
pub fn members(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut all = Vec::new();
    let mut at = after(text, space(text, 0), b'{')?;
    loop {
        at = space(text, at);
        match *text.get(at)? {
            b'}' => return Some(all),
            b',' => at += 1,
            b'"' => {
                let name = at..end_of_string(text, at)?;
                let value = space(text, after(text, space(text, name.end), b':')?);
                at = end_of_value(text, value)?;
                all.push((&text[name], &text[value..at]));
            }
            _ => return None,
        }
    }
}

/// The elements of an array. `None` if the text is not a whole array.
pub fn elements(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    let mut at = after(text, space(text, 0), b'[')?;
    loop {
        at = space(text, at);
        match *text.get(at)? {
            b']' => return Some(all),
            b',' => at += 1,
            _ => {
                let value = at..end_of_value(text, at)?;
                // A bracket that was not opened.
                if value.is_empty() {
                    return None;
                }
                at = value.end;
                all.push(&text[value]);
            }
        }
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
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}
