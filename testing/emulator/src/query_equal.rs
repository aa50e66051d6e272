//! Queries for some properties of the documents in which one property has one of some texts, and with each text
//! perhaps other properties have some values. An index answers them, as in the service; the vendor's engine would
//! read the whole container each time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::charge;
use crate::container::Container;
use crate::document::Version;
use crate::index::at;
use crate::query_plan::{Select, named};
use crate::query_text::{literal, to_copy, tokens};
use crate::store::{KeyRange, Store};

/// `SELECT <path> AS <name>, .. FROM c WHERE <path> IN (<text>, ..)`, or with a condition
/// `(<path> = <text> AND <path> = <value> ..) OR ..`.
#[derive(Debug, PartialEq, Eq)]
pub struct Equal {
    /// The name and the path of each value of a row.
    items: Vec<(String, Vec<String>)>,
    path: Vec<String>,
    /// By text, what other properties have to be; one of these is enough.
    texts: BTreeMap<String, Vec<Values>>,
}

/// Paths and their values.
type Values = Vec<(Vec<String>, Value)>;

impl Equal {
    /// None for every other query.
    pub fn read(query: &str, parameters: &Value) -> Option<Self> {
        let select = Select::read(query).filter(|select| !select.value)?;
        let rest = words(select.rest);
        let (alias, condition) = match rest.as_slice() {
            [from, alias, filter, rest @ ..] if is(from, "FROM") && is(filter, "WHERE") => {
                (*alias, rest)
            }
            _ => return None,
        };
        let parameters = read_parameters(parameters);
        let mut found: Option<Vec<String>> = None;
        let mut texts = BTreeMap::<String, Vec<Values>>::new();
        for mut values in alternatives(condition, alias, &parameters)? {
            let (path, text) = values.remove(0);
            if found.as_ref().is_some_and(|found| *found != path) {
                return None;
            }
            found = Some(path);
            texts.entry(text.as_str()?.to_owned()).or_default().push(values);
        }
        Some(Self { items: items(&select, alias)?, path: found?, texts })
    }

    /// The answer; none if it does not fit on one page.
    pub fn answer(
        &self,
        container: &Container,
        store: &mut Store,
        keys: &KeyRange,
        items_max: Option<usize>,
    ) -> Option<Answer> {
        let texts: Vec<&str> = self.texts.keys().map(String::as_str).collect();
        let candidates = store.candidates(&self.path, &texts).into_iter();
        let rows = candidates.filter(|address| keys.contains(&address.key)).filter_map(|address| {
            let document = document(container, store.get(&address)?);
            let others = self.texts.get(at(&document, &self.path)?.as_str()?)?;
            let has = |(path, value): &(Vec<String>, Value)| {
                at(&document, path).is_some_and(|found| is_equal(found, value))
            };
            others.iter().any(|all| all.iter().all(has)).then(|| self.row(&document))
        });
        let rows: Vec<Value> = rows.collect();
        if items_max.is_some_and(|max| rows.len() > max) {
            return None;
        }
        let count = rows.len();
        let body = json!({"_rid": container.rid, "Documents": rows, "_count": count}).to_string();
        let mut answer = Answer::new(200, charge::query(body.len()))
            .header("x-ms-item-count", count.to_string());
        answer.documents = count;
        Some(answer.bytes(body.into_bytes()))
    }

    fn row(&self, document: &Value) -> Value {
        row(&self.items, document)
    }
}

/// `SELECT <path> AS <name>, .. FROM c`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rows {
    items: Vec<(String, Vec<String>)>,
}

impl Rows {
    /// None for every other query.
    pub fn read(query: &str) -> Option<Self> {
        let select = Select::read(query).filter(|select| !select.value)?;
        let [from, alias] = words(select.rest)[..] else { return None };
        is(from, "FROM").then_some(())?;
        Some(Self { items: items(&select, alias)? })
    }

    /// Writes the row of a document.
    pub fn render(&self, container: &Container, version: &Version, out: &mut Vec<u8>) {
        out.extend(row(&self.items, &document(container, version)).to_string().into_bytes());
    }
}

/// The names and the paths of the values of a row.
fn items(select: &Select<'_>, alias: &str) -> Option<Vec<(String, Vec<String>)>> {
    let items = select.items.iter().enumerate().map(|(at, item)| {
        let (expression, name) = named(item, at);
        let expression = words(expression);
        let (path, rest) = path(&expression, alias)?;
        rest.is_empty().then_some((name, path))
    });
    items.collect()
}

/// Undefined values are left out.
fn row(items: &[(String, Vec<String>)], document: &Value) -> Value {
    let values =
        items.iter().filter_map(|(name, path)| Some((name.clone(), at(document, path)?.clone())));
    values.collect::<Map<_, _>>().into()
}

fn document(container: &Container, version: &Version) -> Value {
    let mut text = Vec::new();
    container.naming.render(version, &mut text);
    serde_json::from_slice(&text).unwrap_or_default()
}

fn words(text: &str) -> Vec<&str> {
    tokens(text).map(|(_, token)| token).filter(|token| !token.trim().is_empty()).collect()
}

