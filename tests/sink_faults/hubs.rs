//! Faults of Event Hubs, at the stand-in.

use cosmos_bridge_eventhubs_local::{LocalHubs, Options, python};

use crate::support::Pair;
use crate::trial::{Arrived, Scene};

const HUB: &str = "orders";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HubFault {
    WrongKey,
    NoHub,
    TooLarge,
}

pub(crate) struct Hubs {
    fault: HubFault,
    local: Option<LocalHubs>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Hubs {
    pub(crate) async fn start(fault: HubFault) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut scene = Self { fault, local: None, folder, port: 0 };
        scene.restart(Options::default().key).await;
        scene
    }

    /// What was sent is kept in the folder.
    async fn restart(&mut self, key: String) {
        if let Some(hubs) = self.local.take() {
            hubs.stop().await;
        }
        let data = Some(self.folder.path().to_owned());
        let options = Options { data, port: self.port, key, ..Options::with_hub(HUB, 1) };
        let hubs = LocalHubs::start(options).await.unwrap();
        self.port = hubs.address().port();
        self.local = Some(hubs);
    }

    fn hubs(&self) -> &LocalHubs {
        self.local.as_ref().unwrap()
    }
}

impl Scene for Hubs {
    fn sink(&self, pair: &Pair) -> String {
        let connection = self.hubs().connection_string(None);
        std::fs::write(pair.folder.path().join("connection"), connection).unwrap();
        format!(
            "[sinks.eventhubs.events]\nconnection = {{ file = \"connection\" }}\nhub = \"{HUB}\"\n"
        )
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn strike(&mut self) {
        match self.fault {
            HubFault::WrongKey => self.restart("YW5vdGhlciBrZXksIG5vdCBhIHNlY3JldA==".into()).await,
            HubFault::NoHub => {
                self.hubs().remove_hub(HUB);
                self.hubs().drop_connections();
            }
            HubFault::TooLarge => {}
        }
    }

    async fn mend(&mut self) {
        match self.fault {
            HubFault::WrongKey => self.restart(Options::default().key).await,
            HubFault::NoHub | HubFault::TooLarge => self.hubs().create_hub(HUB, 1).unwrap(),
        }
    }

    fn bad(&self) -> String {
        format!(",\"note\":\"{}\"", "n".repeat(2_000_000))
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        let events = python::read(&self.hubs().connection_string(None), HUB, &[]).await.unwrap();
        let arrived = |event: &serde_json::Value| {
            Arrived::of(&event["body"], &event["properties"]["cloudEvents_dataref"])
        };
        events.iter().map(arrived).collect()
    }
}
