//! `config.toml.example` is the file the demo runs, and the manual of every option.

mod definitions;
mod reference;
mod schema;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use cosmos_bridge::config::{Config, Proof, Secret, SecretRef, load, parse};
use cosmos_bridge_options::Need;
use definitions::tables;
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
pub(crate) fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["source.key", "target.key", "SOURCE_KEY", "ADMIN_TOKEN", "TRACES_TOKEN"] {
        std::fs::write(dir.path().join(file), "c2VjcmV0\n").unwrap();
    }
    let connection = "AccountEndpoint=https://other.example/;AccountKey=c2VjcmV0;";
    std::fs::write(dir.path().join("OTHER_CONNECTION_STRING"), connection).unwrap();
    std::fs::write(dir.path().join("config.toml"), FILE).unwrap();
    dir
}

fn read(text: &str, dir: &Path) -> Config {
    parse("config.toml", text, dir).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// A line of the example that names an option.
struct Line {
    /// The path of the table, as in the definitions.
    table: String,
    key: &'static str,
    value: &'static str,
    mark: Mark,
    /// The comment before it; empty without one.
    about: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    /// `key = value`
    Written,
    /// `# key = value`
    Default,
    /// `## key = value`
    Sample,
}

/// Every line that names an option.
fn lines() -> Vec<Line> {
    let (mut lines, mut table, mut comment) = (Vec::new(), String::new(), Vec::new());
    for line in EXAMPLE.lines() {
        let (mark, text) = match (line.strip_prefix("## "), default_line(line)) {
            (Some(text), _) => (Mark::Sample, text),
            (None, Some(_)) => (Mark::Default, line.trim_start_matches("# ")),
            (None, None) => (Mark::Written, line),
        };
        if text.starts_with('[') {
            table = path(text);
            comment.clear();
        } else if let Some((key, value)) = text.split_once(" = ").filter(|_| !text.starts_with('#'))
        {
            let about = comment.drain(..).map(str::trim).collect::<Vec<_>>().join(" ");
            lines.push(Line { table: table.clone(), key, value, mark, about });
        } else if let Some(words) = line.strip_prefix('#') {
            comment.push(words);
        } else {
            comment.clear();
        }
    }
    lines
}

/// `pipelines.NAME.routes[]` of `[[pipelines.orders.routes]]`.
fn path(header: &str) -> String {
    let mut words: Vec<&str> = header.trim_matches(['[', ']']).split('.').collect();
    match words.as_mut_slice() {
        ["sinks", _, name, ..] | ["accounts" | "pipelines" | "credentials", name, ..] => {
            *name = "NAME";
        }
        _ => {}
    }
    words.join(".") + if header.starts_with("[[") { "[]" } else { "" }
}

/// A value as TOML, to compare two spellings of it.
fn toml(value: &str) -> toml::Value {
    let table: toml::Table = format!("value = {value}").parse().unwrap();
    table["value"].clone()
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
        let is_needed = |line: &str| {
            NEEDS
                .iter()
                .any(|(one, other)| key == *one && line.starts_with(&format!("## {other} = ")))
        };
        // Search back to the table's header: a line with the same key is removed.
        let before: Vec<&str> = EXAMPLE.lines().take(at).collect();
        let table = before.iter().rposition(|line| line.starts_with('[')).unwrap();
        uncommented(|other, line| {
            let same_key = line.starts_with(&format!("{key} = "));
            match other {
                _ if other == at => Some(option.to_owned()),
                _ if is_needed(line) => Some(line.trim_start_matches("## ").to_owned()),
                _ if other > table && same_key && in_one_table(table, other) => Some(String::new()),
                _ => None,
            }
        })
    };
    samples.map(variant).collect()
}

/// A sample that is a mistake without another one.
const NEEDS: [(&str, &str); 1] = [("every", "source_field")];

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
    let source = &config.accounts["source"];
    assert_eq!(source.endpoint.as_ref().unwrap().written, "http://127.0.0.1:8081");
    let Some(SecretRef::Local(key)) = &source.key else { panic!("{source:?}") };
    let access = source.access(Some(key.read().unwrap())).unwrap();
    assert_eq!(access.proof, Proof::Key(Secret::new("c2VjcmV0")));
    assert_eq!(config.state.file, dir.path().join("cosmos-bridge.db"));
    assert_eq!((config.traces, read(&EXAMPLE, dir.path()).traces.is_some()), (None, true));
    let route = &config.pipelines["orders"].routes[0];
    let key: Vec<String> = route.partition_key.iter().map(|rule| rule.path.to_string()).collect();
    assert_eq!(key, ["/customer/region", "/customerId"]);
}

#[test]
fn every_default_in_a_comment_is_the_default() {
    let dir = folder();
    let config = read(&EXAMPLE, dir.path());
    let written = uncommented(|_, line| default_line(line));
    assert_eq!(read(&written, dir.path()), config);
    for line in lines() {
        let defined = option(&line).need;
        let place = format!("{} {}", line.table, line.key);
        match (line.mark, defined) {
            (Mark::Default, Need::Default(text)) => {
                assert_eq!(toml(line.value), toml(text), "{place}");
            }
            (Mark::Default, _) => panic!("{place} has no default: write it after ##"),
            (Mark::Written | Mark::Sample, _) => {}
        }
    }
}

/// The definition of the option in a line.
fn option(line: &Line) -> cosmos_bridge_options::OptionForm {
    let table = tables().into_iter().find(|table| table.path == line.table);
    let table = table.unwrap_or_else(|| panic!("no table {}", line.table));
    let option = table.options().into_iter().find(|option| option.name == line.key).cloned();
    option.unwrap_or_else(|| panic!("no option {} in {}", line.key, line.table))
}

#[test]
fn every_option_is_named() {
    let named: BTreeSet<_> = lines().iter().map(|line| (line.table.clone(), line.key)).collect();
    let mut known = 0;
    for table in tables() {
        for option in table.options() {
            known += 1;
            let is_named = named.contains(&(table.path.clone(), option.name));
            assert!(is_named, "not in config.toml.example: {} {}", table.header(), option.name);
        }
    }
    assert!(known > 50, "{known}");
}

#[test]
fn every_option_is_explained_as_it_is_defined() {
    let mut explained = BTreeSet::new();
    for line in lines() {
        let option = option(&line);
        if !line.about.is_empty() && explained.insert((line.table.clone(), line.key)) {
            assert_eq!(line.about, option.doc, "{} {}", line.table, line.key);
        }
    }
    assert!(explained.len() > 50, "{}", explained.len());
}

#[test]
fn every_example_in_a_definition_is_a_line() {
    let lines = lines();
    for table in tables() {
        for option in table.options() {
            let Some(example) = option.example else { continue };
            let of_option = |line: &&Line| line.table == table.path && line.key == option.name;
            let is_shown =
                lines.iter().filter(of_option).any(|line| toml(line.value) == toml(example));
            assert!(
                is_shown,
                "no line of {} {} has the example {example}",
                table.path, option.name
            );
        }
    }
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
