use proptest::prelude::*;
use serde_json::json;

use super::{Document, Fields};
use crate::{document_bytes, document_memory};

fn parsed(text: &[u8]) -> Document {
    Document::parse(text).unwrap()
}

/// Text, the names of the members that cannot be parsed, whether it is JSON, and what is written.
type Row<'a> = (&'a [u8], &'a [&'a str], bool, &'a [u8]);

#[test]
fn members_that_cannot_be_parsed_are_written_as_they_were_read() {
    let deep = format!(r#"{{"id":"1","d":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let deep_written = format!(r#"{{"id":"1","d":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let rows: [Row<'_>; 9] = [
        (br#"{"t": "\ud83d", "id":"1"}"#, &["t"], true, br#"{"id":"1","t":"\ud83d"}"#),
        (br#"{"t":[ 1, -1e999 ],"id":"1"}"#, &["t"], true, br#"{"id":"1","t":[ 1, -1e999 ]}"#),
        (br#"{"\ude00":1,"id":"1"}"#, &["\"\\ude00\""], true, br#"{"id":"1","\ude00":1}"#),
        (br#"{"t":"\ud83d"}"#, &["t"], true, br#"{"t":"\ud83d"}"#),
        (b"{\"t\":\"a\x01b\",\"id\":\"1\"}", &["t"], false, b"{\"id\":\"1\",\"t\":\"a\x01b\"}"),
        (b"{\"t\":\"a\xFFb\",\"u\":1e400}", &["t", "u"], false, b"{\"t\":\"a\xFFb\",\"u\":1e400}"),
        // Of members with one name, the last counts.
        (br#"{"t":1,"t":"\ud83d"}"#, &["t"], true, br#"{"t":"\ud83d"}"#),
        (br#"{"t":"\ud83d","\u0074":1,"u":1e400}"#, &["u"], true, br#"{"t":1,"u":1e400}"#),
        (deep.as_bytes(), &["d"], true, deep_written.as_bytes()),
    ];
    for (text, names, is_json, written) in rows {
        let shown = text.escape_ascii();
        let document = parsed(text);
        let found: Vec<_> =
            document.unparsed_members().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        assert_eq!(found, names, "{shown}");
        assert!(document.unparsed_cause().is_some_and(|cause| !cause.is_empty()), "{shown}");
        assert_eq!(document.is_json(), is_json, "{shown}");
        assert_eq!(document.unparsed_text().unwrap(), written, "{shown}");
        assert_eq!(serde_json::to_vec(&document).ok().as_deref(), is_json.then_some(written));
        assert_eq!(parsed(written), document, "{shown}");
        assert!(document_bytes(&document).abs_diff(written.len()) <= 8, "{shown}");
        assert!(document_memory(&document) >= document.unparsed_bytes());
    }
}

#[test]
fn only_whole_objects_are_documents() {
    for text in [&b""[..], b"[1]", b"\"a\"", br#"{"a":"\ud83d""#, br#"{"a" "\ud83d"}"#, b"<html>"] {
        assert!(Document::parse(text).is_err(), "{}", text.escape_ascii());
    }
}

#[test]
fn members_are_kept_or_left_out_by_name() {
    let document = parsed(br#"{"id":"1","a":1e400,"b":1e401,"\ud83d":1}"#);
    let kept = |keep: &dyn Fn(Option<&str>) -> bool| {
        let mut document = document.clone();
        document.retain_unparsed(keep);
        document.unparsed_text().map(|text| String::from_utf8(text).unwrap())
    };
    assert_eq!(kept(&|name| name == Some("b")).unwrap(), r#"{"id":"1","b":1e401}"#);
    assert_eq!(kept(&|name| name.is_none()).unwrap(), r#"{"id":"1","\ud83d":1}"#);
    assert_eq!(kept(&|_| false), None);
    let other = Document::from_iter([("x".to_owned(), json!(1))]).with_unparsed_of(&document);
    assert!(other.is_unparsed("a") && !other.is_unparsed("x") && !other.is_unparsed("id"));
}

proptest! {
    /// What can be parsed as a whole has no other members and is written as its fields are.
    #[test]
    fn a_document_that_can_be_parsed_is_its_fields(
        fields in prop::collection::btree_map(".{0,4}", any::<Option<i64>>(), 0..6),
    ) {
        let fields: Fields = fields.into_iter().map(|(name, value)| (name, json!(value))).collect();
        let text = serde_json::to_vec(&fields).unwrap();
        let document = parsed(&text);
        prop_assert_eq!(document.unparsed_text(), None);
        prop_assert_eq!(serde_json::to_vec(&document).unwrap(), text);
        prop_assert_eq!(Fields::from(document), fields);
    }

    /// No text makes a document that is written as something else when it is read again.
    #[test]
    fn a_text_is_read_back_as_it_was_written(bytes in prop::collection::vec(prop_oneof![
        prop::sample::select(br#"{}[]":,\ 1eud8"#.to_vec()), any::<u8>()], 0..40)) {
        let text = [br#"{"a":1,"b":"#, &bytes[..], b"}"].concat();
        if let Ok(document) = Document::parse(&text)
            && let Some(written) = document.unparsed_text()
        {
            prop_assert_eq!(parsed(&written), document);
        }
    }
}
