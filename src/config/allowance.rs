//! What may be spent on which container, over all tables that name it.

use super::mirror::{ConflictLog, Mirror};
use super::{Budget, Config, CosmosSink, Location};

/// A container by its address; accounts of one address are one, under any name in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerAddress {
    account: String,
    database: String,
    container: String,
}

/// The budget of one direction of one container. Rules between tables ensure that all tables that name
/// one container have the same budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// The spender's name in messages: "pipeline `orders`".
    pub who: String,
    pub container: ContainerAddress,
    pub budget: Budget,
    pub good_neighbour: bool,
    /// Requests in flight per partition, of all spenders of the container together.
    pub requests: usize,
}

impl Config {
    /// For reading the container of a pipeline.
    pub fn reading(&self, pipeline: &str) -> Allowance {
        let source = &self.pipelines[pipeline].source;
        let container = self.address(&source.location);
        let all = self.pipelines.values().map(|pipeline| self.address(&pipeline.source.location));
        Allowance {
            who: format!("pipeline `{pipeline}`"),
            // Each pipeline asks for one page of a partition at a time.
            requests: all.filter(|address| *address == container).count(),
            container,
            budget: source.spending.budget.clone(),
            good_neighbour: source.spending.good_neighbour,
        }
    }

    /// For writing the container of a sink; `None` if it is no container. Sinks that no route names spend
    /// nothing.
    pub fn writing(&self, name: &str) -> Option<Allowance> {
        self.sinks[name].container().map(|sink| self.allowance(sink, name))
    }

    /// For writing to a container through the named sink.
    pub fn allowance(&self, sink: &CosmosSink, name: &str) -> Allowance {
        let container = self.address(&sink.location);
        let others = self.sinks.iter().filter(|(other, _)| *other == name || self.is_used(other));
        let others = others.filter_map(|(_, other)| other.container());
        let requests = others.map(|other| {
            if self.address(&other.location) == container { other.writing.concurrency } else { 0 }
        });
        Allowance {
            who: format!("sink `{name}`"),
            requests: requests.sum(),
            container,
            budget: sink.spending.budget.clone(),
            good_neighbour: sink.spending.good_neighbour,
        }
    }

    /// For the conflicts that a mirrored sink logs.
    pub fn logging(&self, mirror: &Mirror, name: &str) -> Allowance {
        let ConflictLog { location, spending } = &mirror.log;
        Allowance {
            who: format!("the log of conflicts of sink `{name}`"),
            container: self.address(location),
            budget: spending.budget.clone(),
            good_neighbour: spending.good_neighbour,
            requests: self.sinks[name].container().map_or(1, |sink| sink.writing.concurrency),
        }
    }

    /// True if a route names the sink.
    pub fn is_used(&self, sink: &str) -> bool {
        self.pipelines.values().flat_map(|pipeline| &pipeline.routes).any(|route| route.to == sink)
    }

    pub(super) fn address(&self, location: &Location) -> ContainerAddress {
        ContainerAddress {
            account: self.accounts[&location.account].address().to_owned(),
            database: location.database.clone(),
            container: location.container.clone(),
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
