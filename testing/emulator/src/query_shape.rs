//! Aggregates inside arrays and objects, which rewritten queries have and the vendor's engine cannot
//! evaluate: it is asked for the parts, and the answer is put together again.

use serde_json::{Map, Value};

use crate::query_plan::{Select, aggregate, named};
use crate::query_text::tokens;

/// How a result is made of the parts.
#[derive(Debug)]
enum Shape {
    /// The part with this number.
    Part(usize),
    Array(Vec<Shape>),
    Object(Vec<(String, Shape)>),
}

/// A query in parts.
#[derive(Debug)]
pub struct Parts {
    shape: Shape,
    /// The query that asks for the parts.
    pub query: String,
}

impl Parts {
    /// None for a query without such aggregates.
    pub fn of(query: &str) -> Option<Self> {
        let select = Select::read(query)?;
        let nested = |item: &&str| item.starts_with(['[', '{']);
        if !select.items.iter().any(nested) {
            return None;
        }
        let mut parts = Vec::new();
        let shape = match select.items.first() {
            Some(item) if select.value => read(item, &mut parts),
            _ => {
                let items = select.items.iter().enumerate().map(|(at, item)| {
                    let (expression, name) = named(item, at);
                    (name, read(expression, &mut parts))
                });
                Shape::Object(items.collect())
            }
        };
        if !parts.iter().any(|part| aggregate(part).is_some()) {
            return None;
        }
        let parts: Vec<_> =
            parts.iter().enumerate().map(|(at, part)| format!("{part} AS _p{at}")).collect();
        let query = format!("SELECT {} {}", parts.join(", "), select.rest);
        Some(Self { shape, query })
    }

    /// Puts the results together.
    pub fn join(&self, results: &mut Value) {
        let rows = results["Documents"].as_array_mut().into_iter().flatten();
        for row in rows {
            *row = self.shape.fill(row).unwrap_or_default();
        }
    }
}

impl Shape {
    /// None for a part that is undefined.
    fn fill(&self, row: &Value) -> Option<Value> {
        Some(match self {
            Self::Part(number) => row.get(format!("_p{number}"))?.clone(),
            Self::Array(shapes) => shapes.iter().filter_map(|shape| shape.fill(row)).collect(),
            Self::Object(fields) => {
                let fields = fields.iter();
                let filled =
                    fields.filter_map(|(name, shape)| Some((name.clone(), shape.fill(row)?)));
                filled.collect::<Map<_, _>>().into()
            }
        })
    }
}

fn read<'a>(expression: &'a str, parts: &mut Vec<&'a str>) -> Shape {
    let expression = expression.trim();
    let within = |open, close| expression.strip_prefix(open)?.strip_suffix(close);
    if let Some(inner) = within('[', ']') {
        return Shape::Array(split(inner, ",").into_iter().map(|item| read(item, parts)).collect());
    }
    if let Some(inner) = within('{', '}') {
        let fields = split(inner, ",").into_iter().filter_map(|field| {
            let (name, _) = field.split_once(':').filter(|_| !field.trim().is_empty())?;
            let value = field.get(name.len() + 1..)?;
            Some((name.trim().trim_matches(['"', '\'']).to_owned(), read(value, parts)))
        });
        return Shape::Object(fields.collect());
    }
    parts.push(expression);
    Shape::Part(parts.len() - 1)
}

/// The pieces between separators that are not in brackets.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut depth, mut begin, mut pieces) = (0_usize, 0, Vec::new());
    for (at, token) in tokens(text) {
        match token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ if token == separator && depth == 0 => {
                pieces.extend(text.get(begin..at));
                begin = at + token.len();
            }
            _ => {}
        }
    }
    pieces.extend(text.get(begin..));
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rewritten_query_is_asked_in_parts_and_put_together() {
        let parts = Parts::of("SELECT VALUE [{\"item\": COUNT(1)}] FROM c").unwrap();
        assert_eq!(parts.query, "SELECT COUNT(1) AS _p0 FROM c");
        let mut results = json!({"Documents": [{"_p0": 7}]});
        parts.join(&mut results);
        assert_eq!(results["Documents"], json!([[{"item": 7}]]));

        let query = "SELECT [{\"item\": c.pk}] AS groupByItems, {\"pk\": c.pk, \
            \"n\": {\"item\": {\"sum\": SUM(c[\"n\"]), \"count\": COUNT(c[\"n\"])}}} AS payload \
            FROM c GROUP BY c.pk";
        let parts = Parts::of(query).unwrap();
        let expected = "SELECT c.pk AS _p0, c.pk AS _p1, SUM(c[\"n\"]) AS _p2, \
            COUNT(c[\"n\"]) AS _p3 FROM c GROUP BY c.pk";
        assert_eq!(parts.query, expected);
        let mut results = json!({"Documents": [{"_p0": "a", "_p1": "a", "_p3": 0}]});
        parts.join(&mut results);
        let payload = json!({"pk": "a", "n": {"item": {"count": 0}}});
        let expected = json!([{"groupByItems": [{"item": "a"}], "payload": payload}]);
        assert_eq!(results["Documents"], expected);
    }

    #[test]
    fn other_queries_are_left_alone() {
        for query in ["SELECT * FROM c", "SELECT VALUE {\"a\": c.a} FROM c", "SELECT c.item FROM c"]
        {
            assert!(Parts::of(query).is_none(), "{query}");
        }
    }
}
