//! Texts that no output may contain: secrets and the contents of documents. All output of a bridge is searched for
//! them, in every encoding in which they could get there.
//!
//! The secrets are those that the configuration references, read each time a bridge starts or ends. The contents
//! are those of the documents that [`super::Pair::seed`] writes: texts of several words, and texts with the
//! word `planted`, ids included.
#![expect(clippy::string_slice, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A field of a document whose text may appear in the target only.
pub(crate) const NOTE: &str = "\"note\":\"planted: private\"";

/// Shorter texts could appear by chance.
const SHORTEST: usize = 8;

/// The length of the beginning of a document's text that is searched for, in characters.
const BEGIN: usize = 64;

/// Planted texts per folder of a test. More would find nothing more, and the search would take longer.
const MOST_TEXTS: usize = 500;

/// How tokens, and signatures made with a key, begin.
const PROOFS: [(&str, &str); 4] = [
    ("a token", "eyJ0eXAiOiJ"),
    ("a token", "eyJhbGciOiJ"),
    ("a signature", "type=master&ver="),
    ("a signature", "SharedAccessSignature sr="),
];

/// The texts that the bridges of this process must not print.
struct Planted {
    /// The description of each text.
    texts: BTreeMap<String, String>,
    /// The number of document texts that each test has planted, by its folder.
    counts: BTreeMap<PathBuf, usize>,
}

static PLANTED: Mutex<Planted> =
    Mutex::new(Planted { texts: BTreeMap::new(), counts: BTreeMap::new() });

fn planted() -> MutexGuard<'static, Planted> {
    PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a text that no output of a bridge may contain from now on.
pub(crate) fn plant(what: &str, text: &str) {
    assert!(text.len() >= SHORTEST, "{what} is too short to be recognised: plant a longer one");
    planted().texts.entry(text.to_owned()).or_insert_with(|| what.to_owned());
}

/// Plants every secret that a configuration references and that can be read now.
pub(crate) fn plant_secrets(config: &Path, environment: &[(String, String)]) {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let Ok(table) = text.parse::<toml::Table>() else { return };
    let mut references = Vec::new();
    for (name, value) in &table {
        // The state file is not a secret.
        if name != "state" {
            collect_references(name, value, &mut references);
        }
    }
    for (place, kind, name) in references {
        let secret = if kind == "file" {
            std::fs::read_to_string(config.with_file_name(name)).ok()
        } else {
            environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        let secret = secret.unwrap_or_default();
        let secret = secret.trim();
        if !secret.is_empty() {
            parts(secret).for_each(|part| plant(&format!("the secret of {place}"), part));
        }
    }
}

/// Finds `{ file = ".." }` and `{ env = ".." }`: the path of the option, which of both, and the name in it.
fn collect_references<'t>(
    place: &str,
    value: &'t toml::Value,
    found: &mut Vec<(String, &'t str, &'t str)>,
) {
    match value {
        toml::Value::Table(table) => {
            let mut entries = table.iter();
            match (entries.next(), entries.next()) {
                (Some((kind, toml::Value::String(name))), None)
                    if kind == "file" || kind == "env" =>
                {
                    found.push((place.to_owned(), kind.as_str(), name.as_str()));
                }
                _ => {
                    for (key, value) in table {
                        collect_references(&format!("{place}.{key}"), value, found);
                    }
                }
            }
        }
        toml::Value::Array(values) => {
            for value in values {
                collect_references(place, value, found);
            }
        }
        _ => {}
    }
}

/// A secret and its parts that are secrets themselves: lines of a key, keys of a connection string, the password
/// and the query values of an address.
fn parts(secret: &str) -> impl Iterator<Item = &str> {
    let lines = secret.lines().filter(|line| secret.contains('\n') && line.len() > 40);
    let keys = secret.split(';').filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.ends_with("Key")).then_some(value)
    });
    let password = secret
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@')?.0.split_once(':'))
        .map(|(_, password)| password);
    let query = secret.split_once('?').map_or("", |(_, query)| query).split('&');
    let query = query.filter_map(|pair| Some(pair.split_once('=')?.1));
    [secret].into_iter().chain(lines).chain(keys).chain(password).chain(query)
}

