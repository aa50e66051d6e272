//! Awkward documents arrive exactly as `docs/values.md` promises.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};

use crate::support::evidence::sorted;
use crate::support::{Bridge, Pair};

/// The fixtures, and the exact pieces of text that their copies must contain.
#[rustfmt::skip]
const FIXTURES: [(&str, &[&str]); 7] = [
    (include_str!("../fixtures/documents/integers.json"), &[
        "[9007199254740991,-9007199254740991]", "[9007199254740993,-9007199254740993]",
        "[9223372036854775807,-9223372036854775808,18446744073709551615]", "1234567890123456789",
    ]),
    (include_str!("../fixtures/documents/floats.json"), &[
        "[0.30000000000000004,123456789012345.67,1.3436424411240121e-145,2.2250738585072014e-308]",
        "5e-324", "1.7976931348623157e+308", "[1.0,-2.0,100.0]", "\"negativeZero\":-0.0", ":19.99",
    ]),
    (include_str!("../fixtures/documents/text.json"), &[
        "tab \\t newline \\n return \\r bell \\u0007 null \\u0000\"", "\"😀 is 😀\"",
        "\"\u{2028}\u{2029}\"", "\"Zoë Ñandú 東京 Привет עברית\"", "\"e\u{301} is not é\"",
        "\"<b>&amp;</b>\"", "backslash \\\\ slash / tab", "\"007\"",
    ]),
    (include_str!("../fixtures/documents/empty.json"), &[
        "[[],[[]],{},[{}],null,[null,null]]", "\"list\":[]", "\"object\":{}", "\"nothing\":null",
    ]),
    (include_str!("../fixtures/documents/deep.json"), &["\"bottom\""]),
    (include_str!("../fixtures/documents/names.json"), &[
        "\"\":\"empty name\"", "\"a/b\":", "\"\\\"quoted\\\"\":", "\"Ünïcode 😀\":", "\"_mine\":",
        "\"_lsn\":\"the user's, too\"",
        "{\"_etag\":\"the user's, being nested\",\"_ts\":1,\"id\":5}",
    ]),
    (include_str!("../fixtures/documents/odd-id.json"), &["\" ü 東京 😀 %2F & = + ' \\\" <> | * : ; , . \""]),
];

fn one_line(text: &str) -> String {
    text.replace('\n', " ") + "\n"
}

/// A document as it was read, without spaces before its first member and after its last.
fn members_of(text: &str) -> String {
    let line = one_line(text);
    let members = line.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap();
    format!("{{{}}}", members.trim())
}

/// The stored texts of the copies, by id.
fn texts(pair: &Pair) -> Vec<(Value, String)> {
    let lines = pair.accounts.documents("target", "shop", "copies").unwrap();
    let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["id"].clone();
    lines.into_iter().map(|line| (id(&line), line)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_arrives_to_the_letter() {
    // Single writes, batches, and batches whose partition key is computed from the document.
    let table = [
        ("batch_changes = 1", "/region", ""),
        ("", "/region", ""),
        ("", "/id", "partition_key = [\"/id\"]"),
        ("", "/region", "jq = \".\""),
    ];
    for (sink, key, route) in table {
        let source = ContainerSettings::new(&["/region"], 1);
        let pair = Pair::start(&source, &ContainerSettings::new(&[key], 2)).await;
        pair.seed(&FIXTURES.iter().map(|(text, _)| one_line(text)).collect::<String>());
        let config = pair.configure(sink, "", "", route);
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert_eq!(pair.letters(), []);
        assert!(pair.is_equal(), "{}", ended.log);
        let texts = texts(&pair);
        for (read, parts) in FIXTURES {
            let fixture: Value = serde_json::from_str(read).unwrap();
            let (_, text) = texts.iter().find(|(id, _)| *id == fixture["id"]).unwrap();
            if !route.starts_with("jq") {
                // Of a document that is so deep, the spaces between its members are not kept.
                let shown = |text: &str| match fixture["id"].as_str() {
                    Some("deep") => text.replace(' ', ""),
                    _ => text.to_owned(),
                };
                assert_eq!(shown(text), shown(&members_of(read)), "{sink} {route}");
                continue;
            }
            assert_eq!(*text, fixture.to_string());
            for part in parts {
                assert!(text.contains(part), "{part} is not in {text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ids_are_written_one_by_one_and_in_batches() {
    let ids = [
        "ü",
        "東京",
        "😀",
        "a b",
        " lead",
        "trail ",
        "%2F",
        "a&b=c+d",
        "'\"<>|*:;,",
        "é",
        "e\u{301}",
    ];
    for sink in ["batch_changes = 1", ""] {
        for write in ["upsert", "insert-if-absent", "replace-if-present"] {
            let pair = Pair::alike().await;
            let line = |id: &str, n: u32| json!({"id": id, "region": id, "n": n}).to_string();
            let old: Vec<_> = ids.iter().map(|id| line(id, 0)).collect();
            let new: Vec<_> = ids.iter().map(|id| line(id, 1)).collect();
            if write != "insert-if-absent" {
                pair.accounts.seed("target", "shop", "copies", &old.join("\n")).unwrap();
            }
            pair.seed(&new.join("\n"));
            let config = pair.configure(&format!("{sink}\nwrite = \"{write}\""), "", "", "");
            let ended = Bridge::catch_up(&config).await;
            assert_eq!(ended.code(), Some(0), "{}", ended.log);
            assert_eq!(pair.letters(), [], "{write}");
            assert_eq!(pair.copies(), sorted(&new), "{write}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_lead_to_their_documents() {
    let keys = [
        json!("text"),
        json!("ü東京😀"),
        json!(""),
        json!(7),
        json!(-0.5),
        json!(1e300),
        json!(true),
        json!(false),
        Value::Null,
    ];
    for sink in ["batch_changes = 1", ""] {
        let source = ContainerSettings::new(&["/key"], 2);
        let target = ContainerSettings::new(&["/a/b", "/key", "/region"], 2);
        let pair = Pair::start(&source, &target).await;
        let documents = keys.iter().enumerate().flat_map(|(n, key)| {
            (0..3).map(move |part| {
                json!({"id": format!("d{n}-{part}"), "key": key, "a": {"b": key}, "region": null})
            })
        });
        pair.seed(&documents.map(|document| document.to_string() + "\n").collect::<String>());
        let route = "partition_key = [\"/a/b\", \"/key\", \"/region\"]";
        let config = pair.configure(sink, "", "", route);
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert_eq!(pair.letters(), []);
        assert!(pair.is_equal(), "{}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_its_key_is_read_and_a_target_without_its_key_is_refused() {
    let source = ContainerSettings::new(&["/key"], 1);
    let target = ContainerSettings::new(&["/region", "/city"], 1);
    let pair = Pair::start(&source, &target).await;
    let lines = [
        json!({"id": "a", "region": "r", "city": "c"}),
        json!({"id": "b", "key": null, "region": "r", "city": null}),
        json!({"id": "c", "key": "k", "region": "r"}),
        json!({"id": "d", "key": "k", "region": null, "city": null}),
    ];
    pair.seed(&lines.iter().map(|line| line.to_string() + "\n").collect::<String>());
    let config = pair.configure("", "", "", "partition_key = [\"/region\", \"/city\"]");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let expected = [&lines[0], &lines[1], &lines[3]].map(ToString::to_string);
    assert_eq!(pair.copies(), sorted(&expected));
    let letters = pair.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.stage.as_str(), letter.source_id.as_str()), ("route", "c"));
    assert!(letter.cause.contains("/city"), "{}", letter.cause);
}
