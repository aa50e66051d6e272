//! Query plans as the service gives them: the vendor's, with what clients need that merge aggregates and
//! groups over partitions. Such a client sends the rewritten query to each partition, and expects an
//! aggregate as `{"item": ..}` and a group as `groupByItems` and `payload`.

use serde_json::{Map, Value, json};

use crate::query_text::tokens;

/// Completes the vendor's plan of a query.
pub fn complete(plan: &mut Value, query: &str) {
    let info = &mut plan["queryInfo"];
    let grouped = not_empty(&info["groupByExpressions"]);
    if let Some(names) = info["aggregates"].as_array_mut() {
        names.iter_mut().filter(|name| **name == "Avg").for_each(|name| *name = "Average".into());
    }
    if !grouped && !not_empty(&info["aggregates"]) {
        return;
    }
    let Some(select) = Select::read(query) else { return };
    let value = info["hasSelectValue"] == true;
    let payload = match select.items.first() {
        Some(item) if value && !grouped => {
            info["rewrittenQuery"] =
                format!("SELECT VALUE [{}] {}", partial(item), select.rest).into();
            return;
        }
        Some(item) if value => partial(item),
        _ => {
            let (aliases, types) = select.aliases();
            info["groupByAliases"] = aliases;
            info["groupByAliasToAggregateType"] = types;
            info["aggregates"] = json!([]);
            select.payload()
        }
    };
    let keys = info["groupByExpressions"].as_array().into_iter().flatten();
    let keys: Vec<String> =
        keys.filter_map(Value::as_str).map(|key| format!("{{\"item\": {key}}}")).collect();
    let keys =
        if grouped { format!("[{}] AS groupByItems, ", keys.join(", ")) } else { String::new() };
    info["rewrittenQuery"] = format!("SELECT {keys}{payload} AS payload {}", select.rest).into();
}

/// Whether the answers of several partitions have to be merged by the client.
pub fn needs_merging(plan: &Value) -> bool {
    let info = &plan["queryInfo"];
    ["orderBy", "aggregates", "groupByExpressions"].iter().any(|name| not_empty(&info[*name]))
        || ["top", "offset", "limit"].iter().any(|name| !info[*name].is_null())
        || info["distinctType"].as_str().is_some_and(|kind| kind != "None")
}

fn not_empty(value: &Value) -> bool {
    value.as_array().is_some_and(|values| !values.is_empty())
}

/// The select clause of a query, and the rest of it.
pub(crate) struct Select<'a> {
    /// Without `VALUE`.
    pub(crate) items: Vec<&'a str>,
    pub(crate) value: bool,
    pub(crate) rest: &'a str,
}

impl<'a> Select<'a> {
    /// None where the clause begins with more than `SELECT` or `SELECT VALUE`.
    pub(crate) fn read(query: &'a str) -> Option<Self> {
        let (mut depth, mut begin, mut items) = (0_usize, None, Vec::new());
        let mut value = false;
        for (at, token) in tokens(query) {
            let property = query.get(..at).is_some_and(|before| before.trim_end().ends_with('.'));
            match token {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ if depth > 0 || property || token.trim().is_empty() => {}
                "," => {
                    items.push(query.get(begin?..at)?.trim());
                    begin = Some(at + 1);
                }
                _ => match token.to_ascii_uppercase().as_str() {
                    keyword @ ("SELECT" | "VALUE") => {
                        value = keyword == "VALUE";
                        begin = Some(at + token.len());
                    }
                    "DISTINCT" | "TOP" => return None,
                    "FROM" => {
                        items.push(query.get(begin?..at)?.trim());
                        return Some(Self { items, value, rest: query.get(at..)? });
                    }
                    _ => {}
                },
            }
        }
        None
    }

    /// The names of the items, and which aggregate each is.
    fn aliases(&self) -> (Value, Value) {
        let mut types = Map::new();
        let mut aliases = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            let (expression, name) = named(item, at);
            let kind = aggregate(expression).map(|(kind, _)| kind);
            types.insert(name.clone(), kind.map_or(Value::Null, Value::from));
            aliases.push(Value::from(name));
        }
        (aliases.into(), types.into())
    }

    fn payload(&self) -> String {
        let items = self.items.iter().enumerate().map(|(at, item)| {
            let (expression, name) = named(item, at);
            let expression = match aggregate(expression) {
                Some(_) => partial(expression),
                None => expression.to_owned(),
            };
            format!("{}: {expression}", Value::from(name))
        });
        format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
    }
}

