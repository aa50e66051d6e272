//! Every message about a configuration. Each file in `messages/` contains one or a few mistakes; the snapshot of
//! the same name is the exact message. A new file is a new case, which fails until its snapshot is reviewed.

use std::path::{Path, PathBuf};

use cosmos_bridge::config::{load, parse};
use proptest::prelude::*;

use crate::mutations::PIECES;

pub(crate) const EXAMPLE: &str = include_str!("../../config.toml.example");

/// A 64-byte key in base64, as the service has them. No message may contain it.
const KEY: &str =
    "S0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZS0VZSw==";

/// A folder with the files that the cases name.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("key", KEY.to_owned()),
        ("cosmos-bridge.db", KEY.to_owned()),
        ("empty.key", "\n".to_owned()),
        ("not-base64.key", "?".to_owned()),
        ("connection", format!("AccountEndpoint=https://a.example:443/;AccountKey={KEY};")),
        ("connection-without-key", "AccountEndpoint=https://a.example:443/;".to_owned()),
        ("connection-without-endpoint", format!("AccountKey={KEY};")),
        ("no-uri", format!("broker.example/{KEY}")),
        ("plain-uri", format!("amqp://bridge:{}@broker.example/%2f", KEY.replace('/', "%2F"))),
        ("slash-uri", format!("amqp://bridge:{KEY}/@broker.example/%2f")),
        (
            "namespace",
            format!("Endpoint=sb://ns.example/;SharedAccessKeyName=k;SharedAccessKey={KEY}"),
        ),
        (
            "hub",
            format!(
                "Endpoint=sb://ns.example/;SharedAccessKeyName=k;SharedAccessKey={KEY};EntityPath=orders"
            ),
        ),
        ("two-lines", format!("{KEY}\n{KEY}")),
        ("connection-with-http", format!("AccountEndpoint=http://a.example/;AccountKey={KEY};")),
    ];
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    dir
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/messages");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut cases: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_mistake_has_its_message() {
    let dir = folder();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("messages/snapshots");
    let cases = cases();
    assert!(cases.len() >= 36, "{} cases", cases.len());
    settings.bind(|| {
        for path in cases {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let problems = parse("config.toml", &text, dir.path())
                .expect_err(&format!("{name} has no mistake"))
                .to_string();
            assert!(!problems.contains("S0VZ"), "{name} shows the key:\n{problems}");
            insta::assert_snapshot!(name, problems);
        }
    });
}

#[test]
fn no_snapshot_outlives_its_case() {
    let names: Vec<_> = cases().iter().map(|path| path.file_stem().unwrap().to_owned()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/messages/snapshots");
    for snapshot in std::fs::read_dir(folder).unwrap() {
        let snapshot = snapshot.unwrap().path();
        if snapshot.extension().is_none_or(|extension| extension != "snap") {
            continue; // not reviewed yet
        }
        let name = snapshot.file_stem().unwrap().to_owned();
        assert!(names.contains(&name), "{} has no case", snapshot.display());
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problems = load(Path::new("no/such/config.toml")).unwrap_err().to_string();
    let expected = "no/such/config.toml: 1 problem\n\
        \n    the file cannot be read: No such file or directory (os error 2)\
        \n    hint: Start from config.toml.example.\n";
    assert_eq!(problems, expected);
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let dir = folder();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    let problems = load(&file).unwrap_err();
    assert_eq!(problems.problems[0].message, "the file is not text in UTF-8");
    std::fs::write(&file, b"a = 1\n\n# \xff\n").unwrap();
    assert_eq!(load(&file).unwrap_err().problems[0].line, Some(3));
    std::fs::write(&file, "#".repeat(2 * 1024 * 1024)).unwrap();
    let problems = load(&file).unwrap_err();
    assert_eq!(problems.problems[0].message, "the file is too long");
}

/// An edit of a text: one piece is replaced by another.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, String)>> {
    let pieces = prop::sample::select(PIECES.to_vec());
    let pieces = prop_oneof![3 => pieces.prop_map(str::to_owned), 1 => ".{0,4}"];
    prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, pieces), 1..6)
}

/// The example with every commented option uncommented.
pub(crate) fn everything() -> String {
    let lines = EXAMPLE.lines().map(|line| line.trim_start_matches("## ").trim_start_matches("# "));
    lines
        .filter(|line| line.contains(" = ") || line.starts_with('['))
        .collect::<Vec<_>>()
        .join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_edit_makes_reading_panic(all in any::<bool>(), edits in edits()) {
        let text = if all { everything() } else { EXAMPLE.to_owned() };
        let mut text: Vec<char> = text.chars().collect();
        for (at, length, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = text.len().min(at + length);
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse("config.toml", &text, Path::new(".")) {
            prop_assert!(!problems.problems.is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }
}
