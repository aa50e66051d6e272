//! `[sinks.cosmos.NAME.mirror]`.

use cosmos_bridge_cosmos::mirror::{Policy, Role};
use cosmos_bridge_options::{
    Form, Kind, Value, kind, options, path, reference, table_like, text_of,
};
use cosmos_bridge_sink::SYSTEM_PROPERTIES;
use serde_json::json;

use super::Path;
use super::containers::{Location, Spending};

options! {
    /// What is written to either of them is written to the other one. [mirrors.md](mirrors.md) has the guarantees and
    /// what they need.
    pub struct Mirror {
        /// The sink of the pipeline in the other direction, which has such a table that names this one. Not
        /// written if that pipeline runs in another process, with a configuration file of its own.
        with: Option<String> = optional, reference("sink"), example "archive";
        /// What stays where both sides have changed a document: "newest", by the time of the service;
        /// { newest_by = "/path" }, the greater number or text; "source", what comes in; or "target", what this
        /// container has. Written at one of the two sinks, which decides for both; "elsewhere" at the other one,
        /// which may be left out beside `with`. A deleted document that is changed on the other side stays in
        /// any case.
        conflicts: Option<Conflicts> = optional, conflicts(), example { newest_by = "/changedAt" };
        /// The field that the bridge adds to each document that it writes: which version of the other side it
        /// comes from. The same on both sides. Applications may keep it or remove it.
        field: String = "_mirror", text_of("the name of a field", field_name);
        /// Where conflicts are logged, each with both documents, before one of them is overwritten: a container
        /// whose partition key is /id, in any account. Its time to live decides how long they are kept. It may
        /// have a budget.
        log: ConflictLog = required("Write [<table>.log] with account, database and container."),
            table_like("a table", "Write account, database and container in it.");
    }
}

options! {
    /// A container for conflicts.
    pub struct ConflictLog {
        location: Location = flatten;
        spending: Spending = flatten;
    }
}

options! {
    struct NewestBy {
        /// A number or a text, such as a time in ISO 8601.
        newest_by: Path = required("Write { newest_by = \"/path\" }."), path();
    }
}

/// Who decides, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Conflicts {
    Decides(Policy),
    /// The sink of the other direction decides.
    Elsewhere,
}

impl Mirror {
    pub fn role(&self) -> Role {
        match &self.conflicts {
            Some(Conflicts::Decides(policy)) => Role::Decides(policy.clone()),
            Some(Conflicts::Elsewhere) | None => Role::Follows,
        }
    }
}

const WORDS: [&str; 4] = ["newest", "source", "target", ELSEWHERE];
pub(super) const ELSEWHERE: &str = "elsewhere";

fn conflicts() -> impl Kind<Output = Conflicts> {
    const HINT: &str =
        "Write \"newest\", \"source\", \"target\", { newest_by = \"/path\" }, or \"elsewhere\".";
    let by = || table_like::<NewestBy>("a word or a table", HINT);
    let expected = "\"newest\", \"source\", \"target\" or \"elsewhere\"";
    let words = Form::of(expected, json!({ "enum": WORDS }));
    kind(Form::Either(vec![words, by().form()]), move |value| {
        if value.node().as_str().is_none() {
            return Some(Conflicts::Decides(Policy::NewestBy(by().read(value)?.newest_by)));
        }
        let policies = [Policy::Newest, Policy::Source, Policy::Target].map(Conflicts::Decides);
        let all = policies.into_iter().chain([Conflicts::Elsewhere]);
        let choices: Vec<_> = WORDS.into_iter().zip(all).collect();
        value.choice(&choices)
    })
}

fn field_name(value: &Value<'_>, name: String) -> Option<String> {
    let is_taken = name == "id" || name == "ttl" || SYSTEM_PROPERTIES.contains(&name.as_str());
    if is_taken {
        value.problem("the service gives this field a meaning", "Write field = \"_mirror\".");
    }
    (!is_taken).then_some(name)
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_cosmos::mirror::{Policy, Role};

    use super::{ConflictLog, Conflicts, Mirror};
    use crate::config::{Amount, Location, Path, Spending, parse};

    const TEXT: &str = r#"
accounts.a = { endpoint = "https://a.example", key = { file = "key" } }
accounts.b = { endpoint = "https://b.example", key = { file = "key" } }

[sinks.cosmos.west]
account = "a"
database = "shop"
container = "orders"
ttl = "as-is"
[sinks.cosmos.west.mirror]
with = "east"
conflicts = POLICY
field = "_origin"
log = { account = "b", database = "logs", container = "conflicts", budget = "50 RU/s" }

[sinks.cosmos.east]
account = "b"
database = "shop"
container = "orders"
ttl = "as-is"
mirror = { with = "west", conflicts = "elsewhere", field = "_origin", log = { account = "a", database = "l", container = "c" } }

[pipelines.to_west]
source = { account = "b", database = "shop", container = "orders", mode = "all-versions-and-deletes", start = "now" }
routes = [{ to = "west" }]
[pipelines.to_east]
source = { account = "a", database = "shop", container = "orders", mode = "all-versions-and-deletes", start = "now" }
routes = [{ to = "east" }]
"#;

    #[test]
    fn every_option_of_a_mirror_arrives() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "c2VjcmV0").unwrap();
        let by = Policy::NewestBy(Path::parse("/a/b").unwrap());
        for (text, policy) in [
            ("\"newest\"", Policy::Newest),
            ("\"source\"", Policy::Source),
            ("\"target\"", Policy::Target),
            ("{ newest_by = \"/a/b\" }", by),
        ] {
            let text = TEXT.replace("POLICY", text);
            let config = parse("config.toml", &text, dir.path()).unwrap_or_else(|p| panic!("{p}"));
            let mirror = |name: &str| {
                config.sinks[name].container().and_then(|sink| sink.mirror.clone()).unwrap()
            };
            let name = |text: &str| text.to_owned();
            let west = Mirror {
                with: Some(name("east")),
                conflicts: Some(Conflicts::Decides(policy.clone())),
                field: name("_origin"),
                log: ConflictLog {
                    location: Location {
                        account: name("b"),
                        database: name("logs"),
                        container: name("conflicts"),
                    },
                    spending: Spending {
                        budget: Amount::Units(50.0).into(),
                        good_neighbour: false,
                    },
                },
            };
            assert_eq!(mirror("west"), west);
            assert_eq!(west.role(), Role::Decides(policy));
            assert_eq!(mirror("east").role(), Role::Follows);
            let logging = config.logging(&west, "west");
            assert_eq!(logging.budget, Amount::Units(50.0).into());
            assert_eq!(logging.who, "the log of conflicts of sink `west`");
        }
    }
}
