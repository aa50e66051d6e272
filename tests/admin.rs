//! The admin address of the real binary: metrics through the Prometheus project's own parser, what is
//! refused, and health under induced faults.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cosmos_bridge_brokers::{Endpoint, Port, script};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};
use serde::Deserialize;
use support::admin::AdminAddress;
use support::{Bridge, Pair, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const DOCS: &str = include_str!("../docs/metrics.md");

/// Probes ask from time to time; a bridge that is not stuck is alive each time.
const SOON: Duration = Duration::from_millis(50);

fn documents(ids: std::ops::Range<u32>) -> String {
    ids.map(|n| format!("{{\"id\":\"d{n}\",\"region\":\"r{n}\"}}\n")).collect::<Vec<_>>().concat()
}

/// Adds an admin address with these options to a configuration. Its port stays taken by nobody else
/// as long as the second value lives.
fn with_admin(config: &Path, options: &str) -> (AdminAddress, Port) {
    let port = Port::free().unwrap();
    let text = std::fs::read_to_string(config).unwrap();
    let table = format!("[admin]\naddress = \"127.0.0.1:{}\"\n{options}\n", port.number());
    std::fs::write(config, table + &text).unwrap();
    (AdminAddress(port.number()), port)
}

/// A sample as the parser of the Prometheus project reads it.
#[derive(Debug, Deserialize)]
struct Sample {
    family: String,
    r#type: String,
    help: String,
    name: String,
    labels: BTreeMap<String, String>,
    value: String,
}

async fn scrape(admin: AdminAddress, format: &str) -> Vec<Sample> {
    let accept = match format {
        "openmetrics" => "accept: application/openmetrics-text; version=1.0.0\r\n",
        _ => "",
    };
    let answer = admin.get("/metrics", accept).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = if format == "text" { "text/plain; version=0.0.4" } else { "openmetrics-text" };
    assert!(answer.head.contains(kind), "{}", answer.head);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_metrics.py");
    let lines = script(&path, &[format], &answer.body).await.unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a metric is: its name as one writes it in a query, its type, its labels.
type Described = (String, String, BTreeSet<String>);

/// Those of docs/metrics.md.
fn documented() -> BTreeSet<Described> {
    let rows = DOCS.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let name = cells.next()?.trim_matches('`');
        if !name.starts_with("cosmos_bridge_") && !name.starts_with("process_") {
            return None;
        }
        let kind = cells.next()?.to_owned();
        let labels = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned);
        Some((name.to_owned(), kind, labels.collect()))
    });
    rows.collect()
}

