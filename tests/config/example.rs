//! `config.toml.example` is the file the demo runs, and the manual of every option.

#![expect(clippy::unwrap_used, reason = "what fails here is to fail the test")]

mod reference;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use cosmos_bridge::config::{
    AccountCredential, Config, Endpoint, Options, Proof, Secret, SecretRef, load, parse,
    parse_recording,
};
use tempfile::TempDir;

const FILE: &str = include_str!("../../config.toml.example");

/// The file, with the `[traces]` table enabled; the demo has no collector.
static EXAMPLE: LazyLock<String> = LazyLock::new(|| {
    let traces = "[traces]\n# The address";
    let written = FILE.replace(&format!("## {traces}"), traces);
    let endpoint = "endpoint = \"http://127.0.0.1:4318\"";
    written.replace(&format!("## {endpoint}"), endpoint)
});

/// A folder with the files that the example names.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["source.key", "target.key", "SOURCE_KEY", "ADMIN_TOKEN", "TRACES_TOKEN"] {
        std::fs::write(dir.path().join(file), "c2VjcmV0\n").unwrap();
    }
    let connection = "AccountEndpoint=https://other.example/;AccountKey=c2VjcmV0;";
    std::fs::write(dir.path().join("OTHER_CONNECTION_STRING"), connection).unwrap();
    std::fs::write(dir.path().join("config.toml"), FILE).unwrap();
    dir
}

fn read(text: &str, dir: &Path) -> (Config, Options) {
    let (config, options) = parse_recording("config.toml", text, dir);
    (config.unwrap_or_else(|problems| panic!("{problems}\n{text}")), options)
}

/// The example with the lines after a mark uncommented.
fn uncommented(mark: impl Fn(usize, &str) -> Option<String>) -> String {
    let lines = EXAMPLE.lines().enumerate();
    lines.map(|(at, line)| mark(at, line).unwrap_or(line.to_owned()) + "\n").collect()
}

/// The option in a line `# key = value`. Prose never begins with a key and an equals sign.
fn default_line(line: &str) -> Option<String> {
    let option = line.strip_prefix("# ")?;
    let (key, _) = option.split_once(" = ")?;
    let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_key.then(|| option.to_owned())
}

/// One copy of the example per sample, with that sample in place of the line that it contradicts.
fn with_each_sample() -> Vec<String> {
    let samples = EXAMPLE.lines().enumerate().filter(|(_, line)| {
        line.starts_with("## ") && !TABLE.contains(&line.trim_start_matches("## "))
    });
    let variant = |(at, sample): (usize, &str)| {
        let option = sample.trim_start_matches("## ");
        let key = option.split_once(" = ").unwrap().0;
        // Search back to the table's header: a line with the same key is removed.
        let before: Vec<&str> = EXAMPLE.lines().take(at).collect();
        let table = before.iter().rposition(|line| line.starts_with('[')).unwrap();
        uncommented(|other, line| {
            let same_key = line.starts_with(&format!("{key} = "));
            match other {
                _ if other == at => Some(option.to_owned()),
                _ if other > table && same_key && in_one_table(table, other) => Some(String::new()),
                _ => None,
            }
        })
    };
    samples.map(variant).collect()
}

/// Samples that are separate tables.
const TABLE: [&str; 5] = [
    "[accounts.other]",
    "connection_string = { env = \"OTHER_CONNECTION_STRING\" }",
    "[accounts.keyless]",
    "endpoint = \"https://NAME.documents.azure.com\"",
    "credential = \"machine\"",
];

fn with_table(text: &str) -> String {
    TABLE.iter().fold(text.to_owned(), |text, line| text.replace(&format!("## {line}"), line))
}

fn in_one_table(header: usize, line: usize) -> bool {
    !EXAMPLE.lines().take(line).skip(header + 1).any(|line| line.starts_with('['))
}

#[test]
fn the_example_loads() {
    let dir = folder();
    let config =
        load(&dir.path().join("config.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.accounts["source"].endpoint, Endpoint::Url("http://127.0.0.1:8081".into()));
    let AccountCredential::Key(SecretRef::Local(key)) = &config.accounts["source"].credential
    else {
        panic!("{:?}", config.accounts["source"]);
    };
    let access = config.accounts["source"].access(Some(key.read().unwrap())).unwrap();
    assert_eq!(access.proof, Proof::Key(Secret::new("c2VjcmV0")));
    assert_eq!(config.state.file, dir.path().join("cosmos-bridge.db"));
    assert_eq!((config.traces, read(&EXAMPLE, dir.path()).0.traces.is_some()), (None, true));
    let route = &config.pipelines["orders"].routes[0];
    let key: Vec<String> = route.partition_key.iter().map(|rule| rule.path.to_string()).collect();
    assert_eq!(key, ["/customer/region", "/customerId"]);
}

#[test]
fn every_default_in_a_comment_is_the_default() {
    let dir = folder();
    let (config, options) = read(&EXAMPLE, dir.path());
    let written = uncommented(|_, line| default_line(line));
    let (with_defaults, with_defaults_options) = read(&written, dir.path());
    assert_eq!(with_defaults, config);

    let defaults = EXAMPLE.lines().filter_map(default_line).count();
    assert_eq!(with_defaults_options.used.len(), options.used.len() + defaults);
}

#[test]
fn every_option_is_named() {
    let dir = folder();
    let (mut known, mut used) = (BTreeSet::new(), BTreeSet::new());
    let mut texts = vec![uncommented(|_, line| default_line(line)), with_table(&EXAMPLE)];
    texts.extend(with_each_sample());
    for text in texts {
        let (_, options) = parse_recording("config.toml", &text, dir.path());
        known.extend(options.known);
        used.extend(options.used);
    }
    let missing: Vec<_> = known.difference(&used).collect();
    assert!(missing.is_empty(), "not in config.toml.example: {missing:?}");
    assert!(known.len() > 50, "{known:?}");
}

#[test]
fn every_sample_can_be_used() {
    let dir = folder();
    let mut texts = with_each_sample();
    assert!(texts.len() > 15);
    texts.push(with_table(&EXAMPLE));
    for text in texts {
        // A test must not set environment variables, so they become files.
        let text = text.replace("{ env = ", "{ file = ");
        parse("config.toml", &text, dir.path())
            .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    }
}
