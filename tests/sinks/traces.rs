//! Traces of changes, sent by the real binary to a receiver that decodes them with OpenTelemetry's own classes, and
//! joined with the events that consumers read.
#![cfg(all(feature = "kafka", feature = "http", feature = "file"))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use cosmos_bridge_brokers::{Collector, Endpoint, Kafka, Port, Span};
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::admin::AdminAddress;
use crate::support::{Bridge, Pair, eventually, planted};

const BEGINNING: &str = "start = \"beginning\"";
const ARCHIVE: &str = "[sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\n\
                       container = \"copies\"\n";
const FILE: &str = "[sinks.file.audit]\npath = \"events.jsonl\"\n";

/// `count` documents, whose ids and contents can be recognised in any output.
fn documents(count: u32) -> String {
    let line = |n| json!({"id": format!("patient-{n}"), "region": "north", "note": "planted: a diagnosis"});
    (0..count).map(|n| line(n).to_string() + "\n").collect()
}

async fn pair(count: u32) -> Pair {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    pair.seed(&documents(count));
    pair
}

/// The `[traces]` table with an endpoint and more options.
fn traces(endpoint: &str, options: &str) -> String {
    format!("[traces]\nendpoint = \"{endpoint}\"\n{options}\n")
}

async fn catch_up(config: &Path) {
    let ended = Bridge::catch_up(config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

fn spans_of(collector: &Collector) -> BTreeMap<String, Vec<Span>> {
    let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in collector.spans().unwrap() {
        traces.entry(span.trace.clone()).or_default().push(span);
    }
    traces
}

/// The spans of a sink, as traceparents.
fn parents(collector: &Collector, sink: &str) -> BTreeSet<String> {
    let spans = collector.spans().unwrap().into_iter();
    let of_sink =
        spans.filter(|span| span.attributes.get("cosmos_bridge.sink") == Some(&sink.into()));
    of_sink.map(|span| format!("00-{}-{}-01", span.trace, span.id)).collect()
}

fn file_events(pair: &Pair) -> Vec<Value> {
    let text = std::fs::read_to_string(pair.folder.path().join("events.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(events: &[Value], field: &str) -> BTreeSet<String> {
    events.iter().map(|event| event[field].as_str().unwrap().to_owned()).collect()
}

/// Three kinds of sinks, one of which has mapped ids; and environment variables that would change or disable other
/// exporters.
#[tokio::test(flavor = "multi_thread")]
async fn the_spans_of_a_change_are_one_trace_and_consumers_can_join_it() {
    const COUNT: u32 = 40;
    let (collector, kafka) = (Collector::start().await.unwrap(), Kafka::start().await.unwrap());
    kafka.create_topic("shop.orders", 1, &[]).await.unwrap();
    let pair = pair(COUNT).await;
    std::fs::write(pair.folder.path().join("token"), "Bearer c2VjcmV0b2Y\n").unwrap();
    let options = "headers = { authorization = { file = \"token\" }, x-tenant = \"shop\" }\n\
                   sample = 1.0\nservice_name = \"orders-bridge\"";
    let sinks = format!(
        "{}{ARCHIVE}{FILE}[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"shop.orders\"\n",
        traces(&collector.url(), options),
        kafka.bootstrap()
    );
    let routes = "to = \"archive\"\n[[pipelines.orders.routes]]\nto = \"audit\"\n\
                  id = \"{/region}-{/id}\"\n[[pipelines.orders.routes]]\nto = \"events\"";
    let config = pair.configure_sinks(&sinks, "", BEGINNING, routes);
    let elsewhere = [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-environment=1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "environment"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=environment"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];
    let elsewhere = elsewhere.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let bridge = Bridge::start_in(&config, &["run", "--until-caught-up"], &elsewhere);
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);

    let traces = spans_of(&collector);
    assert_eq!(traces.len(), COUNT as usize);
    for spans in traces.values() {
        let (reads, writes): (Vec<_>, Vec<_>) =
            spans.iter().partition(|span| span.parent.is_empty());
        let [read] = reads.as_slice() else { panic!("{spans:#?}") };
        assert!(writes.iter().all(|write| write.parent == read.id), "{spans:#?}");
        assert!(writes.iter().all(|write| write.start >= read.start), "{spans:#?}");
        assert!(spans.iter().all(|span| span.flags & 1 == 1 && span.end >= span.start));
        let kinds: BTreeSet<_> =
            writes.iter().map(|w| (w.name.as_str(), w.kind.as_str())).collect();
        let expected = [
            ("send events.jsonl", "producer"),
            ("send shop.orders", "producer"),
            ("upsert_item copies", "client"),
        ];
        assert_eq!(kinds, BTreeSet::from(expected));
    }
    let ids: BTreeSet<_> = traces.values().flatten().map(|span| &span.id).collect();
    assert_eq!(ids.len(), 4 * COUNT as usize);

    // The sink's span is the parent of every consumer's.
    let messages = kafka.read("shop.orders", Some(COUNT as usize)).await.unwrap();
    let headers: Vec<Value> = messages.iter().map(|message| message["headers"].clone()).collect();
    assert_eq!(texts(&headers, "traceparent"), parents(&collector, "events"));
    let events = file_events(&pair);
    assert_eq!(texts(&events, "traceparent"), parents(&collector, "audit"));
    // Without a mapped id, the trace id is the event id.
    assert_eq!(texts(&headers, "ce_id"), traces.keys().cloned().collect());
    assert!(texts(&events, "id").is_disjoint(&texts(&headers, "ce_id")));

    what_one_trace_tells(&traces[headers[0]["ce_id"].as_str().unwrap()]);
    let printed = format!("{traces:?}");
    planted::search("the spans", &printed);
    for secret in ["patient", "diagnosis", "c2VjcmV0b2Y", "environment"] {
        assert!(!printed.contains(secret), "{secret}");
    }
    for request in collector.0.requests().unwrap() {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert_eq!(request.headers["authorization"], "Bearer c2VjcmV0b2Y");
        assert_eq!(request.headers["x-tenant"], "shop");
        assert!(!request.headers.contains_key("x-environment"));
    }
}

fn what_one_trace_tells(spans: &[Span]) {
    let read = spans.iter().find(|span| span.parent.is_empty()).unwrap();
    assert_eq!((&*read.name, &*read.kind), ("query_change_feed orders", "consumer"));
    assert_eq!(read.resource["service.name"], "orders-bridge");
    assert_eq!(read.scope, "cosmos-bridge");
    let mut attributes = read.attributes.clone();
    assert!(attributes.remove("cosmos_bridge.lsn").unwrap().as_i64().unwrap() > 0);
    assert!(attributes.remove("cosmos_bridge.committed_at").unwrap().is_string());
    let expected = json!({
        "db.system.name": "azure.cosmosdb",
        "db.namespace": "shop",
        "db.collection.name": "orders",
        "db.operation.name": "query_change_feed",
        "cosmos_bridge.account": "source",
        "cosmos_bridge.pipeline": "orders",
        "cosmos_bridge.feed_range": "[,FF)",
        "cosmos_bridge.deliveries": 3,
        "cosmos_bridge.operation": "upsert",
    });
    assert_eq!(Value::Object(attributes), expected);
    let sent = spans.iter().find(|span| span.name == "send shop.orders").unwrap();
    let expected = json!({
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "shop.orders",
        "messaging.message.id": sent.trace,
        "cosmos_bridge.sink": "events",
        "cosmos_bridge.sink_type": "kafka",
        "cosmos_bridge.event_id": sent.trace,
        "cosmos_bridge.outcome": "delivered",
        "cosmos_bridge.attempts": 1,
        "cosmos_bridge.operation": "upsert",
    });
    assert_eq!(Value::Object(sent.attributes.clone()), expected);
    let copied = spans.iter().find(|span| span.kind == "client").unwrap();
    assert_eq!(copied.attributes["db.collection.name"], "copies");
    assert_eq!(copied.attributes["cosmos_bridge.account"], "target");
}

/// Two independent bridges.
#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_changes_is_the_same_whoever_reads_them() {
    const COUNT: u32 = 400;
    let pair = pair(COUNT).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let collector = Collector::start().await.unwrap();
        let sinks = traces(&collector.url(), "sample = 0.25") + FILE;
        let config = pair.configure_sinks(&sinks, "", BEGINNING, "to = \"audit\"");
        catch_up(&config).await;
        let events = file_events(&pair);
        assert_eq!(events.len(), COUNT as usize);
        let (sampled, other): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|e| e["traceparent"].as_str().unwrap().ends_with("-01"));
        assert!((COUNT / 8..COUNT / 2).contains(&u32::try_from(sampled.len()).unwrap()));
        assert!(other.iter().all(|e| e["traceparent"].as_str().unwrap().ends_with("-00")));
        assert_eq!(texts(&sampled, "traceparent"), parents(&collector, "audit"));
        assert_eq!(texts(&sampled, "id"), spans_of(&collector).into_keys().collect());
        let ids: BTreeSet<_> = collector.spans().unwrap().into_iter().map(|s| s.id).collect();
        runs.push(ids);
        for file in ["events.jsonl", "cosmos-bridge.db"] {
            std::fs::remove_file(pair.folder.path().join(file)).unwrap();
        }
    }
    assert_eq!(runs[0], runs[1]);
}

/// A change that is refused once, one that is refused for good, and one that no route can map.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_tells_what_went_wrong() {
    let (collector, endpoint) =
        (Collector::start_with_tls().await.unwrap(), Endpoint::start().await.unwrap());
    endpoint.answers(&["503", "204", "400"]).unwrap();
    let pair = pair(3).await;
    pair.seed("{\"id\":\"patient-lost\"}\n");
    let authority = collector.0.certificates().unwrap().authority.display();
    let sinks = format!(
        "{}[sinks.http.hook]\nurl = \"{}secret-path\"\nconcurrency = 1\n",
        traces(&collector.url(), &format!("ca_file = \"{authority}\"\nsample = 1")),
        endpoint.url()
    );
    let route = "to = \"hook\"\nid = \"{/region}-{/id}\"";
    catch_up(&pair.configure_sinks(&sinks, "", BEGINNING, route)).await;
    let spans = collector.spans().unwrap();
    let mut sent: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == "producer")
        .map(|span| {
            let of = |name: &str| span.attributes.get(name).cloned().unwrap_or_default();
            let outcome = (of("cosmos_bridge.outcome"), of("cosmos_bridge.attempts"));
            assert_eq!(span.name, "send 127.0.0.1");
            (outcome, of("cosmos_bridge.waited_for"), of("error.type"), span.error)
        })
        .collect();
    sent.sort_by_key(|span| format!("{span:?}"));
    let outcome = |word: &str, attempts: u32| (json!(word), json!(attempts));
    let expected = [
        (outcome("delivered", 1), Value::Null, Value::Null, false),
        (outcome("delivered", 2), json!("busy"), Value::Null, false),
        (outcome("rejected", 1), Value::Null, json!("rejected"), true),
    ];
    assert_eq!(sent, expected);
    let lost: Vec<_> = spans.iter().filter(|span| span.error && span.parent.is_empty()).collect();
    let [lost] = lost.as_slice() else { panic!("{lost:#?}") };
    assert_eq!(lost.attributes["error.type"], "unroutable");
    assert_eq!(lost.attributes["cosmos_bridge.deliveries"], 0);
    assert!(!format!("{spans:?}").contains("secret-path"));
}