/// What a condition allows: for each alternative, the values of paths, of which there is at least one.
fn alternatives<'a>(
    condition: &[&'a str],
    alias: &'a str,
    parameters: &BTreeMap<&str, &Value>,
) -> Option<Vec<Values>> {
    let value = |words: &[&str]| match words {
        [name] if name.starts_with('@') => parameters.get(name).copied().cloned(),
        [text] => literal(text).map(Value::from),
        _ => None,
    };
    let equality = |words: &[&'a str]| {
        let (path, rest) = path(words, alias)?;
        // The stored text lacks the system properties.
        path.first().is_none_or(|name| to_copy(name).is_none()).then_some(())?;
        let ["=", rest @ ..] = rest else { return None };
        Some((path, value(rest)?))
    };
    if let [.., ")"] = condition
        && let Some((path, [word, "(", values @ .., ")"])) = path(condition, alias)
        && is(word, "IN")
    {
        path.first().is_none_or(|name| to_copy(name).is_none()).then_some(())?;
        let one = |words: &[&str]| Some(vec![(path.clone(), value(words)?)]);
        return values.split(|word| *word == ",").map(one).collect();
    }
    let one = |words: &[&'a str]| match words {
        ["(", words @ .., ")"] => words.split(|word| is(word, "AND")).map(equality).collect(),
        words => Some(vec![equality(words)?]),
    };
    condition.split(|word| is(word, "OR")).map(one).collect()
}

/// Numbers are equal however they are written.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        _ => one == other,
    }
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

/// A path of property names below the alias, and what follows it.
fn path<'a, 'b>(words: &'b [&'a str], alias: &'a str) -> Option<(Vec<String>, &'b [&'a str])> {
    let mut rest = words.strip_prefix(&[alias])?;
    let mut path = Vec::new();
    loop {
        rest = match rest {
            [".", name, rest @ ..] => {
                path.push((*name).to_owned());
                rest
            }
            ["[", name, "]", rest @ ..] => {
                path.push(literal(name)?);
                rest
            }
            _ => break,
        };
    }
    (!path.is_empty()).then_some((path, rest))
}

fn read_parameters(parameters: &Value) -> BTreeMap<&str, &Value> {
    let parameters = parameters.as_array().into_iter().flatten();
    parameters.filter_map(|one| Some((one["name"].as_str()?, &one["value"]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &[&str]) -> Vec<String> {
        path.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_comparison_of_one_property_with_texts_is_recognised() {
        let parameters = json!([{"name": "@p0", "value": "x"}, {"name": "@n", "value": 1}]);
        let id = ("id".to_owned(), names(&["id"]));
        for (query, path, texts) in [
            ("SELECT c.id FROM c WHERE c.a = 'x'", names(&["a"]), vec!["x"]),
            ("select c.id from c where c.a in (@p0)", names(&["a"]), vec!["x"]),
            (
                "SELECT c.id FROM c WHERE c[\"_source\"][\"a b\"] IN (@p0, \"y\\n\")",
                names(&["_source", "a b"]),
                vec!["x", "y\n"],
            ),
        ] {
            let alone = |text: &str| (text.to_owned(), vec![vec![]]);
            let texts = texts.into_iter().map(alone).collect();
            let expected = Equal { items: vec![id.clone()], path, texts };
            assert_eq!(Equal::read(query, &parameters), Some(expected), "{query}");
        }
        let query = "SELECT c.id, c._etag AS e, c[\"k\"][\"l\"] AS k0 FROM c WHERE c.id IN (@p0)";
        let items = Equal::read(query, &parameters).unwrap().items;
        let expected =
            [id, ("e".to_owned(), names(&["_etag"])), ("k0".to_owned(), names(&["k", "l"]))];
        assert_eq!(items, expected);
    }

    #[test]
    fn a_comparison_of_several_properties_is_recognised() {
        let parameters = json!([{"name": "@i", "value": "x"}, {"name": "@n", "value": 1}]);
        let query = "SELECT c.id FROM c WHERE (c.id = @i AND c[\"k\"] = @n) OR (c.id = @i AND c[\"k\"] = 'l') \
                     OR (c.id = 'y')";
        let found = Equal::read(query, &parameters).unwrap();
        let with = |value: Value| vec![(names(&["k"]), value)];
        let expected = [
            ("x".to_owned(), vec![with(json!(1)), with(json!("l"))]),
            ("y".to_owned(), vec![vec![]]),
        ];
        assert_eq!((found.path, found.texts), (names(&["id"]), expected.into()));
    }

    #[test]
    fn every_other_query_is_the_vendors() {
        let parameters = json!([{"name": "@n", "value": 1}]);
        for query in [
            "SELECT VALUE c.id FROM c WHERE c.a = 'x'",
            "SELECT * FROM c WHERE c.a = 'x'",
            "SELECT c.id FROM c WHERE c.a = @n",
            "SELECT c.id FROM c WHERE c.a = @missing",
            "SELECT c.id FROM c WHERE c.a = 1",
            "SELECT c.id FROM c WHERE c._etag = 'x'",
            "SELECT c.id FROM c WHERE c.a = 'x' AND c.b = 'y'",
            "SELECT c.id FROM c WHERE c.a = 'x' ORDER BY c.id",
            "SELECT c.id FROM c WHERE NOT c.a = 'x'",
            "SELECT c.id FROM c WHERE c.a > 'x'",
            "SELECT c.id FROM c WHERE c.a IN ('x'",
            "SELECT c.id FROM c WHERE (c.a = 'x' AND c.b = 'y') OR (c.b = 'x' AND c.a = 'y')",
            "SELECT c.id FROM c WHERE (c.a = 'x' AND c._etag = 'y')",
            "SELECT c.id FROM c WHERE (c.a = 'x' OR c.a = 'y') AND c.b = 'x'",
            "SELECT c.id FROM c WHERE ((c.a = 'x'))",
            "SELECT c.id || 'x' FROM c WHERE c.a = 'x'",
            "SELECT COUNT(1) FROM c WHERE c.a = 'x'",
            "SELECT DISTINCT c.id FROM c WHERE c.a = 'x'",
            "SELECT c.id FROM c JOIN d IN c.list WHERE c.a = 'x'",
            "SELECT c.id FROM c WHERE c.list[0] = 'x'",
        ] {
            assert_eq!(Equal::read(query, &parameters), None, "{query}");
        }
    }
}
