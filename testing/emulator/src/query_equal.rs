//! Queries for some properties of the documents in which one property has one of some texts. An index
//! answers them, as in the service; the vendor's engine would read the whole container each time.

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

/// `SELECT <path> AS <name>, .. FROM c WHERE <path> IN (<text>, ..)`.
#[derive(Debug, PartialEq, Eq)]
pub struct Equal {
    /// The name and the path of each value of a row.
    items: Vec<(String, Vec<String>)>,
    path: Vec<String>,
    texts: Vec<String>,
}

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
        let (path, condition) = path(condition, alias)?;
        if path.first().is_some_and(|name| to_copy(name).is_some()) {
            // The stored text lacks the system properties.
            return None;
        }
        let values = match condition {
            [word, "(", values @ .., ")"] if is(word, "IN") => values,
            ["=", value] => std::slice::from_ref(value),
            _ => return None,
        };
        let parameters = read_parameters(parameters);
        let texts = values.split(|word| *word == ",").map(|value| match value {
            [name] if name.starts_with('@') => parameters.get(name)?.as_str().map(str::to_owned),
            [text] => literal(text),
            _ => None,
        });
        let items = select.items.iter().enumerate().map(|(at, item)| {
            let (expression, name) = named(item, at);
            let expression = words(expression);
            let (path, rest) = self::path(&expression, alias)?;
            rest.is_empty().then_some((name, path))
        });
        Some(Self {
            items: items.collect::<Option<_>>()?,
            path,
            texts: texts.collect::<Option<_>>()?,
        })
    }

    /// The answer; none if it does not fit on one page.
    pub fn answer(
        &self,
        container: &Container,
        store: &mut Store,
        keys: &KeyRange,
        items_max: Option<usize>,
    ) -> Option<Answer> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let candidates = store.candidates(&self.path, &texts).into_iter();
        let rows = candidates.filter(|address| keys.contains(&address.key)).filter_map(|address| {
            let document = document(container, store.get(&address)?);
            let text = at(&document, &self.path)?.as_str()?;
            texts.contains(&text).then(|| self.row(&document))
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

    /// Undefined values are left out.
    fn row(&self, document: &Value) -> Value {
        let values = self.items.iter();
        let values =
            values.filter_map(|(name, path)| Some((name.clone(), at(document, path)?.clone())));
        values.collect::<Map<_, _>>().into()
    }
}

fn document(container: &Container, version: &Version) -> Value {
    let mut text = Vec::new();
    container.naming.render(version, &mut text);
    serde_json::from_slice(&text).unwrap_or_default()
}

fn words(text: &str) -> Vec<&str> {
    tokens(text).map(|(_, token)| token).filter(|token| !token.trim().is_empty()).collect()
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
            let texts = texts.into_iter().map(str::to_owned).collect();
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
