//! What is written arrives.

use cosmos_bridge_cosmos::{CosmosOptions, OnCollision, Ttl};
use cosmos_bridge_sink::KeyValue;
use serde_json::json;

use super::*;

/// Every option, none at its default.
const EVERYTHING: &str = r#"
stop_within = "1m 30s"
[state]
file = "state/positions.db"
[log]
level = "warn,cosmos_bridge=debug"
slow = "250ms"
format = "json"
[admin]
address = "[::1]:9000"
token = { file = "salt" }
hosts = ["Bridge.example", "10.0.0.1"]
sink_down = "1m"
no_progress = "2m"
stuck = "3m"

[accounts.source]
endpoint = "https://source.example:444"
key = { file = "key" }
regions = ["West Europe", "North Europe"]
http2 = false
request_timeout = "10s"
priority = "low"
throughput_bucket = 5
[accounts.target]
connection_string.file = "connection"

[sinks.cosmos.archive]
account = "target"
database = "shop"
container = "archive"
write = "insert-if-absent"
concurrency = 8
batch_changes = 1
batch_bytes = "512 KiB"
bulk = false
on_collision = "dead-letter"
source_field = "_source"
ttl = "as-is"
late_write_limit = "90s"
remembered_documents = 5000
budget = "400.5 RU/s"
good_neighbour = true
[sinks.cosmos.keys]
account = "target"
database = "shop"
container = "keys"

[pipelines.orders]
window = 20_000
checkpoint_interval = "250ms"
read_ahead = "64 MiB"
deletes = "explicit"
until = "2027-01-31T01:00:00+01:00"
[pipelines.orders.source]
account = "source"
database = "shop"
container = "orders"
mode = "all-versions-and-deletes"
start = "now"
history = "30d"
on_lost_history = "park"
page_size = 100
poll_interval = "5s"
idle_budget = "8.5 RU/s"
good_neighbour = true
[pipelines.orders.source.budget]
otherwise = "80%"
time_zone = "Europe/Berlin"
schedule = [
    { days = "mon-fri", hours = "07:00-19:00", budget = "12.5%" },
    { hours = "22:00-24:00", budget = "unlimited" },
]

[[pipelines.orders.routes]]
to = "archive"
where = { all = [
    { path = "/status", in = ["paid", 1, true] },
    { any = [{ path = "/a", equals = 1.5 }, { path = "/b/c", not_equals = [{ x = "y" }] }] },
    { not = { path = "/d", exists = true } },
    { path = '/"e/f"', starts_with = "g" },
    { jq = ".total > 10" },
] }
jq = ".total |= round"
exclude = ["/secret"]
rename = { "/z" = "/a", "/b" = "/c/d" }
set = { "/y" = { nested = [1, "two"] }, "/x" = -3 }
mask = { "/email" = "***", "/ssn" = { sha256 = { salt = { file = "salt" } } } }
partition_key = [
    "/tenant",
    { path = "/pk", template = "{/tenant}-{{{/day}}}", buckets = { count = 16, of = "/id" } },
    { path = "/kind", constant = 7 },
]
id = "{/tenant}:{/id}"
moves = true

[[pipelines.orders.routes]]
to = "keys"
include = ["/a"]
partition_key = [{ path = "/k", from = "/l/m" }, { path = "/n", constant = "o" }]
"#;

/// Nothing that has a default.
const LEAST: &str = r#"
[accounts.a]
endpoint = "http://localhost:8081/"
key = { file = "key" }
[sinks.cosmos.s]
account = "a"
database = "d"
container = "t"
[pipelines.p]
source = { account = "a", database = "d", container = "c", start = 2026-01-31 01:00:00+01:00 }
routes = [{ to = "s" }]
"#;

