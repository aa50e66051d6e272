//! What may be spent on which container, over all tables that name it.

use super::{Budget, Config, CosmosSink, Source};

/// A container by where it is, whatever the file calls its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerAddress {
    account: String,
    database: String,
    container: String,
}

/// What may be spent in one direction of one container. Tables that name one container say the
/// same about it, which the rules between tables have proved.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// Who spends, as a person is told: "pipeline `orders`".
    pub who: String,
    pub container: ContainerAddress,
    pub budget: Budget,
    pub good_neighbour: bool,
    /// Requests that one partition may have under way, by all who spend together.
    pub requests: usize,
}

impl Config {
    /// For reading what this pipeline reads.
    pub fn reading(&self, pipeline: &str) -> Allowance {
        let source = &self.pipelines[pipeline].source;
        let container = self.source_address(source);
        let all = self.pipelines.values().map(|pipeline| self.source_address(&pipeline.source));
        Allowance {
            who: format!("pipeline `{pipeline}`"),
            // Each pipeline asks for one page of a partition at a time.
            requests: all.filter(|address| *address == container).count(),
            container,
            budget: source.budget.clone(),
            good_neighbour: source.good_neighbour,
        }
    }

    /// For writing what this sink writes; `None` if that is no container. Sinks that no route names
    /// spend nothing.
    pub fn writing(&self, name: &str) -> Option<Allowance> {
        self.sinks[name].container().map(|sink| self.allowance(sink, name))
    }

    /// For writing to a container through the sink of this name.
    pub fn allowance(&self, sink: &CosmosSink, name: &str) -> Allowance {
        let container = self.sink_address(sink);
        let others = self.sinks.iter().filter(|(other, _)| *other == name || self.is_used(other));
        let others = others.filter_map(|(_, other)| other.container());
        let requests = others
            .map(|other| if self.sink_address(other) == container { other.concurrency } else { 0 });
        Allowance {
            who: format!("sink `{name}`"),
            requests: requests.sum(),
            container,
            budget: sink.budget.clone(),
            good_neighbour: sink.good_neighbour,
        }
    }

    /// Whether any route names the sink.
    pub fn is_used(&self, sink: &str) -> bool {
        self.pipelines.values().flat_map(|pipeline| &pipeline.routes).any(|route| route.to == sink)
    }

    pub(super) fn source_address(&self, source: &Source) -> ContainerAddress {
        self.address(&source.account, &source.database, &source.container)
    }

    pub(super) fn sink_address(&self, sink: &CosmosSink) -> ContainerAddress {
        self.address(&sink.account, &sink.database, &sink.container)
    }

    fn address(&self, account: &str, database: &str, container: &str) -> ContainerAddress {
        ContainerAddress {
            account: self.accounts[account].address.clone(),
            database: database.to_owned(),
            container: container.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, parse};

    /// Two accounts of one address and one of another.
    fn config() -> Config {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "c2VjcmV0").unwrap();
        let account = |name: &str, endpoint: &str| {
            format!("[accounts.{name}]\nendpoint = \"{endpoint}\"\nkey = {{ file = \"key\" }}\n")
        };
        let sink = |name: &str, account: &str, concurrency: u8| {
            format!(
                "[sinks.cosmos.{name}]\naccount = \"{account}\"\ndatabase = \"d\"\ncontainer = \
                 \"c\"\nconcurrency = {concurrency}\n"
            )
        };
        let pipeline = |name: &str, account: &str, container: &str, to: &str| {
            format!(
                "[pipelines.{name}]\nroutes = [{{ to = \"{to}\" }}]\nsource = {{ account = \
                 \"{account}\", database = \"s\", container = \"{container}\", start = \"now\" }}\n"
            )
        };
        let text = [
            account("a", "https://a.example"),
            account("a2", "https://A.example:443/"),
            account("b", "https://b.example"),
            sink("one", "a", 4),
            sink("other", "a2", 8),
            sink("elsewhere", "b", 16),
            sink("unused", "a", 32),
            pipeline("p", "a", "c", "one"),
            pipeline("q", "a2", "c", "other"),
            pipeline("r", "a", "other", "elsewhere"),
        ];
        parse("config.toml", &text.concat(), dir.path()).unwrap_or_else(|p| panic!("{p}"))
    }

    #[test]
    fn what_spends_on_one_container_is_counted_together() {
        let config = config();
        let reading = ["p", "q", "r"].map(|name| config.reading(name));
        assert_eq!(reading.clone().map(|one| one.requests), [2, 2, 1]);
        assert_eq!(
            reading.clone().map(|one| one.container == reading[0].container),
            [true, true, false]
        );
        let writing = ["one", "other", "elsewhere"].map(|name| config.writing(name).unwrap());
        assert_eq!(writing.clone().map(|one| one.requests), [12, 12, 16]);
        assert_eq!(
            writing.clone().map(|one| one.container == writing[0].container),
            [true, true, false]
        );
        assert_eq!(
            (reading[0].who.as_str(), writing[0].who.as_str()),
            ("pipeline `p`", "sink `one`")
        );
    }
}
