use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Document, Fields};
use crate::{Path, document_bytes, document_memory};

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
        (br#"{"t": "\ud83d", "id":"1"}"#, &["t"], true, br#"{"t": "\ud83d", "id":"1"}"#),
        (br#"{"t":[ 1, -1e999 ],"id":"1"}"#, &["t"], true, br#"{"t":[ 1, -1e999 ],"id":"1"}"#),
        (br#"{"\ude00":1,"id":"1"}"#, &["\"\\ude00\""], true, br#"{"\ude00":1,"id":"1"}"#),
        (br#"{"t":"\ud83d"}"#, &["t"], true, br#"{"t":"\ud83d"}"#),
        (b"{\"t\":\"a\x01b\",\"id\":\"1\"}", &["t"], false, b"{\"t\":\"a\x01b\",\"id\":\"1\"}"),
        (b"{\"t\":\"a\xFFb\",\"u\":1e400}", &["t", "u"], false, b"{\"t\":\"a\xFFb\",\"u\":1e400}"),
        // Of members with one name, the last counts.
        (br#"{"t":1,"t":"\ud83d"}"#, &["t"], true, br#"{"t":"\ud83d"}"#),
        (br#"{"t":"\ud83d","\u0074":1,"u":1e400}"#, &["u"], true, br#"{"\u0074":1,"u":1e400}"#),
        (deep.as_bytes(), &["d"], true, deep_written.as_bytes()),
    ];
    for (text, names, is_json, written) in rows {
        let shown = text.escape_ascii();
        let document = parsed(text);
        let found: Vec<_> = document
            .unparsed_members()
            .map(|(name, _)| String::from_utf8_lossy(&name).into_owned())
            .collect();
        assert_eq!(found, names, "{shown}");
        assert!(document.unparsed_cause().is_some_and(|cause| !cause.is_empty()), "{shown}");
        assert_eq!(document.is_json(), is_json, "{shown}");
        assert_eq!(document.unparsed_text().unwrap(), written, "{shown}");
        assert_eq!(serde_json::to_vec(&document).ok().as_deref(), is_json.then_some(written));
        assert_eq!(parsed(written), document, "{shown}");
        assert!(document_bytes(&document).abs_diff(written.len()) <= 8, "{shown}");
        assert!(document_memory(&document) >= written.len());
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
        document.retain(keep);
        String::from_utf8(document.text()).unwrap()
    };
    assert_eq!(kept(&|name| name == Some("b")), r#"{"b":1e401}"#);
    assert_eq!(kept(&|name| name != Some("a")), r#"{"id":"1","b":1e401,"\ud83d":1}"#);
    assert_eq!(kept(&|name| name.is_none()), r#"{"\ud83d":1}"#);
    assert_eq!(kept(&|_| false), "{}");
    assert!(document.is_unparsed("a") && !document.is_unparsed("x") && !document.is_unparsed("id"));
}

/// Nothing but the member that is changed looks different.
#[test]
fn what_is_not_changed_is_written_as_it_was_read() {
    let text = r#"{"z":1.50,"a": 1E3 , "\u0062" : "\u00fc\/","n":{"y":-0,"x":[1, 2]},"id":"1"}"#;
    let changed = |change: &dyn Fn(&mut Document)| {
        let mut document = parsed(text.as_bytes());
        change(&mut document);
        String::from_utf8(document.text()).unwrap()
    };
    assert_eq!(changed(&|_| {}), text);
    assert_eq!(
        changed(&|document| drop(document.remove("a"))),
        r#"{"z":1.50,"\u0062" : "\u00fc\/","n":{"y":-0,"x":[1, 2]},"id":"1"}"#
    );
    assert_eq!(
        changed(&|document| document.insert("b", json!([1.0]))),
        r#"{"z":1.50,"a": 1E3,"b":[1.0],"n":{"y":-0,"x":[1, 2]},"id":"1"}"#
    );
    let renamed = changed(&|document| {
        let value = document.remove_text("n").unwrap();
        document.insert_text("m", &value);
    });
    assert_eq!(
        renamed,
        r#"{"z":1.50,"a": 1E3 , "\u0062" : "\u00fc\/","id":"1","m":{"y":-0,"x":[1, 2]}}"#
    );
    let document = parsed(text.as_bytes());
    let path = |text| Path::parse(text).unwrap();
    assert_eq!(document.get("b"), Some(json!("ü/")));
    assert_eq!(document.find(&path("/n/x")), Some(json!([1, 2])));
    assert_eq!(document.find(&path("/n/x/0")), None);
    assert_eq!(document.find(&path("/n/z")), None);
    let mut left_out = Vec::new();
    document.append_text_without(&mut left_out, Some(&|name| matches!(name, "b" | "z")));
    assert_eq!(left_out, br#"{"a": 1E3,"n":{"y":-0,"x":[1, 2]},"id":"1"}"#);
}

#[test]
fn of_members_with_one_name_the_last_counts_also_among_many() {
    let many: String = (0..40).map(|n| format!(r#""m{n}":{n},"#)).collect::<Vec<_>>().concat();
    for more in ["", many.as_str()] {
        let text = format!(r#"{{{more}"a":1,"b":2,"\u0061":3,"b":4}}"#);
        let document = parsed(text.as_bytes());
        assert_eq!((document.get("a"), document.get("b")), (Some(json!(3)), Some(json!(4))));
        let written = String::from_utf8(document.text()).unwrap();
        assert_eq!(written, format!(r#"{{{more}"\u0061":3,"b":4}}"#));
    }
}

/// A tree may be deeper than what is parsed, such as the output of jq.
#[test]
fn a_value_that_is_too_deep_to_be_parsed_is_text() {
    for (levels, is_parsed) in [(120, true), (200, false)] {
        let deep = (0..levels).fold(json!("[{"), |inner, _| json!([inner]));
        let fields: Fields = [("d".to_owned(), deep.clone())].into_iter().collect();
        let made = Document::from(fields);
        let mut put = Document::new();
        put.insert("d", deep.clone());
        for document in [made, put] {
            assert_eq!((document.has_unparsed(), document.is_json()), (!is_parsed, true));
            assert_eq!(document.get("d").is_some(), is_parsed);
            assert_eq!(document.text(), format!(r#"{{"d":{deep}}}"#).as_bytes());
        }
    }
}

#[test]
fn the_sorted_text_is_the_same_for_equal_documents() {
    let texts = [r#"{"b":1.50,"a":1e3,"t":"\ud83d"}"#, r#"{ "t":"\ud83d","a":1000.0,"b":1.5 }"#];
    let [first, second] = texts.map(|text| parsed(text.as_bytes()));
    assert_eq!(first, second);
    assert_eq!(first.sorted_text(), br#"{"a":1000.0,"b":1.5,"t":"\ud83d"}"#);
    assert_eq!(first.sorted_text(), second.sorted_text());
    assert_ne!(first, parsed(br#"{"b":1.5,"a":1e3,"t":"\ud83e"}"#));
}

/// The text of a JSON value in one of many notations.
fn value_text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "1e3",
        "1.50",
        "-0",
        "1E-7",
        "18446744073709551616",
        "9007199254740993",
        "1e400",
        "-1e999",
        r#""\ud83d""#,
        r#""\ud83d\ude00""#,
        r#""\u00fc\/\n\"""#,
        r#""ü😀""#,
        "null",
        "true",
        "[]",
        "{}",
        r#"{"a":1,"a":2}"#,
        r#"{"\u0061":[1 , 2]}"#,
    ]);
    let leaf = prop_oneof![
        odd.prop_map(str::to_owned),
        any::<f64>().prop_map(|n| json!(n).to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        ".{0,8}".prop_map(|text| json!(text).to_string())
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let space = prop::sample::select(vec!["", " ", "\n\t"]);
        let names = prop::sample::select(vec!["a", "b", "c", "d"]);
        let array = prop::collection::vec(inner.clone(), 0..4);
        let object = prop::collection::vec((names, inner), 0..4);
        prop_oneof![
            (array, space.clone()).prop_map(|(values, space)| {
                format!("[{space}{}{space}]", values.join(&format!("{space},")))
            }),
            (object, space).prop_map(|(members, space)| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("{space}\"{name}\"{space}:{value}"))
                    .collect();
                format!("{{{}{space}}}", members.join(","))
            }),
        ]
    })
}

#[derive(Clone, Debug)]
enum Change {
    Insert(&'static str, i64),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    Keep(&'static str),
}

const NAMES: [&str; 6] = ["a", "b", "_ts", "ü", "q\"", ""];

fn change() -> impl Strategy<Value = Change> {
    let name = || prop::sample::select(NAMES.to_vec());
    prop_oneof![
        (name(), any::<i64>()).prop_map(|(name, value)| Change::Insert(name, value)),
        name().prop_map(Change::Remove),
        (name(), name()).prop_map(|(from, to)| Change::Rename(from, to)),
        name().prop_map(Change::Keep),
    ]
}

/// An object with members of these names, which may repeat, in one of two notations.
fn object() -> impl Strategy<Value = String> {
    let member = (prop::sample::select(NAMES.to_vec()), any::<bool>(), value_text());
    prop::collection::vec(member, 0..8).prop_map(|members| {
        let name = |name: &str, is_escaped: bool| {
            let escape = |c: char| format!("\\u{:04x}", u32::from(c));
            if is_escaped {
                format!("\"{}\"", name.chars().map(escape).collect::<String>())
            } else {
                json!(name).to_string()
            }
        };
        let members: Vec<_> = members
            .iter()
            .map(|(text, is_escaped, value)| format!("{}:{value}", name(text, *is_escaped)))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// What a tree holds after the same changes. A member that cannot be parsed is not in it.
fn changed_tree(tree: &mut Fields, document: &Document, change: &Change) {
    match change {
        Change::Insert(name, value) => drop(tree.insert((*name).to_owned(), json!(value))),
        Change::Remove(name) => drop(tree.remove(*name)),
        Change::Rename(from, to) => {
            if !document.is_unparsed(from)
                && let Some(value) = tree.remove(*from)
            {
                tree.insert((*to).to_owned(), value);
            }
        }
        Change::Keep(name) => tree.retain(|found, _| found == name),
    }
}

proptest! {
    /// After any changes, the text is that of the tree with the same changes, as far as it can be parsed, and
    /// what cannot be is there as it was read.
    #[test]
    fn text_and_tree_are_changed_alike(
        text in object(), changes in prop::collection::vec(change(), 0..6),
    ) {
        let mut document = parsed(text.as_bytes());
        let mut tree = document.fields();
        for change in &changes {
            changed_tree(&mut tree, &document, change);
            match change {
                Change::Insert(name, value) => document.insert(name, *value),
                Change::Remove(name) => drop(document.remove(name)),
                Change::Rename(from, to) => {
                    if !document.is_unparsed(from)
                        && let Some(value) = document.remove_text(from)
                    {
                        document.insert_text(to, &value);
                    }
                }
                Change::Keep(name) => document.retain(|found| found == Some(name)),
            }
            prop_assert_eq!(&document.fields(), &tree);
            for name in NAMES {
                prop_assert_eq!(document.get(name), tree.get(name).cloned());
            }
            let written = document.text();
            let read = parsed(&written);
            prop_assert_eq!(&read, &document);
            prop_assert!(document_bytes(&document) >= written.len());
            let unparsed: Vec<_> = document.unparsed_members().collect();
            let is_read = |value: &[u8]| text.as_bytes().windows(value.len()).any(|part| part == value);
            let are_as_read = unparsed.iter().all(|(_, value)| is_read(value));
            prop_assert!(are_as_read);
        }
    }

    /// A tree of the whole text holds what the members hold.
    #[test]
    fn members_are_those_of_the_parser(text in object()) {
        if let Ok(tree) = serde_json::from_str::<Fields>(&text) {
            let document = parsed(text.as_bytes());
            prop_assert!(!document.has_unparsed() && document.is_json());
            prop_assert_eq!(document.fields(), tree);
        }
    }

    /// An untouched document is written byte for byte, without the members that are left out.
    #[test]
    fn an_untouched_document_is_written_byte_for_byte(
        members in prop::collection::btree_map("[a-z]{1,3}", value_text(), 0..8), at in 0..9_usize,
    ) {
        let mut members: Vec<_> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let user = format!("{{{}}}", members.join(","));
        prop_assert_eq!(parsed(user.as_bytes()).text(), user.as_bytes());
        members.insert(at.min(members.len()), r#""_ts":5"#.to_owned());
        members.insert(at.min(members.len()), r#""_etag":"\"x\"""#.to_owned());
        let mut stored = parsed(format!("{{{}}}", members.join(",")).as_bytes());
        stored.retain(|name| name.is_none_or(|name| !name.starts_with('_')));
        prop_assert_eq!(stored.text(), user.as_bytes());
    }

    /// No text makes a document that is written as something else when it is read again.
    #[test]
    fn a_text_is_read_back_as_it_was_written(bytes in prop::collection::vec(prop_oneof![
        prop::sample::select(br#"{}[]":,\ 1eud8"#.to_vec()), any::<u8>()], 0..40)) {
        let text = [br#"{"a":1,"b":"#, &bytes[..], b"}"].concat();
        if let Ok(document) = Document::parse(&text) {
            let written = document.text();
            prop_assert_eq!(&parsed(&written), &document);
            prop_assert_eq!(serde_json::from_slice::<Value>(&written).is_ok(), !document.has_unparsed());
        }
    }
}
