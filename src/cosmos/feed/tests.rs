use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::feed::ContinuationToken;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cosmos_bridge_emulator::LocalAccounts;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_sink::ContainerName;
use futures::StreamExt;

use super::{ContainerFeeds, plan, position};
use crate::config::{self, Mode, Path, Start};
use crate::cosmos::{Connections, Located};
use crate::source::{ChangeFeed, Slice};

fn json(token: &ContinuationToken) -> serde_json::Value {
    let body = token.as_str().strip_prefix("c1.").expect("the version mark");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

struct Local {
    accounts: LocalAccounts,
    container: Located,
    _folder: tempfile::TempDir,
}

/// An account with the container `shop/orders`, keyed by `/k`, and the bridge's view of it.
async fn local(lines: &str) -> Local {
    let accounts = LocalAccounts::start(&["source"]).await.unwrap();
    let settings =
        ContainerSettings { retention_seconds: Some(600), ..ContainerSettings::new(&["/k"], 2) };
    accounts.create_container("source", "shop", "orders", &settings).await.unwrap();
    accounts.seed("source", "shop", "orders", lines).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), accounts.key("source")).unwrap();
    let text = format!(
        "[accounts.source]\nendpoint = \"{}\"\nkey = {{ file = \"key\" }}\n
         [sinks.cosmos.t]\naccount = \"source\"\ndatabase = \"x\"\ncontainer = \"y\"\n
         [pipelines.p]\nsource = {{ account = \"source\", database = \"shop\", \
         container = \"orders\", mode = \"latest-version\", start = \"beginning\" }}\n
         routes = [{{ to = \"t\" }}]\n",
        accounts.endpoint("source")
    );
    let config = config::parse("config.toml", &text, folder.path()).unwrap();
    let account = Connections::new(&config).account("source").await.unwrap();
    let container = account.locate("shop", "orders").await.unwrap();
    Local { accounts, container, _folder: folder }
}

impl Local {
    fn feeds(&self, mode: Mode, page_size: u32) -> ContainerFeeds {
        let name = ContainerName {
            account: "source".to_owned(),
            database: "shop".to_owned(),
            container: "orders".to_owned(),
        };
        ContainerFeeds {
            container: self.container.clone(),
            name: Arc::new(name),
            key_paths: vec![Path::parse("/k").unwrap()].into(),
            mode,
            page_size: NonZeroU32::new(page_size).unwrap(),
        }
    }
}

fn line(n: u32, more: &str) -> String {
    format!("{{\"id\":\"{n}\",\"k\":\"same\"{more}}}\n")
}

/// The codec depends on a layout that the SDK does not promise; this is what notices a change.
#[tokio::test]
async fn a_token_built_here_is_the_token_of_the_sdk() {
    let lines: Vec<_> = (0..20).map(|n| format!("{{\"id\":\"{n}\",\"k\":{n}}}\n")).collect();
    let lines = lines.concat();
    let local = local(&lines).await;
    for (mode, start) in
        [(Mode::LatestVersion, Start::Beginning), (Mode::AllVersionsAndDeletes, Start::Now)]
    {
        let feeds = local.feeds(mode, 1);
        for range in feeds.ranges().await.unwrap() {
            let slice = Slice { range, etag: None };
            let mut pages = plan(&feeds, &slice, &start, feeds.page_size).await.unwrap();
            pages.next().await.unwrap().unwrap();
            let theirs = pages.to_continuation_token().unwrap();
            let slices = position::decode(&theirs).unwrap();
            assert_eq!(slices.len(), 1);
            assert_eq!(slices[0].range, slice.range);
            let ours = position::encode(&feeds.container.rid, mode, &slices).unwrap();
            let (ours, mut theirs) = (json(&ours), json(&theirs));
            // The one difference that is meant: ours always resumes from the beginning.
            theirs["root"]["start_from"] = serde_json::json!({"kind": "beginning"});
            assert_eq!(ours, theirs);
        }
    }
}

#[tokio::test]
async fn a_document_that_the_sdk_cannot_read_does_not_hold_up_the_others() {
    let deep = format!(",\"deep\":{}{}", "[".repeat(127), "]".repeat(127));
    let lines: String = (0..9).map(|n| line(n, if n == 4 { deep.as_str() } else { "" })).collect();
    let local = local(&lines).await;
    let feeds = local.feeds(Mode::LatestVersion, 3);
    let (mut ids, mut unreadable) = (Vec::new(), 0);
    for range in feeds.ranges().await.unwrap() {
        let mut feed = feeds.feed(Slice { range, etag: None }, Start::Beginning);
        loop {
            let page = feed.next_page().await.unwrap();
            ids.extend(page.changes.iter().map(|change| change.origin.id.clone()));
            unreadable += usize::from(page.unreadable.is_some());
            if page.caught_up {
                break;
            }
        }
    }
    assert_eq!(ids, ["0", "1", "2", "3", "5", "6", "7", "8"]);
    assert_eq!(unreadable, 1);
    drop(local.accounts);
}
