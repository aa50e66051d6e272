//! The definitions of a small table, read from text.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::*;

options! {
    /// A queue of Acme.
    struct Queue {
        /// Where it is.
        address: String = required("Write <table>.address."), text();
        /// Longest wait.
        timeout: Duration = "5s", duration(Duration::ZERO..=Duration::from_mins(1));
        tls: Option<Tls> = optional, table();
        login: Option<Login> = optional, table();
        common: Common = flatten;
    }
    rules(table) {
        if let (Some(true), Some(tls)) = (common.as_ref().map(|common| common.plain), table.get("tls")) {
            tls.problem_unshown("plain and tls contradict each other", "");
        }
    }
}

options! {
    struct Tls {
        key: SecretRef = required("Write it."), secret();
    }
}

options! {
    struct Common {
        plain: bool = false, boolean();
        /// A keyword of Rust.
        filter as "where": Vec<usize> = [], list(integer(1..=9)), example [1];
    }
}

variants! {
    /// Who logs in.
    enum Login by "type" if_missing("Write \"user\".") {
        "user" => User(User),
        "guest" => Guest(Guest),
    }
}

options! {
    struct User {
        name: String = "guest", text();
    }
}

options! {
    struct Guest {}
}

fn read(text: &str) -> Result<Queue, Vec<String>> {
    let node = DeValue::Table(DeTable::parse(text).unwrap().into_inner());
    let file = ConfigText::new(text, Path::new("."), BTreeMap::new());
    let queue = Kind::read(&table::<Queue>(), &Value::root(&file, &node));
    let problems = file.into_problems();
    let shown = |problem: &Problem| format!("{}: {}", problem.key, problem.message);
    if problems.is_empty() { Ok(queue.unwrap()) } else { Err(problems.iter().map(shown).collect()) }
}

#[test]
fn what_is_not_written_has_its_default() {
    let queue = read("address = \"a\"").unwrap();
    let common = Common { plain: false, filter: Vec::new() };
    let timeout = Duration::from_secs(5);
    let expected = Queue { address: "a".to_owned(), timeout, tls: None, login: None, common };
    assert_eq!(queue, expected);
}

#[test]
fn every_problem_is_reported() {
    let text =
        "timeout = \"2m\"\nplain = true\nwhere = [1]\ntls = { keyy = 1 }\nlogin = { name = 1 }";
    let expected = [
        "address: this is missing",
        "timeout: the value is too large",
        "tls: plain and tls contradict each other",
        "tls.keyy: unknown key",
        "login.type: this is missing",
    ];
    let mut problems = read(text).unwrap_err();
    problems.sort();
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(problems, expected);
}

#[test]
fn a_problem_has_the_line_of_what_is_written() {
    let text = "timeout = \"2m\"\n\nplain = 1\nlogin = { type = \"host\" }";
    let node = DeValue::Table(DeTable::parse(text).unwrap().into_inner());
    let file = ConfigText::new(text, Path::new("."), BTreeMap::new());
    Kind::read(&table::<Queue>(), &Value::root(&file, &node));
    let problems = file.into_problems();
    let mut lines: Vec<_> = problems.iter().map(|one| (one.key.as_str(), one.line)).collect();
    lines.sort_unstable();
    let expected =
        [("address", None), ("login.type", Some(4)), ("plain", Some(3)), ("timeout", Some(1))];
    assert_eq!(lines, expected);
    for (count, first) in [(1, "x.toml: 1 problem\n"), (4, "x.toml: 4 problems\n")] {
        let problems = problems[..count].to_vec();
        let shown = Problems { name: "x.toml".to_owned(), problems }.to_string();
        assert!(shown.starts_with(first), "{shown}");
    }
}

#[test]
fn a_path_names_properties_and_no_elements_of_arrays() {
    let cases = [
        ("/a", true),
        ("/a/b", true),
        ("/a*/*b", true),
        ("/\"*\"", true),
        ("/a/\"*\"/b", true),
        ("/*", false),
        ("/a/*/b", false),
        ("a", false),
        ("/_etag", false),
        ("/a/_etag", true),
    ];
    for (path, is_accepted) in cases {
        let text = format!("path = '{path}'");
        let node = DeValue::Table(DeTable::parse(&text).unwrap().into_inner());
        let file = ConfigText::new(&text, Path::new("."), BTreeMap::new());
        let read = read_path(&Value::root(&file, &node).at("path").unwrap());
        assert_eq!(read.is_some(), is_accepted, "{path}");
        assert_eq!(read.is_none(), !file.into_problems().is_empty(), "{path}");
    }
}

#[test]
fn differences_are_dotted_paths() {
    let one = read("address = \"a\"\nlogin = { type = \"user\" }").unwrap();
    let other = read(
        "address = \"b\"\ntimeout = \"6s\"\nwhere = [1]\ntls.key.env = \"K\"\nlogin = { type = \"user\", \
         name = \"x\" }",
    );
    let other = other.unwrap();
    let expected = ["address", "timeout", "tls", "login.name", "where"];
    assert_eq!(one.differences(&other), expected);
    let guest = read("address = \"a\"\nlogin = { type = \"guest\" }").unwrap();
    assert_eq!(one.differences(&guest), ["login.type"]);
}

#[test]
fn secrets_are_found_with_their_options() {
    let text = "[q]\naddress = \"a\"\ntls = { key = { env = \"KEY\" } }";
    let node = DeValue::Table(DeTable::parse(text).unwrap().into_inner());
    let file = ConfigText::new(text, Path::new("."), BTreeMap::new());
    table::<Queue>().read(&Value::root(&file, &node).at("q").unwrap()).unwrap();
    let key = SecretRef::Local(LocalSecret::Env("KEY".to_owned()));
    assert_eq!(file.resources_below("q").secrets, [("tls.key".to_owned(), key)]);
    assert_eq!(file.resources_below("r"), Resources::default());
}

#[test]
fn the_schema_says_the_same() {
    let schema = Queue::form().file_schema("queue");
    assert_eq!(schema["required"], serde_json::json!(["address"]));
    assert_eq!(schema["properties"]["timeout"]["default"], "5s");
    assert_eq!(schema["properties"]["timeout"]["description"], "Longest wait.");
    assert_eq!(schema["properties"]["where"]["examples"], serde_json::json!([[1]]));
    let tags = &schema["properties"]["login"]["oneOf"];
    assert_eq!(tags[0]["properties"]["type"]["const"], "user");
    assert_eq!(schema["$defs"]["secret"]["oneOf"][0]["required"][0], "file");
}