/// The value of a metric, as text.
async fn metric(admin: AdminAddress, name: &str) -> u64 {
    let body = admin.get("/metrics", "").await.unwrap().body;
    let line = body.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{body}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    const COUNT: u32 = 6000;
    const DROPPED: &str = "cosmos_bridge_spans_dropped_total{cause=\"queue_full\"}";
    let pair = pair(COUNT).await;
    let mut collector = Collector::start().await.unwrap();
    collector.0.kill().await;
    let port = Port::free().unwrap();
    let admin = AdminAddress(port.number());
    let sinks = format!(
        "{}[admin]\naddress = \"{}\"\n{FILE}",
        traces(&collector.url(), "sample = 1.0"),
        admin.host()
    );
    let config = pair.configure_sinks(&sinks, "", BEGINNING, "to = \"audit\"");
    let live = Bridge::start(&config, &["check", "--live"]).ended().await;
    assert_eq!(live.code(), Some(69), "{}", live.log);
    assert!(live.log.contains("the collector of traces does not accept spans"), "{}", live.log);

    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    assert_eq!(file_events(&pair).len(), COUNT as usize);
    assert_eq!(metric(admin, "cosmos_bridge_spans_total").await, u64::from(2 * COUNT));
    let dropped = metric(admin, DROPPED).await;
    // Spans that are not dropped wait: 8192 in the queue, and a batch.
    assert!((12_000 - 8192 - 1024..=12_000 - 8192).contains(&dropped), "{dropped}");
    assert_eq!(metric(admin, "cosmos_bridge_spans_sent_total").await, 0);

    collector.0.restart().await.unwrap();
    let expected = u64::from(2 * COUNT) - dropped;
    let all = format!("cosmos_bridge_spans_sent_total {expected}");
    admin.until("/metrics", 200, &all).await;
    assert_eq!(collector.spans().unwrap().len() as u64, expected);
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    for line in ["failed sending traces", "spans are dropped", "works again: sending traces"] {
        assert_eq!(ended.log.matches(line).count(), 1, "{line}: {}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_does_not_hold_up_a_stop() {
    let (pair, collector) = (pair(50).await, Collector::start().await.unwrap());
    collector.0.answers(&["hang"; 10]).unwrap();
    let options = "sample = 1.0\ntimeout = \"5m\"";
    let sinks = traces(&collector.url(), options) + FILE;
    let config = pair.configure_sinks(&sinks, "", BEGINNING, "to = \"audit\"");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("stop_within = \"2s\"\n{text}")).unwrap();
    let bridge = Bridge::start(&config, &["run"]);
    eventually("a batch hangs", || !collector.0.requests().unwrap().is_empty()).await;
    let asked = Instant::now();
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(asked.elapsed() < Duration::from_mins(1), "{:?}", asked.elapsed());
    assert!(ended.log.contains("the last spans were dropped"), "{}", ended.log);
    assert_eq!(file_events(&pair).len(), 50);
}

/// OpenTelemetry's own collector, whose program is named by a variable: `tests/scripts/collector/run.sh` builds
/// it, which needs Go and takes minutes.
#[cfg(feature = "collector")]
#[tokio::test(flavor = "multi_thread")]
async fn the_collector_of_opentelemetry_takes_the_same_traces() {
    use tokio::net::TcpStream;
    use tokio::process::Command;

    const COUNT: u32 = 40;
    #[expect(
        clippy::disallowed_methods,
        reason = "a path for this test, not a configuration of the bridge"
    )]
    let program = std::env::var("COSMOS_BRIDGE_COLLECTOR").unwrap();
    let pair = pair(COUNT).await;
    let port = Port::free().unwrap();
    let (address, out) =
        (format!("127.0.0.1:{}", port.number()), pair.folder.path().join("spans.jsonl"));
    let collector = json!({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": address}}}},
        "exporters": {"file": {"path": out, "flush_interval": "100ms"}},
        "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}}},
    });
    let config = pair.folder.path().join("collector.yaml");
    std::fs::write(&config, collector.to_string()).unwrap();
    let mut collector = Command::new(program)
        .arg(format!("--config=file:{}", config.display()))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while TcpStream::connect(&address).await.is_err() {
        assert!(collector.try_wait().unwrap().is_none(), "the collector ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sinks = traces(&format!("http://{address}"), "sample = 1.0") + ARCHIVE + FILE;
    let routes = "to = \"archive\"\n[[pipelines.orders.routes]]\nto = \"audit\"";
    catch_up(&pair.configure_sinks(&sinks, "", BEGINNING, routes)).await;

    let written = || -> Vec<Value> {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let below = |value: &Value, name: &str| value[name].as_array().unwrap().clone();
        let requests = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let resources = requests.flat_map(|request| below(&request, "resourceSpans"));
        let scopes = resources.flat_map(|resource| below(&resource, "scopeSpans"));
        scopes.flat_map(|scope| below(&scope, "spans")).collect()
    };
    eventually("the collector has written every span", || written().len() == 3 * COUNT as usize)
        .await;
    let (writes, reads): (Vec<_>, Vec<_>) = written()
        .into_iter()
        .partition(|span| span["parentSpanId"].as_str().is_some_and(|parent| !parent.is_empty()));
    assert_eq!(reads.len(), COUNT as usize);
    let of = |span: &Value, id: &str| (span["traceId"].to_string(), span[id].to_string());
    let read: BTreeSet<_> = reads.iter().map(|span| of(span, "spanId")).collect();
    assert!(writes.iter().all(|span| read.contains(&of(span, "parentSpanId"))));
    let parent = |span: &Value| {
        let text = |name: &str| span[name].as_str().unwrap().to_owned();
        format!("00-{}-{}-01", text("traceId"), text("spanId"))
    };
    let parents: BTreeSet<_> = writes.iter().map(parent).collect();
    assert!(texts(&file_events(&pair), "traceparent").is_subset(&parents));
}
