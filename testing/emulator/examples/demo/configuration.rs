//! The configuration that the demo's bridge runs: `config.toml.example`, and the brokers.

/// The example without the tables of sinks that publish events, which no route of it names: a trial
/// build leaves their types out, and then refuses the tables.
pub(crate) fn without_event_sinks(example: &str) -> String {
    let mut is_kept = true;
    let kept = example.lines().filter(|line| {
        if line.starts_with('[') {
            is_kept = !line.starts_with("[sinks.") || line.starts_with("[sinks.cosmos.");
        }
        is_kept
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// A sink's table at the end of the configuration, and a route of the example's pipeline to it.
pub(crate) fn with_event_sink(
    configuration: &str,
    kind: &str,
    name: &str,
    options: &str,
) -> String {
    format!(
        "{configuration}\n[sinks.{kind}.{name}]\n{options}\n\
         [[pipelines.orders.routes]]\nto = \"{name}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{with_event_sink, without_event_sinks};

    /// Tables and keys, without comments.
    fn code(text: &str) -> Vec<&str> {
        let is_code = |line: &&str| !line.is_empty() && !line.starts_with('#');
        text.lines().filter(is_code).collect()
    }

    #[test]
    fn only_the_tables_of_event_sinks_are_left_out() {
        let example = "\
[accounts.source]
endpoint = \"a\"
[sinks.cosmos.archive]
account = \"target\"
# ---- events
[sinks.kafka.events]
# linger
servers = [\"b\"]
topic = \"c\"
[sinks.amqp.changes]
uri = { env = \"URI\" }
[pipelines.orders]
[[pipelines.orders.routes]]
to = \"archive\"
";
        let expected = [
            "[accounts.source]",
            "endpoint = \"a\"",
            "[sinks.cosmos.archive]",
            "account = \"target\"",
            "[pipelines.orders]",
            "[[pipelines.orders.routes]]",
            "to = \"archive\"",
        ];
        assert_eq!(code(&without_event_sinks(example)), expected);
    }

    #[test]
    fn the_example_keeps_what_the_demo_needs() {
        let kept = without_event_sinks(include_str!("../../../../config.toml.example"));
        let tables: Vec<&str> =
            code(&kept).into_iter().filter(|line| line.starts_with('[')).collect();
        for table in ["[accounts.target]", "[sinks.cosmos.archive]", "[[pipelines.orders.routes]]"]
        {
            assert!(tables.contains(&table), "{table} is missing in {tables:?}");
        }
        let is_event_sink =
            |table: &&&str| table.starts_with("[sinks.") && !table.starts_with("[sinks.cosmos.");
        assert_eq!(tables.iter().find(is_event_sink), None);
    }

    #[test]
    fn an_event_sink_comes_with_its_route() {
        let text = with_event_sink("[admin]\n", "kafka", "events", "topic = \"orders\"");
        let expected = [
            "[admin]",
            "[sinks.kafka.events]",
            "topic = \"orders\"",
            "[[pipelines.orders.routes]]",
            "to = \"events\"",
        ];
        assert_eq!(code(&text), expected);
    }
}
