//! What another version of the file changes in a bridge that runs.

use super::{Account, Config, CosmosSink, CredentialRef, Log, Pipeline, Sink, Source, State};

/// Names every field of a struct whose values differ. It names all fields, so that one that is added
/// cannot be forgotten.
macro_rules! differing {
    ($type:ident { $($field:ident),* $(,)? } of $one:expr, $other:expr) => {{
        let $type { $($field: _),* } = $one;
        let mut names: Vec<&'static str> = Vec::new();
        $(if $one.$field != $other.$field { names.push(stringify!($field)); })*
        names
    }};
}

impl Config {
    /// This configuration with the budgets (and `good_neighbour`) of another, for a reload without
    /// a restart.
    ///
    /// A budget belongs to one direction of a container, so tables are matched by the container,
    /// wherever the account is and whatever the tables are called. All tables of this configuration
    /// that name one container therefore agree afterwards, as they did before. What the other one
    /// does not name keeps its budget, and what only the other one names is left out.
    #[must_use]
    pub fn with_budgets_of(&self, other: &Self) -> Self {
        let mut config = self.clone();
        for Pipeline { source, .. } in config.pipelines.values_mut() {
            let address = self.source_address(source);
            let mut sources = other.pipelines.values().map(|pipeline| &pipeline.source);
            if let Some(wished) = sources.find(|wish| other.source_address(wish) == address) {
                source.budget = wished.budget.clone();
                source.good_neighbour = wished.good_neighbour;
            }
        }
        for Sink::Cosmos(sink) in config.sinks.values_mut() {
            let address = self.sink_address(sink);
            let mut sinks = other.sinks.values().map(|Sink::Cosmos(sink)| sink);
            if let Some(wished) = sinks.find(|wish| other.sink_address(wish) == address) {
                sink.budget = wished.budget.clone();
                sink.good_neighbour = wished.good_neighbour;
            }
        }
        config
    }

    /// The options that another configuration has otherwise, as the file names them; whole tables
    /// where only one of the two has them. Secrets are compared by where they stand.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut names = Vec::new();
        let mut note = |table: &str, options: Vec<&str>| {
            names.extend(options.iter().map(|option| format!("{table}{option}")));
        };
        let top = differing!(Config { state, accounts, sinks, pipelines, log, stop_within }
            of self, other);
        note("", top.into_iter().filter(|name| *name == "stop_within").collect());
        note("state.", differing!(State { file } of &self.state, &other.state));
        note("log.", differing!(Log { level, format } of &self.log, &other.log));
        names.extend(tables("accounts", &self.accounts, &other.accounts, account));
        names.extend(tables("sinks.cosmos", &self.sinks, &other.sinks, sink));
        names.extend(tables("pipelines", &self.pipelines, &other.pipelines, pipeline));
        names
    }
}

