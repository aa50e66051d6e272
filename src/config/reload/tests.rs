use crate::config::{Amount, Budget, Config, Options as _, parse};

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

/// From, to.
type Edits<'e> = &'e [(&'e str, &'e str)];

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
        use crate::config::{LocalSecret, SecretRef};
        let place = LocalSecret::Env("KEY".to_owned());
        if let Some(key) = &mut account.key {
            *key = SecretRef::Local(place.clone());
        }
        if let Some(connection) = &mut account.connection_string {
            connection.place = place;
        }
    }
    config
}

fn edited(edits: Edits<'_>) -> Config {
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
    let [c, d] = ["a", "b"].map(|name| config.writing(name).unwrap().budget);
    [a, b, c, d]
}

#[test]
fn a_reload_takes_the_budget_of_the_same_container() {
    let one = ("1 RU/s", "10%");
    let three = ("3 RU/s", "unlimited");
    let edits: &[(&str, Edits<'_>, [&str; 4])] = &[
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
            &[("https://a", "https://x"), ("https://b", "https://a"), ("https://x", "https://b")],
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
        let budgets_only = after.differences(&running).iter().all(|name| name.ends_with(".budget"));
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
        assert_eq!((a.budget.otherwise, a.good_neighbour), (Amount::Units(7.0), true), "{what}");
        assert_eq!((b.budget, b.good_neighbour), (a.budget, a.good_neighbour), "{what}");
    }
}

#[test]
fn differences_are_named_as_the_file_names_them() {
    let edits: &[(Edits<'_>, &[&str])] = &[
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
            &["accounts.b", "accounts.x", "sinks.cosmos.b.account", "pipelines.b", "pipelines.y"],
        ),
    ];
    let running = read(RUNNING);
    for (edits, expected) in edits {
        assert_eq!(running.differences(&edited(edits)), *expected);
    }
}
