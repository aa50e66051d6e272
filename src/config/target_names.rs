//! Names of topics and the like that are made of the names of containers, and so are known before any change.

use cosmos_bridge_options::{NameProblem, NameRule, Need, TableForm, Value, template_or_empty};
use cosmos_bridge_sink::{ContainerName, Template};

use super::routes::routes;
use super::{Config, Location, sinks};

impl Config {
    /// The containers whose changes a sink gets, by their names alone.
    pub fn sources_of(&self, sink: &str) -> Vec<ContainerName> {
        let readers = self.pipelines.values();
        let readers = readers.filter(|pipeline| pipeline.routes.iter().any(|one| one.to == sink));
        readers
            .map(|pipeline| {
                let Location { account, database, container } = pipeline.source.location.clone();
                ContainerName { account, database, container, rid: String::new() }
            })
            .collect()
    }
}

/// Reports names that the target of a sink does not allow, for each pipeline that has them.
pub(super) fn check<'d>(root: &Value<'d>, pipelines: &[(&str, Value<'d>)]) {
    let of_type: Vec<_> = sinks::with_names().collect();
    for (pipeline, table) in pipelines {
        let Some(source) = table.at("source").and_then(|source| name_of(&source)) else { continue };
        let mut seen = Vec::new();
        for to in routes(table).iter().filter_map(|route| route.at("to")) {
            let Some(sink) = to.node().as_str().filter(|sink| !seen.contains(sink)) else {
                continue;
            };
            seen.push(sink);
            for (kind, rules, form) in &of_type {
                let table = root.at("sinks").and_then(|sinks| sinks.at(kind)?.at(sink));
                let Some(table) = table else { continue };
                for rule in *rules {
                    check_name(rule, &table, form, pipeline, &source);
                }
            }
        }
    }
}

fn name_of(source: &Value<'_>) -> Option<ContainerName> {
    let text = |key| source.at(key)?.node().as_str().map(str::to_owned);
    let (account, database) = (text("account")?, text("database")?);
    Some(ContainerName { account, database, container: text("container")?, rid: String::new() })
}

fn check_name(
    rule: &NameRule,
    sink: &Value<'_>,
    form: &TableForm,
    pipeline: &str,
    source: &ContainerName,
) {
    let Some(template) = template_of(rule.option, sink, form) else { return };
    let named = template.in_container(source);
    // What is wrong for every container is reported when the option is read.
    let is_wrong_everywhere = (rule.problem)(&template).is_some();
    let Some(NameProblem { message, hint }) =
        (rule.problem)(&named).filter(|_| !is_wrong_everywhere)
    else {
        return;
    };
    let message = format!("for pipeline `{pipeline}` it is `{named}`: {message}");
    let hint = format!(
        "{hint} Write a name in place of the property. Pipelines that need different names need a \
         sink each."
    );
    if let Some(value) = sink.at(rule.option) {
        value.problem(message, hint);
    } else {
        let key = format!("{}.{}", sink.key(), rule.option);
        sink.keyed(key).problem_unshown(message, hint);
    }
}

/// The template of an option, or its default. One that cannot be read has its own problem.
fn template_of(option: &'static str, sink: &Value<'_>, form: &TableForm) -> Option<Template> {
    let default = form.options.iter().find(|known| known.name == option).map(|known| &known.need);
    sink.quietly(|sink| {
        let table = sink.table("a table", "")?;
        match default {
            Some(Need::Default(text)) => table.or_default(option, text, &template_or_empty()),
            _ => table.optional(option, &cosmos_bridge_options::Optional(template_or_empty()))?,
        }
    })
}