/// The differences of tables with names.
fn tables<T: PartialEq>(
    header: &str,
    ours: &std::collections::BTreeMap<String, T>,
    theirs: &std::collections::BTreeMap<String, T>,
    options: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<String> {
    let mut names = Vec::new();
    for (name, one) in ours {
        match theirs.get(name) {
            None => names.push(format!("{header}.{name}")),
            Some(other) => names.extend(
                options(one, other).iter().map(|option| format!("{header}.{name}.{option}")),
            ),
        }
    }
    let added = theirs.keys().filter(|name| !ours.contains_key(*name));
    names.extend(added.map(|name| format!("{header}.{name}")));
    names
}

fn account(one: &Account, other: &Account) -> Vec<String> {
    let names = differing!(Account {
        endpoint, address, credential, regions, http2, request_timeout, priority, throughput_bucket
    } of one, other);
    let is_moved = names.contains(&"endpoint");
    let written = names.into_iter().filter_map(|name| match name {
        "credential" => Some(match other.credential {
            CredentialRef::Key(_) => "key",
            CredentialRef::ConnectionString(_) => "connection_string",
        }),
        // It stands in no option of its own.
        "address" => (!is_moved).then_some("connection_string"),
        name => Some(name),
    });
    written.map(str::to_owned).collect()
}

fn sink(one: &Sink, other: &Sink) -> Vec<String> {
    let (Sink::Cosmos(one), Sink::Cosmos(other)) = (one, other);
    let names = differing!(CosmosSink {
        account, database, container, write, concurrency, batch_changes, batch_bytes, budget,
        good_neighbour
    } of one, other);
    names.into_iter().map(str::to_owned).collect()
}

fn pipeline(one: &Pipeline, other: &Pipeline) -> Vec<String> {
    let names = differing!(Pipeline {
        source, routes, window, checkpoint_interval, read_ahead, deletes
    } of one, other);
    let (one, other) = (&one.source, &other.source);
    let source = differing!(Source {
        account, database, container, mode, start, page_size, poll_interval, budget, good_neighbour
    } of one, other);
    let source = source.into_iter().map(|name| format!("source.{name}"));
    source.chain(names.into_iter().filter(|name| *name != "source").map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Amount, Budget, Config, parse};

    /// Accounts, pipelines and sinks `a` and `b`; each pipeline reads `d/c` and writes `t/c` of the
    /// account of its name.
    const RUNNING: &str = r#"
[accounts.a]
endpoint = "https://a"
key = { file = "key" }
[accounts.b]
endpoint = "https://b"
key = { file = "key" }
[pipelines.a]
routes = [{ to = "a" }]
[pipelines.a.source]
account = "a"
database = "d"
container = "c"
start = "now"
budget = "1 RU/s"
[pipelines.b]
routes = [{ to = "b" }]
[pipelines.b.source]
account = "b"
database = "d"
container = "c"
start = "now"
budget = "2 RU/s"
[sinks.cosmos.a]
account = "a"
database = "t"
container = "c"
budget = "3 RU/s"
[sinks.cosmos.b]
account = "b"
database = "t"
container = "c"
budget = "4 RU/s"
"#;

    fn read(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        for (file, secret) in
            [("key", "c2VjcmV0"), ("connection", "AccountEndpoint=https://a/;AccountKey=c2VjcmV0;")]
        {
            std::fs::write(dir.path().join(file), secret).unwrap();
        }
        let mut config =
            parse("config.toml", text, dir.path()).unwrap_or_else(|p| panic!("{p}\n{text}"));
        // Folders differ from one call to the next, and files in them are not meant here.
        config.state.file = std::path::PathBuf::new();
        for account in config.accounts.values_mut() {
            use crate::config::{CredentialRef, SecretRef};
            let reference = SecretRef::Env("KEY".to_owned());
            account.credential = match account.credential {
                CredentialRef::Key(_) => CredentialRef::Key(reference),
                CredentialRef::ConnectionString(_) => CredentialRef::ConnectionString(reference),
            };
        }
        config
    }

    fn edited(edits: &[(&str, &str)]) -> Config {
        let mut text = RUNNING.to_owned();
        for (from, to) in edits {
            assert!(text.contains(from), "{from}\n{text}");
            text = text.replace(from, to);
        }
        read(&text)
    }

    /// Of pipelines `a` and `b` and sinks `a` and `b`.
    fn budgets(config: &Config) -> [Budget; 4] {
        let [a, b] = ["a", "b"].map(|name| config.reading(name).budget);
        let [c, d] = ["a", "b"].map(|name| config.writing(name).budget);
        [a, b, c, d]
    }

    #[test]
    fn a_reload_takes_the_budget_of_the_same_container() {
        let one = ("1 RU/s", "10%");
        let three = ("3 RU/s", "unlimited");
        let edits: &[(&str, &[(&str, &str)], [&str; 4])] = &[
            ("nothing", &[], ["1", "2", "3", "4"]),
            ("budgets", &[one, three], ["10%", "2", "unlimited", "4"]),
            // No table of that name, or another container in it: the budget is the container's.
            ("a renamed pipeline", &[one, ("pipelines.a", "pipelines.x")], ["10%", "2", "3", "4"]),
            (
                "a renamed sink",
                &[three, ("sinks.cosmos.a", "sinks.cosmos.x"), ("to = \"a\"", "to = \"x\"")],
                ["1", "2", "unlimited", "4"],
            ),
            (
                "a renamed account",
                &[one, ("accounts.a]", "accounts.x]"), ("account = \"a\"", "account = \"x\"")],
                ["10%", "2", "3", "4"],
            ),
            (
                "the same account in another spelling",
                &[
                    one,
                    ("endpoint = \"https://a\"\nkey", "connection_string"),
                    (
                        "connection_string = { file = \"key\" }",
                        "connection_string.file = \"connection\"",
                    ),
                ],
                ["10%", "2", "3", "4"],
            ),
            (
                "accounts that change places",
                &[
                    ("https://a", "https://x"),
                    ("https://b", "https://a"),
                    ("https://x", "https://b"),
                ],
                ["2", "1", "4", "3"],
            ),
            ("another account", &[one, three, ("https://a", "https://x")], ["1", "2", "3", "4"]),
            (
                "another container",
                &[
                    one,
                    (
                        "\"d\"\ncontainer = \"c\"\nstart = \"now\"\nbudget = \"10%\"",
                        "\"d\"\ncontainer = \"x\"\nstart = \"now\"\nbudget = \"10%\"",
                    ),
                ],
                ["1", "2", "3", "4"],
            ),
            (
                "another database",
                &[three, ("database = \"t\"", "database = \"x\"")],
                ["1", "2", "3", "4"],
            ),
        ];
        let running = read(RUNNING);
        for (what, edits, expected) in edits {
            let after = running.with_budgets_of(&edited(edits));
            let expected = expected.map(|text| {
                Budget::from(match text {
                    "unlimited" => Amount::Unlimited,
                    "10%" => Amount::Share(0.1),
                    units => Amount::Units(units.parse().unwrap()),
                })
            });
            assert_eq!(budgets(&after), expected, "{what}");
            // And nothing but budgets.
            let budgets_only =
                after.differences(&running).iter().all(|name| name.ends_with(".budget"));
            assert!(budgets_only, "{what}");
        }
    }

    /// Two pipelines of one container must go on to agree, whatever became of one of them.
    #[test]
    fn what_shares_a_container_agrees_after_a_reload() {
        let shared = ("account = \"b\"\ndatabase = \"d\"", "account = \"a\"\ndatabase = \"d\"");
        let running = edited(&[shared, ("2 RU/s", "1 RU/s")]);
        for (what, edits) in [
            ("one is renamed", [shared, ("pipelines.b", "pipelines.x"), ("2 RU/s", "1 RU/s")]),
            ("one reads another", [("", ""), ("", ""), ("2 RU/s", "9 RU/s")]),
        ] {
            let wished = edited(
                &[edits.as_slice(), &[("1 RU/s", "7 RU/s\"\ngood_neighbour = true # \"")]].concat(),
            );
            let after = running.with_budgets_of(&wished);
            let (a, b) = (after.reading("a"), after.reading("b"));
            assert_eq!(
                (a.budget.otherwise, a.good_neighbour),
                (Amount::Units(7.0), true),
                "{what}"
            );
            assert_eq!((b.budget, b.good_neighbour), (a.budget, a.good_neighbour), "{what}");
        }
    }

    #[test]
    fn differences_are_named_as_the_file_names_them() {
        let edits: &[(&[(&str, &str)], &[&str])] = &[
            (&[], &[]),
            (
                &[("\n[accounts.a]", "stop_within = \"5s\"\nlog.level = \"warn\"\n[accounts.a]")],
                &["stop_within", "log.level"],
            ),
            (
                &[("endpoint = \"https://a\"", "endpoint = \"https://x\"\nhttp2 = false")],
                &["accounts.a.endpoint", "accounts.a.http2"],
            ),
            (
                &[("4 RU/s\"", "5 RU/s\"\nconcurrency = 5")],
                &["sinks.cosmos.b.concurrency", "sinks.cosmos.b.budget"],
            ),
            (
                &[
                    ("to = \"a\" }]", "to = \"b\" }]\nwindow = 7000"),
                    (
                        "\"d\"\ncontainer = \"c\"\nstart = \"now\"\nbudget = \"1",
                        "\"d\"\ncontainer = \"x\"\nstart = \"now\"\nbudget = \"1",
                    ),
                ],
                &["pipelines.a.source.container", "pipelines.a.routes", "pipelines.a.window"],
            ),
            (
                &[
                    ("accounts.b]", "accounts.x]"),
                    ("account = \"b\"", "account = \"x\""),
                    ("pipelines.b", "pipelines.y"),
                ],
                &[
                    "accounts.b",
                    "accounts.x",
                    "sinks.cosmos.b.account",
                    "pipelines.b",
                    "pipelines.y",
                ],
            ),
        ];
        let running = read(RUNNING);
        for (edits, expected) in edits {
            assert_eq!(running.differences(&edited(edits)), *expected);
        }
    }
}
