//! Changes as events in files and at HTTP endpoints, written by the real binary in addition to the copy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cosmos_bridge_brokers::{Binding, Endpoint, Port, cloud_events, installed, script};
use cosmos_bridge_emulator::orders::Orders;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const BEGINNING: &str = "start = \"beginning\"";
const ALL_VERSIONS: &str = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
const ARCHIVE: &str = "[sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\n\
                       container = \"copies\"\n";

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sinks").join(path)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn catch_up(config: &Path) {
    let ended = Bridge::catch_up(config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_hold_every_document_and_the_example_reads_them() {
    let settings = ContainerSettings::new(&["/orderId"], 2);
    let pair = Pair::start(&settings, &settings).await;
    let orders = Orders::new(4);
    pair.seed(&(1..=2000).map(|number| orders.text(number) + "\n").collect::<String>());
    let sinks = format!(
        "{ARCHIVE}[sinks.file.audit]\npath = \"events.jsonl\"\nrotate_bytes = \"512 KiB\"\n"
    );
    let routes = "to = \"archive\"\n[[pipelines.orders.routes]]\nto = \"audit\"";
    let config = pair.configure_sinks(&sinks, "", BEGINNING, routes);
    catch_up(&config).await;
    assert!(pair.is_equal());

    let mut files: Vec<String> = std::fs::read_dir(pair.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    let arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    let printed = script(&example("file/tests/latest.py"), &arguments, "").await.unwrap();
    let by_id = |documents: Vec<Value>| -> BTreeMap<String, Value> {
        documents.into_iter().map(|d| (d["id"].as_str().unwrap().to_owned(), d)).collect()
    };
    let expected = (1..=2000).map(|number| orders.order(number)).collect();
    assert_eq!(by_id(lines(&printed)), by_id(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_output_is_for_pipes() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let orders = Orders::new(4);
    pair.seed(&(1..=50).map(|number| orders.text(number) + "\n").collect::<String>());
    let sinks = "[sinks.file.pipe]\npath = \"-\"\nformat = \"envelope\"\ncloudevents = \"off\"\n";
    let config = pair.configure_sinks(sinks, "", BEGINNING, "to = \"pipe\"");
    let data = pair.folder.path().join("events.jsonl");
    let file = std::fs::File::create(&data).unwrap();
    let bridge = Bridge::start_piped(&config, &["run", "--until-caught-up"], file);
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let events = lines(&std::fs::read_to_string(data).unwrap());
    assert_eq!(events.len(), 50);
    assert_eq!(events[0]["source"]["container"], "orders");
    assert_eq!(events[0]["operation"], "upsert");
}

/// Deletes, expiries and previous images, at an endpoint with intermittent faults.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_told_of_every_version_in_order() {
    let source = ContainerSettings { default_ttl: Some(-1), ..remembering(&["/region"], 1) };
    let pair = Pair::start(&source, &source).await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.answers(&["503", "204", "429 retry-after=0", "500", "204", "400"]).unwrap();
    let sinks = format!(
        "[sinks.http.hook]\nurl = \"{}orders\"\nformat = \"envelope\"\nconcurrency = 1\n",
        endpoint.url()
    );
    let config = pair.configure_sinks(&sinks, "", ALL_VERSIONS, "to = \"hook\"");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    let document = |more: &str| format!("{{\"id\":\"1\",\"region\":\"n\"{more}}}\n");
    for state in ["new", "paid", "refused", "sent"] {
        pair.seed(&document(&format!(",\"state\":\"{state}\"")));
    }
    pair.delete("1");
    pair.seed(&document(",\"state\":\"back\",\"ttl\":60"));
    pair.accounts.advance_clock(70);
    eventually("all arrive", || endpoint.taken().unwrap().len() == 6).await;
    bridge.kill().await;

    let messages: Vec<Value> = endpoint
        .taken()
        .unwrap()
        .into_iter()
        .map(|request| json!({"headers": request.headers, "body": request.body}))
        .collect();
    let events = cloud_events(Binding::Http, &messages).await.unwrap();
    let actual: Vec<(String, Value, Value)> = events
        .iter()
        .map(|event| {
            let kind = event.attributes["type"].as_str().unwrap();
            let kind = kind.rsplit('.').next().unwrap().to_owned();
            let state = |image: &str| event.data[image]["state"].clone();
            (kind, state("before"), state("after"))
        })
        .collect();
    let actual: Vec<_> = actual
        .iter()
        .map(|(kind, before, after)| {
            (kind.as_str(), before.as_str().unwrap_or("-"), after.as_str().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        actual,
        [
            ("upsert", "-", "new"),
            ("upsert", "new", "paid"),
            // "refused" was refused with 400.
            ("upsert", "refused", "sent"),
            ("delete", "sent", "-"),
            ("upsert", "-", "back"),
            ("expire", "back", "-"),
        ]
    );
    let sequences: Vec<_> = events.iter().map(|event| &event.attributes["sequence"]).collect();
    assert!(sequences.is_sorted_by_key(|sequence| sequence.as_str()), "{sequences:?}");
    let letters = pair.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_http_takes_events() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let orders = Orders::new(4);
    pair.seed(&(1..=20).map(|number| orders.text(number) + "\n").collect::<String>());
    let port = Port::free().unwrap();
    let mut receiver = Command::new(&installed().unwrap().python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(example("http/tests/receive.py"))
        .arg(port.number().to_string())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", port.number())).await.is_err() {
        assert!(receiver.try_wait().unwrap().is_none(), "the example ended");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let sinks = format!("[sinks.http.hook]\nurl = \"http://127.0.0.1:{}\"\n", port.number());
    let config = pair.configure_sinks(&sinks, "", BEGINNING, "to = \"hook\"");
    catch_up(&config).await;
    let mut printed = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let mut events = Vec::new();
    for _ in 0..20 {
        let line = printed.next_line().await.unwrap().unwrap();
        events.push(serde_json::from_str::<Value>(&line).unwrap());
    }
    let mut data: Vec<_> = events.iter().map(|event| event["data"].to_string()).collect();
    let mut expected: Vec<_> = (1..=20).map(|number| orders.order(number).to_string()).collect();
    data.sort();
    expected.sort();
    assert_eq!(data, expected);
    receiver.kill().await.unwrap();
}
