//! Compares expressions with jq 1.6, the package of Debian 12.
//!
//! `expressions.txt` has one expression per line, `documents.jsonl` the documents that each is run over, and
//! `differences.txt` the expressions whose results differ, each with the section of `docs/jq.md` that says why.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use cosmos_bridge_sink::Fields;
use jaq_json::{Num, Val};
use serde_json::{Value, json};

use super::super::{Expression, of_document, to_json};

const DOCUMENTS: &str = include_str!("documents.jsonl");
const EXPRESSIONS: &str = include_str!("expressions.txt");
const DIFFERENCES: &str = include_str!("differences.txt");
const PAGE: &str = include_str!("../../../docs/jq.md");

/// What an expression does: that it is refused, or for each document its outputs, and `{"e":1}` last if
/// it fails.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Outputs(Vec<Value>),
}

/// One per line, with their keys in the order that the bridge's documents have.
fn documents() -> Vec<String> {
    let sorted =
        |line| serde_json::from_str::<Fields>(line).map(Value::Object).unwrap().to_string();
    DOCUMENTS.lines().map(sorted).collect()
}

fn jq(expression: &str) -> Outcome {
    let program = format!("[try (({expression}) | {{o: .}}) catch {{e: 1}}]");
    let mut jq = Command::new("jq")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("install the Debian package `jq`");
    // An expression that does not compile reads nothing.
    drop(jq.stdin.take().unwrap().write_all(documents().join("\n").as_bytes()));
    let output = jq.wait_with_output().unwrap();
    if output.status.code() == Some(3) {
        return Outcome::Refused;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    Outcome::Outputs(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn ours(expression: &str) -> Outcome {
    let Ok(compiled) = Expression::compile(expression) else { return Outcome::Refused };
    let run = |line: &str| {
        let document: Fields = serde_json::from_str(line).unwrap();
        let mut found = Vec::new();
        let ended = compiled.run(of_document(&document).unwrap(), |outputs| {
            for output in outputs {
                found.push(json!({"o": shown(&output?)}));
            }
            Ok(())
        });
        if ended.is_err() {
            found.push(json!({"e": 1}));
        }
        Value::Array(found)
    };
    Outcome::Outputs(DOCUMENTS.lines().map(run).collect())
}

/// A value as jq prints it, which has no other way to show what is not finite.
fn shown(value: &Val) -> Value {
    match value {
        Val::Num(Num::Float(number)) if number.is_nan() => Value::Null,
        Val::Num(Num::Float(number)) if number.is_infinite() => {
            json!(number.clamp(f64::MIN, f64::MAX))
        }
        Val::Arr(values) => values.iter().map(shown).collect(),
        Val::Obj(entries) => {
            let name = |name: &Val| match name {
                Val::TStr(name) => String::from_utf8_lossy(name).into_owned(),
                other => format!("{other:?}"),
            };
            entries.iter().map(|(key, value)| (name(key), shown(value))).collect()
        }
        other => to_json(other).unwrap_or_else(Value::String),
    }
}

/// With all numbers as doubles, which jq has only.
fn as_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.iter().map(as_doubles).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), as_doubles(value))).collect()
        }
        other => other.clone(),
    }
}

fn is_same(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (Outcome::Outputs(one), Outcome::Outputs(other)) => {
            one.iter().map(as_doubles).eq(other.iter().map(as_doubles))
        }
        _ => one == other,
    }
}

/// The differences, by expression, with the heading that explains each.
fn listed() -> BTreeMap<&'static str, &'static str> {
    let mut heading = "";
    let mut all = BTreeMap::new();
    for line in DIFFERENCES.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("## ") {
            Some(text) => heading = text,
            None => drop(all.insert(line, heading)),
        }
    }
    all
}

#[test]
fn expressions_do_what_jq_does_or_differ_as_documented() {
    let version = Command::new("jq").arg("--version").output().expect("install the package `jq`");
    assert_eq!(String::from_utf8_lossy(&version.stdout).trim(), "jq-1.6");
    let mut listed = listed();
    let mut wrong = Vec::new();
    let all: Vec<_> = EXPRESSIONS.lines().collect();
    let parts = all.chunks(all.len().div_ceil(4));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let run = |part: &[&'static str]| {
            let part = part.to_vec();
            scope.spawn(move || part.into_iter().map(|e| (e, jq(e), ours(e))).collect::<Vec<_>>())
        };
        let threads: Vec<_> = parts.map(run).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for (expression, theirs, ours) in outcomes {
        let known = listed.remove(expression);
        match (is_same(&theirs, &ours), known) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(_)) => wrong.push(format!("no difference any more: {expression}")),
            (false, None) => {
                wrong.push(format!("{expression}\n  jq:   {theirs:?}\n  ours: {ours:?}"));
            }
        }
    }
    wrong.extend(listed.keys().map(|unused| format!("not in the list of expressions: {unused}")));
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_kind_of_difference_is_in_the_page() {
    for heading in DIFFERENCES.lines().filter(|line| line.starts_with("## ")) {
        assert!(PAGE.contains(heading), "{heading}");
    }
}