/// Plants the texts of these documents, one JSON object on each line, for the test with this folder.
pub(crate) fn plant_documents(folder: &Path, lines: &str) {
    for line in lines.lines() {
        let mut planted = planted();
        let Planted { texts, counts } = &mut *planted;
        let count = counts.entry(folder.to_owned()).or_default();
        if *count > MOST_TEXTS {
            return;
        }
        if let Ok(document) = serde_json::from_str::<Value>(line) {
            let before = texts.len();
            plant_texts(&document, texts);
            *count += texts.len() - before;
        }
    }
}

fn plant_texts(value: &Value, texts: &mut BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            let is_prose = text.contains(' ') && text.len() >= 12;
            if is_prose || (text.contains("planted") && text.len() >= SHORTEST) {
                let begin = text.chars().take(BEGIN).collect();
                texts.entry(begin).or_insert_with(|| "a text of a document".to_owned());
            }
        }
        Value::Array(values) => {
            for value in values {
                plant_texts(value, texts);
            }
        }
        Value::Object(fields) => {
            for value in fields.values() {
                plant_texts(value, texts);
            }
        }
        _ => {}
    }
}

/// Fails if the output of a bridge contains a planted text.
pub(crate) fn search(place: &str, output: &str) {
    let found = find(output);
    assert!(found.is_empty(), "{place} contains planted texts:\n{}", found.join("\n"));
}

/// The planted texts in an output, each with the beginning of the first line that has it, up to the text.
pub(crate) fn find(output: &str) -> Vec<String> {
    let mut spelled = Vec::new();
    let mut meanings = Vec::new();
    let texts = planted().texts.clone();
    let texts = texts.iter().map(|(text, what)| (what.as_str(), text.as_str())).chain(PROOFS);
    for (what, text) in texts {
        for (spelling, text) in spellings(text) {
            spelled.push(text);
            meanings.push((what.to_owned(), spelling));
        }
    }
    let searcher = AhoCorasick::new(&spelled).unwrap();
    let decoded = percent_decode_str(output).decode_utf8_lossy();
    let mut found = BTreeMap::new();
    for (encoding, output) in [("", output), ("percent-encoded ", decoded.as_ref())] {
        for hit in searcher.find_overlapping_iter(output) {
            let (what, spelling) = &meanings[hit.pattern().as_usize()];
            found.entry(what.clone()).or_insert_with(|| {
                let before = &output[..hit.start()];
                let line = before.lines().count().max(1);
                let begin = before.rsplit('\n').next().unwrap_or_default();
                let begin: String = begin.chars().take(80).collect();
                format!("  {encoding}{spelling}: {what}, in line {line}: {begin}...")
            });
        }
    }
    found.into_values().collect()
}

/// The encodings of a text that are searched for. Percent-encoding is decoded before the search.
fn spellings(text: &str) -> Vec<(&'static str, String)> {
    let escaped = |text: &str| {
        let quoted = serde_json::to_string(text).unwrap();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let once = escaped(text);
    let bytes = format!("{:?}", text.as_bytes());
    let mut all = vec![
        ("plain", text.to_owned()),
        ("escaped twice", escaped(&once)),
        ("escaped", once),
        ("in bytes", bytes[1..bytes.len() - 1].to_owned()),
    ];
    // In base64 of a longer text, it begins at one of three offsets within a group.
    for alphabet in [alphabet::STANDARD, alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(&alphabet, NO_PAD);
        for (offset, begin) in [(0, 0), (1, 2), (2, 3)] {
            let bytes = [&vec![0; offset], text.as_bytes()].concat();
            let encoded = engine.encode(&bytes);
            // The last character may contain bits of the following text.
            all.push(("in base64", encoded[begin..bytes.len() * 8 / 6].to_owned()));
        }
    }
    all
}
