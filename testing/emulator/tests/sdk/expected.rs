//! What the service's documentation says the answers are, so that the clients cannot agree on
//! something wrong.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::compare::{canonical, differences};
use crate::feed::by_key;

const POINTS: [(&str, u16); 16] = [
    ("create", 201),
    ("create again", 409),
    ("read", 200),
    ("read nothing", 404),
    ("read under another key", 404),
    ("upsert creates", 201),
    ("upsert replaces", 200),
    ("replace the known version", 200),
    ("replace an old version", 412),
    ("replace nothing", 404),
    ("patch", 200),
    ("patch nothing", 404),
    ("delete an old version", 412),
    ("delete", 204),
    ("delete again", 404),
    ("create once more", 201),
];

/// Panics where a report is not what it must be.
pub(crate) fn check(report: &Value, given: &Value) {
    let points = report["points"].as_array().unwrap().iter();
    let points: Vec<_> = points.map(|step| json!([step[0], step[1]])).collect();
    equal("points", &points.into(), &json!(POINTS));
    let patched = &report["points"][10][2];
    equal(
        "patch",
        patched,
        &json!({"id": "two", "pk": "p", "n": 2, "name": "Zoë", "count": 5,
        "tags": ["a", "b"]}),
    );
    equal("awkward", &report["awkward"], &given["awkward"]);
    equal("batch", &report["batch"], &batch());
    queries(&report["queries"]);
    equal("under a prefix", &report["hierarchical"]["under a prefix"], &json!([1, 2, 3]));
    assert_eq!(report["hierarchical"]["feed"].as_array().unwrap().len(), 6);
    equal("expired", &report["ttl"]["after"][0], &json!(["short", 404]));
    assert_eq!(report["latest"]["ranges"], 4);
    history(&report["versions"]);
    split(&report["split"], given);
}

fn equal(what: &str, found: &Value, wanted: &Value) {
    let (found, wanted) =
        (canonical(found.clone(), &json!({})), canonical(wanted.clone(), &json!({})));
    let different = differences(&found, &wanted);
    assert!(different.is_empty(), "{what}, found and expected: {different:#?}");
}

fn batch() -> Value {
    json!({
        "committed": [201, 201, 200, 200, 201, 204],
        "rolled back": [424, 409, 424],
        "left": [
            ["b1", 200, {"id": "b1", "pk": "b", "n": 2}],
            ["b2", 404],
            ["b3", 200, {"id": "b3", "pk": "b", "n": 1}],
            ["b4", 404],
            ["b5", 404],
        ],
    })
}

fn queries(answers: &Value) {
    let ids = |ids: &[&str]| ids.iter().map(|id| json!({"id": id})).collect::<Value>();
    for (name, wanted) in [
        ("text parameter", ids(&["q02"])),
        ("quote in parameter", ids(&["q08"])),
        ("literal", ids(&["q01", "q06"])),
        ("double quotes", ids(&["q01", "q06"])),
        ("count in a partition", json!([5])),
        ("top", ids(&["q01", "q03"])),
        ("offset", ids(&["q03", "q06"])),
        ("contains", json!(["q01", "q03", "q04", "q06", "q07", "q08"])),
        ("not a query", json!(400)),
    ] {
        equal(name, &answers[name], &wanted);
    }
    let numbers = |name: &str| {
        answers[name].as_array().unwrap().iter().map(|row| row["n"].clone()).collect::<Value>()
    };
    equal("descending", &numbers("descending"), &json!([10, 8, 6, 3, 1]));
    equal(
        "in order",
        &numbers("all partitions in order"),
        &json!([1, 2, 2.25, 3, 4, 5.5, 6, 7, 8, 9, 10]),
    );
    assert_eq!(answers["parameters"].as_array().unwrap().len(), 3);
    assert_eq!(answers["all partitions"].as_array().unwrap().len(), 6);
}

/// All versions and deletes of a few keys.
fn history(versions: &Value) {
    let operations = |key: &str| {
        let changes = versions[key].as_array().unwrap().iter();
        changes.map(|c| json!([c["operation"], c["id"], c["expired"]])).collect::<Value>()
    };
    equal(
        "versions of p",
        &operations("p"),
        &json!([
            ["create", "one", false],
            ["create", "two", false],
            ["replace", "two", false],
            ["replace", "one", false],
            ["replace", "two", false],
            ["delete", "two", false],
            ["create", "two", false],
        ]),
    );
    equal(
        "versions of b",
        &operations("b"),
        &json!([
            ["create", "b1", false],
            ["create", "b2", false],
            ["replace", "b1", false],
            ["create", "b3", false],
            ["delete", "b2", false],
        ]),
    );
    equal(
        "versions of ttl",
        &operations("ttl"),
        &json!([
            ["create", "short", false],
            ["create", "long", false],
            ["create", "always", false],
            ["delete", "short", true],
        ]),
    );
    let deleted = &versions["ttl"][3];
    equal("what expired", &deleted["previous"], &json!({"id": "short", "pk": "ttl", "ttl": 60}));
    assert_eq!(deleted["numbered"], true);
}

/// Every write in its order, and what each feed must show of it.
fn split(report: &Value, given: &Value) {
    let (before, after) = (given["flow_before"].as_array(), given["flow_after"].as_array());
    let writes: Vec<_> = before.unwrap().iter().chain(after.unwrap()).collect();
    let last: BTreeMap<_, _> =
        writes.iter().enumerate().map(|(at, write)| (write["id"].to_string(), at)).collect();
    let pair = |write: &Value| {
        (write["pk"].as_str().unwrap().to_owned(), json!([write["id"], write["n"]]))
    };
    // The first page was read before anything was replaced; later only latest versions are left.
    let latest = writes
        .iter()
        .enumerate()
        .filter(|(at, write)| *at < 7 || last[&write["id"].to_string()] == *at)
        .map(|(_, write)| pair(write));
    equal("latest across a split", &report["latest"], &by_key(latest));
    equal("ranges of a split", &report["ranges"], &json!([1, 2]));
    assert_eq!(report["first page"], 7);

    let mut seen = BTreeMap::new();
    let versions = writes.iter().map(|write| {
        let previous = seen.insert(write["id"].to_string(), (*write).clone());
        let operation = if previous.is_some() { "replace" } else { "create" };
        let change = json!({
            "operation": operation,
            "id": write["id"],
            "expired": false,
            "current": write,
            "previous": previous.unwrap_or_else(|| json!({})),
            "numbered": true,
        });
        (write["pk"].as_str().unwrap().to_owned(), change)
    });
    equal("versions across a split", &report["versions"], &by_key(versions));
}
