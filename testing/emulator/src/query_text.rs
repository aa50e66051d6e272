//! Query text as the vendor's engine needs it.
//!
//! The vendor's copies of our documents carry the vendor's own system properties; ours are next to
//! them under other names. A query is rewritten to name ours, and the answer is renamed back. Its
//! engine also takes text in double quotes for a name, where the service takes it for a literal.

/// System properties and their names in the vendor's copies.
const NAMES: [(&str, &str); 5] = [
    ("_rid", "_x_rid"),
    ("_self", "_x_self"),
    ("_etag", "_x_etag"),
    ("_attachments", "_x_attachments"),
    ("_ts", "_x_ts"),
];

/// The name of a system property in the vendor's copies.
pub fn to_copy(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(ours, _)| *ours == name).map(|(_, copy)| *copy)
}

/// The system property behind a name in the vendor's copies.
pub fn from_copy(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(_, copy)| *copy == name).map(|(ours, _)| *ours)
}

/// Rewrites a query.
pub fn rewrite(query: &str) -> String {
    let mut out = String::with_capacity(query.len() + 16);
    for (_, token) in tokens(query) {
        if token.starts_with(['\'', '"']) {
            push_literal(&mut out, token);
        } else {
            out.push_str(to_copy(token).unwrap_or(token));
        }
    }
    out
}

/// The literals, names and single other characters of a query, each with its place.
pub fn tokens(query: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = query.get(at..)?;
        let first = rest.chars().next()?;
        let length = match first {
            '\'' | '"' => literal_length(rest, first),
            _ if is_name(first) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let begin = at;
        at += length;
        Some((begin, rest.get(..length)?))
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '@'
}

/// The bytes of a literal with its quotes; a backslash escapes what follows it.
fn literal_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The vendor knows only single quotes, doubled to escape themselves, and no backslashes.
fn push_literal(out: &mut String, token: &str) {
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    let content = unescape(inner);
    let indexes = out.trim_end().ends_with('[');
    let content = to_copy(&content).filter(|_| indexes).map_or(content, str::to_owned);
    out.push('\'');
    out.push_str(&content.replace('\'', "''"));
    out.push('\'');
}

/// The content of a literal; none for another token.
pub fn literal(token: &str) -> Option<String> {
    let inner = |quote| token.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).map(unescape)
}

fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let code: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

/// Whether a query asks for whole documents of the scope, without filter and order.
pub fn is_plain(query: &str) -> bool {
    let words: Vec<String> = query.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["select", "*", "from", name] => name.chars().all(is_name),
        ["select", "value", what, "from", name] => what == name && name.chars().all(is_name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_name_our_system_properties_and_quote_as_the_vendor_does() {
        let cases = [
            ("SELECT c._ts FROM c", "SELECT c._x_ts FROM c"),
            ("SELECT * FROM c WHERE c.a = \"x\"", "SELECT * FROM c WHERE c.a = 'x'"),
            ("SELECT c[\"_etag\"] FROM c", "SELECT c['_x_etag'] FROM c"),
            ("SELECT * FROM c WHERE c.a = '_ts'", "SELECT * FROM c WHERE c.a = '_ts'"),
            ("WHERE c.a = \"it's\"", "WHERE c.a = 'it''s'"),
            ("WHERE c.a = 'it\\'s'", "WHERE c.a = 'it''s'"),
            ("WHERE c._tsx = @_ts", "WHERE c._tsx = @_ts"),
            ("WHERE c.a = \"\\u00e9\\n\"", "WHERE c.a = 'é\n'"),
            ("WHERE c.ä = 'ö'", "WHERE c.ä = 'ö'"),
        ];
        for (query, expected) in cases {
            assert_eq!(rewrite(query), expected, "{query}");
        }
    }
}