/// A folder with the secrets that both name.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("key", "c2VjcmV0\n"),
        ("connection", "AccountEndpoint=https://target.example/;AccountKey=dGFyZ2V0;"),
        ("salt", "pepper"),
    ];
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn location(account: &str, container: &str) -> Location {
    Location {
        account: account.to_owned(),
        database: "shop".to_owned(),
        container: container.to_owned(),
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

#[test]
fn every_option_arrives() {
    let dir = folder();
    let in_dir = |file: &str| dir.path().join(file);
    let config = parse("config.toml", EVERYTHING, dir.path()).unwrap_or_else(|p| panic!("{p}"));

    assert_eq!(config.stop_within, Duration::from_secs(90));
    assert_eq!(config.state.file, in_dir("state/positions.db"));
    let level = "warn,cosmos_bridge=debug".to_owned();
    assert_eq!(
        config.log,
        Log { level, format: LogFormat::Json, slow: Duration::from_millis(250) }
    );
    let admin = Admin {
        address: "[::1]:9000".parse().unwrap(),
        token: Some(LocalSecret::File(in_dir("salt"))),
        hosts: vec!["bridge.example".to_owned(), "10.0.0.1".to_owned()],
        sink_down: Duration::from_mins(1),
        no_progress: Duration::from_mins(2),
        stuck: Duration::from_mins(3),
    };
    assert_eq!(config.admin, Some(admin));
    let source = Account {
        endpoint: Some(Endpoint {
            written: "https://source.example:444".to_owned(),
            address: "https://source.example:444/".to_owned(),
        }),
        key: Some(SecretRef::Local(LocalSecret::File(in_dir("key")))),
        connection_string: None,
        credential: None,
        regions: vec!["West Europe".to_owned(), "North Europe".to_owned()],
        http2: false,
        request_timeout: Duration::from_secs(10),
        priority: Some(Priority::Low),
        throughput_bucket: Some(5),
    };
    assert_eq!(config.accounts["source"], source);
    let target = &config.accounts["target"];
    assert_eq!(target.endpoint, None);
    assert_eq!(target.address(), "https://target.example/");
    let Some(SecretRef::Local(place)) = target.secret() else { panic!("{target:?}") };
    let access = target.access(Some(place.read().unwrap())).unwrap();
    assert_eq!(access.endpoint, "https://target.example/");
    assert_eq!(access.proof, Proof::Key(Secret::new("dGFyZ2V0")));
    let sink = CosmosSink {
        location: location("target", "archive"),
        writing: CosmosOptions {
            write: Strategy::InsertIfAbsent,
            concurrency: 8,
            batch_changes: 1,
            batch_bytes: 512 * 1024,
            bulk: false,
            on_collision: OnCollision::DeadLetter,
            source_field: Some("_source".to_owned()),
            ttl: Ttl::AsIs,
            late_write_limit: Duration::from_secs(90),
            remembered_documents: 5000,
        },
        spending: Spending { budget: Amount::Units(400.5).into(), good_neighbour: true },
        mirror: None,
    };
    assert_eq!(config.sinks["archive"], Sink::Cosmos(sink));
    let pipeline = &config.pipelines["orders"];
    assert_eq!(pipeline.window, 20_000);
    assert_eq!(pipeline.checkpoint_interval, Duration::from_millis(250));
    assert_eq!(pipeline.read_ahead, 64 * 1024 * 1024);
    assert_eq!(pipeline.deletes, Deletes::Explicit);
    assert_eq!(pipeline.until, "2027-01-31T00:00:00Z".parse().ok());
    let source = Source {
        location: location("source", "orders"),
        mode: Mode::AllVersionsAndDeletes,
        start: Start::Now,
        history: Duration::from_hours(720),
        on_lost_history: OnLostHistory::Park,
        page_size: 100,
        poll_interval: Duration::from_secs(5),
        idle_budget: 8.5,
        spending: Spending { budget: scheduled(), good_neighbour: true },
    };
    assert_eq!(pipeline.source, source);
}

/// The schedule of `EVERYTHING`.
fn scheduled() -> Budget {
    use jiff::civil::{Time, Weekday::*};
    let workdays = Window {
        days: [Monday, Tuesday, Wednesday, Thursday, Friday].into_iter().collect(),
        from: Time::constant(7, 0, 0, 0),
        to: Time::constant(19, 0, 0, 0),
        amount: Amount::Share(0.125),
    };
    let evenings = Window {
        days: Days::EVERY,
        from: Time::constant(22, 0, 0, 0),
        to: Time::midnight(),
        amount: Amount::Unlimited,
    };
    let time_zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let schedule = Some(Schedule { time_zone, windows: vec![workdays, evenings] });
    Budget { otherwise: Amount::Share(0.8), schedule }
}

#[test]
fn every_part_of_a_route_arrives() {
    let dir = folder();
    let config = parse("config.toml", EVERYTHING, dir.path()).unwrap_or_else(|p| panic!("{p}"));
    let filter = Filter::All(vec![
        Filter::In(path("/status"), vec![json!("paid"), json!(1), json!(true)]),
        Filter::Any(vec![
            Filter::Equals(path("/a"), json!(1.5)),
            Filter::NotEquals(path("/b/c"), json!([{ "x": "y" }])),
        ]),
        Filter::Not(Box::new(Filter::Exists(path("/d"), true))),
        Filter::StartsWith(path("/\"e/f\""), "g".to_owned()),
        Filter::Jq(".total > 10".to_owned()),
    ]);
    let salt = SecretRef::Local(LocalSecret::File(dir.path().join("salt")));
    let template = Template::parse("{/tenant}-{{{/day}}}").unwrap();
    let keep = |text| KeyRule { path: path(text), value: KeySource::Keep, buckets: None };
    let first = Route {
        to: "archive".to_owned(),
        filter: Some(filter),
        jq: Some(".total |= round".to_owned()),
        include: vec![],
        exclude: vec![path("/secret")],
        rename: vec![(path("/z"), path("/a")), (path("/b"), path("/c/d"))],
        set: vec![(path("/y"), json!({ "nested": [1, "two"] })), (path("/x"), json!(-3))],
        mask: vec![
            (path("/email"), Mask::Text("***".to_owned())),
            (path("/ssn"), Mask::Sha256 { salt }),
        ],
        partition_key: vec![
            keep("/tenant"),
            KeyRule {
                value: KeySource::Template(template),
                buckets: Some(Buckets { count: 16, of: path("/id") }),
                ..keep("/pk")
            },
            KeyRule { value: KeySource::Constant(KeyValue::Number(7.0)), ..keep("/kind") },
        ],
        id: Template::parse("{/tenant}:{/id}"),
        moves: true,
        snapshot: true,
        soft_delete: None,
    };
    let second = Route {
        to: "keys".to_owned(),
        filter: None,
        jq: None,
        include: vec![path("/a")],
        exclude: vec![],
        rename: vec![],
        set: vec![],
        mask: vec![],
        partition_key: vec![
            KeyRule { value: KeySource::From(path("/l/m")), ..keep("/k") },
            KeyRule { value: KeySource::Constant(KeyValue::String("o".to_owned())), ..keep("/n") },
        ],
        id: None,
        moves: false,
        snapshot: true,
        soft_delete: None,
    };
    assert_eq!(config.pipelines["orders"].routes, [first, second]);
}

#[test]
fn what_is_not_written_has_its_documented_default() {
    let dir = folder();
    let config = parse("config.toml", LEAST, dir.path()).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.stop_within, Duration::from_secs(30));
    assert_eq!(config.state.file, dir.path().join("cosmos-bridge.db"));
    let slow = Duration::from_secs(3);
    assert_eq!(config.log, Log { level: "info".to_owned(), format: LogFormat::Text, slow });
    assert_eq!(config.admin, None);
    let admin = format!("{LEAST}\n[admin]\n");
    let config = parse("config.toml", &admin, dir.path()).unwrap_or_else(|p| panic!("{p}"));
    let minutes = Duration::from_mins;
    let admin = Admin {
        address: "127.0.0.1:8090".parse().unwrap(),
        token: None,
        hosts: Vec::new(),
        sink_down: minutes(5),
        no_progress: minutes(5),
        stuck: Duration::from_secs(30),
    };
    assert_eq!(config.admin, Some(admin));
    let config = parse("config.toml", LEAST, dir.path()).unwrap_or_else(|p| panic!("{p}"));
    let account = &config.accounts["a"];
    assert!(account.http2 && account.regions.is_empty());
    assert_eq!(account.request_timeout, Duration::from_secs(30));
    assert_eq!((account.priority, account.throughput_bucket), (None, None));
    let sink = config.sinks["s"].container().unwrap();
    let writing = CosmosOptions {
        write: Strategy::Upsert,
        concurrency: 128,
        batch_changes: 100,
        batch_bytes: 1_572_864,
        bulk: true,
        on_collision: OnCollision::Newest,
        source_field: None,
        ttl: Ttl::Remaining,
        late_write_limit: Duration::from_secs(30),
        remembered_documents: 100_000,
    };
    assert_eq!(sink.writing, writing);
    let spending = Spending { budget: Amount::Unlimited.into(), good_neighbour: false };
    assert_eq!(sink.spending, spending);
    let pipeline = &config.pipelines["p"];
    assert_eq!((pipeline.window, pipeline.read_ahead), (5000, 16_777_216));
    assert_eq!(pipeline.checkpoint_interval, Duration::from_secs(1));
    assert_eq!(pipeline.deletes, Deletes::All);
    assert_eq!(pipeline.until, None);
    let source = &pipeline.source;
    assert_eq!(source.start, Start::Time("2026-01-31T00:00:00Z".parse().unwrap()));
    assert_eq!(source.mode, Mode::LatestVersion);
    assert_eq!(source.page_size, 1000);
    assert_eq!(source.spending, spending);
    assert_eq!((source.poll_interval, source.idle_budget), (Duration::from_secs(1), 32.0));
}

#[test]
fn what_is_unusual_but_right_is_allowed() {
    let dir = folder();
    let allowed = [
        ("an unused account", "[accounts.b]\nendpoint = \"https://b\"\nkey.file = \"key\"\n"),
        (
            "an unused sink",
            "[sinks.cosmos.u]\naccount = \"a\"\ndatabase = \"d\"\ncontainer = \"u\"\n",
        ),
        (
            "two pipelines that read one container",
            "[pipelines.q]\nsource = { account = \"a\", database = \"d\", container = \"c\", \
             start = \"now\" }\nroutes = [{ to = \"s\" }]\n",
        ),
        (
            "two pipelines that read one container within one budget, as by two forms of it",
            "[pipelines.q]\nsource = { account = \"a\", database = \"d\", container = \"c\", \
             start = \"now\", budget = { otherwise = \"unlimited\" }, good_neighbour = false }\n\
             routes = [{ to = \"s\" }]\n",
        ),
        (
            "a budget for reading and another for writing one container",
            "[sinks.cosmos.u]\naccount = \"a\"\ndatabase = \"d\"\ncontainer = \"c\"\n\
             budget = \"5 RU/s\"\n",
        ),
        (
            "two equal routes",
            "[pipelines.q]\nsource = { account = \"a\", database = \"d\", container = \"c\", \
             start = \"now\" }\nroutes = [{ to = \"s\" }, { to = \"s\" }]\n",
        ),
    ];
    for (what, more) in allowed {
        let text = format!("{LEAST}\n{more}");
        parse("config.toml", &text, dir.path()).unwrap_or_else(|p| panic!("{what}: {p}"));
    }
}