/// An item without its alias, and its name: the alias, the last property of a path, or its number.
pub(crate) fn named(item: &str, at: usize) -> (&str, String) {
    let words: Vec<_> = tokens(item).filter(|(_, token)| !token.trim().is_empty()).collect();
    if let [.., (end, word), (_, alias)] = words.as_slice()
        && word.eq_ignore_ascii_case("as")
    {
        return (item.get(..*end).unwrap_or(item).trim(), (*alias).to_owned());
    }
    let name = match words.as_slice() {
        [.., (_, "."), (_, name)] => (*name).to_owned(),
        [.., (_, "["), (_, name), (_, "]")] => name.trim_matches(['"', '\'']).to_owned(),
        _ => format!("${}", at + 1),
    };
    (item, name)
}

/// The service's name of an aggregate, and its argument, if an expression is one.
pub(crate) fn aggregate(expression: &str) -> Option<(&'static str, &str)> {
    let (name, argument) = expression.trim().split_once('(')?;
    let argument = argument.strip_suffix(')')?;
    let kind = match name.trim().to_ascii_uppercase().as_str() {
        "COUNT" => "Count",
        "SUM" => "Sum",
        "MIN" => "Min",
        "MAX" => "Max",
        "AVG" => "Average",
        _ => return None,
    };
    Some((kind, argument))
}

/// What one partition says of an aggregate.
fn partial(expression: &str) -> String {
    match aggregate(expression) {
        Some(("Average", of)) => {
            format!("{{\"item\": {{\"sum\": SUM({of}), \"count\": COUNT({of})}}}}")
        }
        _ => format!("{{\"item\": {expression}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(query: &str, info: &Value) -> Value {
        let mut plan = json!({"queryInfo": info});
        complete(&mut plan, query);
        plan["queryInfo"].take()
    }

    #[test]
    fn an_aggregate_is_asked_of_each_partition_as_an_item() {
        for (query, name, expected) in [
            (
                "SELECT VALUE COUNT(1) FROM c WHERE c.a = 'FROM, x'",
                "Count",
                "SELECT VALUE [{\"item\": COUNT(1)}] FROM c WHERE c.a = 'FROM, x'",
            ),
            (
                "select value avg(c.n) from c",
                "Avg",
                "SELECT VALUE [{\"item\": {\"sum\": SUM(c.n), \"count\": COUNT(c.n)}}] from c",
            ),
        ] {
            let info = json!({"aggregates": [name], "hasSelectValue": true});
            assert_eq!(rewritten(query, &info)["rewrittenQuery"], expected);
        }
        let info = json!({"aggregates": ["Avg"], "hasSelectValue": true});
        assert_eq!(
            rewritten("SELECT VALUE AVG(c.n) FROM c", &info)["aggregates"],
            json!(["Average"])
        );
    }

    #[test]
    fn groups_and_named_aggregates_come_as_a_payload() {
        let query = "SELECT c.pk, COUNT(1) AS number, MAX(c[\"n\"]) FROM c GROUP BY c.pk";
        assert_eq!(
            Select::read("SELECT c.value, c.from FROM c").unwrap().items,
            ["c.value", "c.from"]
        );
        let info = json!({"aggregates": ["Count", "Max"], "groupByExpressions": ["c.pk"],
            "hasSelectValue": false});
        let info = rewritten(query, &info);
        let expected = "SELECT [{\"item\": c.pk}] AS groupByItems, {\"pk\": c.pk, \
            \"number\": {\"item\": COUNT(1)}, \"$3\": {\"item\": MAX(c[\"n\"])}} AS payload \
            FROM c GROUP BY c.pk";
        assert_eq!(info["rewrittenQuery"], expected);
        assert_eq!(info["groupByAliases"], json!(["pk", "number", "$3"]));
        let types = json!({"pk": null, "number": "Count", "$3": "Max"});
        assert_eq!(info["groupByAliasToAggregateType"], types);
        assert_eq!(info["aggregates"], json!([]));
    }

    #[test]
    fn a_query_without_aggregates_keeps_the_vendors_plan() {
        let info = json!({"aggregates": [], "groupByExpressions": [], "rewrittenQuery": "x"});
        assert_eq!(rewritten("SELECT c.id FROM c", &info), info);
    }
}