fn described(sample: &Sample) -> Described {
    let name = if sample.r#type == "histogram" { &sample.family } else { &sample.name };
    let labels = sample.labels.keys().filter(|label| *label != "le").cloned();
    (name.clone(), sample.r#type.clone(), labels.collect())
}

/// The value of the only sample of a name whose labels include these.
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        let is = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|v| v == value);
        sample.name == name && labels.iter().all(is)
    };
    let found: Vec<_> = samples.iter().filter(has).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
    found[0].value.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..50));
    pair.seed("{\"id\":\"lost\"}\n");
    let budget = "budget = \"100000 RU/s\"";
    let config =
        pair.configure(budget, "", budget, "where = { path = \"/id\", not_equals = \"d0\" }");
    let (admin, _port) = with_admin(&config, "");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;

    let samples = scrape(admin, "openmetrics").await;
    let found: BTreeSet<_> = samples.iter().map(described).collect();
    let documented = documented();
    assert!(documented.len() > 35, "{documented:?}");
    let missing: Vec<_> = documented.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&documented).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}\nunknown {unknown:?}");
    assert!(samples.iter().all(|sample| !sample.help.is_empty()));

    let old = scrape(admin, "text").await;
    let names = |samples: &[Sample]| -> BTreeSet<_> {
        samples.iter().map(|sample| sample.name.clone()).collect()
    };
    assert_eq!(names(&old), names(&samples));

    let orders = ("pipeline", "orders");
    let archive = ("sink", "archive");
    let read = ("direction", "read");
    let of = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);
    for (name, labels, expected) in [
        ("cosmos_bridge_changes_read_total", &[orders][..], 51.0),
        ("cosmos_bridge_changes_filtered_total", &[orders], 1.0),
        ("cosmos_bridge_changes_delivered_total", &[orders, archive], 49.0),
        ("cosmos_bridge_caught_up", &[orders, archive, ("range", "[,FF)")], 1.0),
        ("cosmos_bridge_lag_seconds", &[orders, archive], 0.0),
        ("cosmos_bridge_lag_documents", &[orders, archive], 0.0),
        ("cosmos_bridge_feed_ranges", &[orders], 1.0),
        ("cosmos_bridge_parked_ranges", &[orders, archive], 0.0),
        ("cosmos_bridge_budget_request_units_per_second", &[read], 100_000.0),
        ("cosmos_bridge_sink_down_seconds", &[archive], 0.0),
        ("cosmos_bridge_ready", &[], 1.0),
    ] {
        assert!((of(name, labels) - expected).abs() < 1e-9, "{name}: {}", of(name, labels));
    }
    // The one that has no key.
    let letters = ["read", "route", "sink"]
        .map(|stage| of("cosmos_bridge_dead_letters_total", &[archive, ("stage", stage)]));
    assert!((letters.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{letters:?}");
    let writes = of("cosmos_bridge_sink_write_duration_seconds_count", &[archive]);
    assert!(writes > 0.0 && writes <= of("cosmos_bridge_sink_requests_total", &[archive]));
    assert!(of("cosmos_bridge_request_units_total", &[read]) > 0.0);
    assert!(of("process_resident_memory_bytes", &[]) > 1e6);
    let age = jiff_now() - of("cosmos_bridge_last_checkpoint_timestamp_seconds", &[archive]);
    assert!((0.0..120.0).contains(&age), "{age}");
    bridge.kill().await;
}

fn jiff_now() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

/// A pair with a bridge that has caught up.
async fn running(options: &str) -> (Pair, Bridge, AdminAddress, Port) {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..5));
    let config = pair.configure("", "", "", "");
    let (admin, port) = with_admin(&config, options);
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "\"ready\":true").await;
    (pair, bridge, admin, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_of_this_host_is_refused() {
    let (_pair, bridge, admin, _port) = running("hosts = [\"bridge.example\"]").await;
    let host = admin.host();
    for (status, request) in [
        (200, format!("GET /live HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (200, format!("HEAD /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (200, "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        (200, "GET /status HTTP/1.1\r\nhost: bridge.example:80\r\n\r\n".to_owned()),
        (421, "GET /metrics HTTP/1.1\r\nhost: rebound.example\r\n\r\n".to_owned()),
        (421, "GET /live HTTP/1.1\r\nhost: 192.0.2.1\r\n\r\n".to_owned()),
        (400, "GET /live HTTP/1.1\r\n\r\n".to_owned()),
        (404, format!("GET /reload HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (405, format!("POST /status HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (405, format!("DELETE /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (413, format!("GET /live HTTP/1.1\r\nhost: {host}\r\ncontent-length: 4\r\n\r\nbody")),
        (413, format!("POST /live HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n")),
        (431, format!("GET /live HTTP/1.1\r\nhost: {host}\r\nx: {}\r\n\r\n", "y".repeat(100_000))),
        (431, format!("GET /live HTTP/1.1\r\nhost: {host}\r\n{}\r\n", "x: y\r\n".repeat(100))),
        (400, "\u{1}\u{2}\r\n\r\n".to_owned()),
    ] {
        let answer = admin.exchange(request.as_bytes()).await;
        let head = request.chars().take(80).collect::<String>();
        let answer = answer.unwrap_or_else(|error| panic!("{head:?}: {error}"));
        assert_eq!(answer.status, status, "{head:?}: {answer:?}");
        assert!(!request.starts_with("HEAD") || answer.body.is_empty(), "{answer:?}");
    }
    let answer = admin.get("/live", "").await.unwrap();
    for header in ["cache-control: no-store", "x-content-type-options: nosniff"] {
        assert!(answer.head.contains(header), "{}", answer.head);
    }
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_off_and_hold_up_nobody() {
    let (_pair, bridge, admin, _port) = running("").await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = admin.connect().await.unwrap();
        stream.write_all(b"GET /live HTTP/1.1\r\nhost:").await.unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // One byte now and again does not help.
    let drip = async {
        while slow[0].write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(Duration::from_secs(30), drip).await.expect("it is cut off");
    for stream in &mut slow[1..] {
        let mut said = Vec::new();
        let end = timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await;
        assert!(end.is_ok(), "not cut off");
        assert!(!String::from_utf8_lossy(&said).contains(" 200 "));
    }
    // More than are served at once.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(admin.connect().await.unwrap());
    }
    admin.until("/live", 200, "true").await;
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_read_again() {
    let pair = Pair::alike().await;
    let token = pair.folder.path().join("admin.token");
    std::fs::write(&token, "tulip").unwrap();
    let config = pair.configure("", "", "", "");
    let (admin, _port) = with_admin(&config, "token = { file = \"admin.token\" }");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "true").await;
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    for (path, given, status) in [
        ("/metrics", String::new(), 401),
        ("/status", String::new(), 401),
        ("/metrics", bearer("rose"), 401),
        ("/metrics", bearer("tulip"), 200),
        ("/status", bearer("tulip"), 200),
    ] {
        assert_eq!(admin.get(path, &given).await.unwrap().status, status, "{path} {given}");
    }
    std::fs::write(&token, "rose").unwrap();
    assert_eq!(admin.get("/status", &bearer("tulip")).await.unwrap().status, 401);
    assert_eq!(admin.get("/status", &bearer("rose")).await.unwrap().status, 200);
    let status = Bridge::command(&config, &["status"]).await;
    assert_eq!(status.code(), Some(0), "{}", status.log);
    // Of a file that names another one.
    std::fs::write(pair.folder.path().join("other.token"), "iris").unwrap();
    let other = config.with_file_name("other.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&other, text.replace("admin.token", "other.token")).unwrap();
    let status = Bridge::command(&other, &["status"]).await;
    assert_eq!(status.code(), Some(77), "{}", status.log);
    std::fs::remove_file(&token).unwrap();
    assert_eq!(admin.get("/status", &bearer("rose")).await.unwrap().status, 401);
    bridge.kill().await;
}

/// Asks again and again whether the bridge is alive, until `work` is done.
async fn alive_during<T>(admin: AdminAddress, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(SOON) => {
                let answer = admin.get("/live", "").await.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sink_makes_it_unready_until_it_is_back() {
    let pair = Pair::alike().await;
    let mut endpoint = Endpoint::start().await.unwrap();
    let sinks = format!("[sinks.http.hook]\nurl = \"{}orders\"\n", endpoint.url());
    let start = "start = \"beginning\"\npoll_interval = \"100ms\"";
    let config = pair.configure_sinks(&sinks, "", start, "to = \"hook\"");
    let (admin, _port) = with_admin(&config, "sink_down = \"2s\"");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "true").await;
    pair.seed(&documents(0..5));
    eventually("events arrive", || endpoint.taken().unwrap().len() == 5).await;
    endpoint.kill().await;
    pair.seed(&documents(5..10));
    let down = alive_during(admin, admin.until("/ready", 503, "sink_down")).await;
    assert!(down.body.contains("\"sink\":\"hook\""), "{}", down.body);
    let status = Bridge::command(&config, &["status"]).await;
    assert_eq!(status.code(), Some(3), "{}", status.log);
    assert!(status.log.contains("sink hook has failed for"), "{}", status.log);
    let samples = scrape(admin, "openmetrics").await;
    assert!(value(&samples, "cosmos_bridge_sink_down_seconds", &[("sink", "hook")]) >= 2.0);
    assert!(value(&samples, "cosmos_bridge_lag_seconds", &[("sink", "hook")]) > 0.0);
    let causes = ["throttled", "hot_key", "busy", "moved", "fault"].map(|cause| {
        value(&samples, "cosmos_bridge_sink_errors_total", &[("sink", "hook"), ("cause", cause)])
    });
    assert!(causes.iter().sum::<f64>() >= 1.0, "{causes:?}");
    let reasons = "cosmos_bridge_unready_reasons";
    assert!(value(&samples, reasons, &[("cause", "sink_down")]) > 0.5);
    assert!(value(&samples, "cosmos_bridge_ready", &[]) < 0.5);

    endpoint.restart().await.unwrap();
    alive_during(admin, admin.until("/ready", 200, "true")).await;
    eventually("the others arrive", || endpoint.taken().unwrap().len() == 10).await;
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_gets_on_no_more_makes_it_unready_until_it_does() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..5));
    let config = pair.configure("", "", "poll_interval = \"100ms\"", "");
    let (admin, _port) = with_admin(&config, "no_progress = \"2s\"");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    pair.accounts.fault(FaultRule {
        account: Some("source".to_owned()),
        operation: Some("feed".to_owned()),
        then: Effect { status: Some(503), ..Effect::default() },
        ..FaultRule::default()
    });
    pair.seed(&documents(5..10));
    let stuck = alive_during(admin, admin.until("/ready", 503, "no_progress")).await;
    assert!(stuck.body.contains("\"range\":\"[,FF)\""), "{}", stuck.body);
    let samples = scrape(admin, "openmetrics").await;
    assert!(value(&samples, "cosmos_bridge_lag_seconds", &[]) >= 2.0);
    assert!(value(&samples, "cosmos_bridge_caught_up", &[]) < 0.5);
    assert!(value(&samples, "cosmos_bridge_read_down_seconds", &[]) > 0.0);
    pair.accounts.clear_faults();
    alive_during(admin, admin.until("/ready", 200, "true")).await;
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    bridge.kill().await;
}

/// An endless jq expression takes a thread for good. With more of them than threads nothing is served
/// any more, but for the admin address.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_process_that_is_stuck_is_not_alive() {
    let threads = std::thread::available_parallelism().unwrap().get();
    let settings = ContainerSettings::new(&["/region"], 2 * u32::try_from(threads).unwrap());
    let pair = Pair::start(&settings, &ContainerSettings::new(&["/region"], 1)).await;
    let jq = "jq = 'if .id == \"calm\" then . else until(false; .) end'";
    let config = pair.configure("", "", "poll_interval = \"100ms\"", jq);
    let (admin, _port) = with_admin(&config, "stuck = \"2s\"");
    let bridge = Bridge::start(&config, &["run"]);
    pair.seed("{\"id\":\"calm\",\"region\":\"r\"}\n");
    admin.until("/ready", 200, "true").await;
    eventually("what is calm is copied", || pair.count("target", "copies") == 1).await;
    pair.seed(&documents(0..1000));
    admin.until("/live", 503, "\"alive\":false").await;
    let status = admin.get("/status", "").await.unwrap();
    assert!(status.body.contains("\"alive\":false"), "{}", status.body);
    let samples = scrape(admin, "openmetrics").await;
    let beat = value(&samples, "cosmos_bridge_heartbeat_timestamp_seconds", &[]);
    assert!(jiff_now() - beat >= 2.0);
    // What is read and not routed is in flight: nobody is told that all is well.
    let behind = samples.iter().filter(|sample| sample.name == "cosmos_bridge_caught_up");
    let behind = behind.filter(|sample| sample.value.parse::<f64>().unwrap() < 0.5).count();
    assert!(behind >= threads, "{behind}");
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_starts_is_alive_and_not_ready() {
    let pair = Pair::alike().await;
    pair.accounts.fault(FaultRule {
        account: Some("source".to_owned()),
        then: Effect { delay_ms: Some(2_000), ..Effect::default() },
        ..FaultRule::default()
    });
    let config = pair.configure("", "", "", "");
    let (admin, _port) = with_admin(&config, "");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 503, "starting").await;
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    scrape(admin, "openmetrics").await;
    pair.accounts.clear_faults();
    admin.until("/ready", 200, "true").await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_is_told_with_the_notes_of_the_client_library_and_no_document() {
    let pair = Pair::alike().await;
    pair.seed("{\"id\":\"marigold\",\"region\":\"r\",\"text\":\"chrysanthemum\"}\n");
    let config = pair.configure("", "", "", "");
    let (admin, _port) = with_admin(&config, "[log]\nslow = \"100ms\"\nlevel = \"debug\"");
    for (account, operation) in [("source", "feed"), ("target", "writes")] {
        pair.accounts.fault(FaultRule {
            account: Some(account.to_owned()),
            operation: Some(operation.to_owned()),
            then: Effect { delay_ms: Some(150), ..Effect::default() },
            ..FaultRule::default()
        });
    }
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    let log = bridge.log();
    for what in ["reading was slow", "writing was slow"] {
        let line = log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{log}"));
        for note in ["container=", "seconds=0.", "activity_id=", "requests=1", "initial in "] {
            assert!(line.contains(note), "{note}: {line}");
        }
    }
    let status = admin.get("/status", "").await.unwrap().body;
    let metrics = admin.get("/metrics", "").await.unwrap().body;
    for text in [log, status, metrics] {
        assert!(!text.contains("chrysanthemum") && !text.contains("marigold"), "{text}");
        assert!(!text.contains(&pair.accounts.key("source")), "{text}");
    }
    bridge.kill().await;
}

/// A configuration of its own for a second bridge.
fn copy(pair: &Pair, config: &Path) -> PathBuf {
    let folder = pair.folder.path().join("second");
    std::fs::create_dir(&folder).unwrap();
    for file in ["source.key", "target.key"] {
        std::fs::copy(pair.folder.path().join(file), folder.join(file)).unwrap();
    }
    std::fs::copy(config, folder.join("config.toml")).unwrap();
    folder.join("config.toml")
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_shown_once_live_and_as_json() {
    let (pair, bridge, admin, _port) = running("").await;
    let config = pair.folder.path().join("config.toml");
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    let log = bridge.log();
    assert!(log.contains("the admin address answers"), "{log}");
    let shown = Bridge::command(&config, &["status"]).await;
    assert_eq!(shown.code(), Some(0), "{}", shown.log);
    for text in
        ["running for", "ready", "pipeline orders  5 read", "-> archive  caught up  lag 0 s"]
    {
        assert!(shown.log.contains(text), "{text}: {}", shown.log);
    }
    let json = Bridge::command(&config, &["status", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(json.last_words().trim()).unwrap();
    assert_eq!(report["pipelines"][0]["sinks"][0]["lag_documents"], 0, "{report}");
    assert_eq!(report["pipelines"][0]["sinks"][0]["delivered"], 5, "{report}");
    assert_eq!(report["ready"], true, "{report}");
    std::fs::write(config.with_file_name("bridge.log"), "").unwrap();
    let watch = Bridge::start(&config, &["status", "--watch"]);
    eventually("it is shown again", || watch.log().matches("pipeline orders").count() >= 2).await;
    watch.kill().await;

    // The address is taken.
    let second = Bridge::command(&copy(&pair, &config), &["run"]).await;
    assert_eq!(second.code(), Some(71), "{}", second.log);
    let said = pair.settled(&second.last_words()).replace(&admin.host(), "ADMIN");
    assert_eq!(
        said,
        "cannot use the admin address ADMIN: Address already in use (os error 98)\n\
         hint: Another process uses it, or this machine does not have it: write another \
         admin.address, or end the other process."
    );
    bridge.kill().await;
    let silent = Bridge::command(&config, &["status"]).await;
    assert_eq!(silent.code(), Some(69), "{}", silent.log);
    let without = pair.configure("", "", "", "");
    let without = Bridge::command(&without, &["status"]).await;
    assert_eq!(without.code(), Some(78), "{}", without.log);
}
