//! A local account for tests: `source`, with the container `shop/orders`.

use std::sync::{Arc, PoisonError};

use cosmos_bridge_emulator::LocalAccounts;
use cosmos_bridge_emulator::stats::Counters;
use cosmos_bridge_emulator::world::ContainerSettings;

use super::{Account, Connections, ContainerHandle};
use crate::config;

/// Errors that the SDK retries by itself and for which the local accounts charge: status,
/// substatus, request units.
pub(super) const CHARGED: [(u16, u32, f64); 2] = [(429, 3092, 0.38), (404, 1002, 1.24)];

pub(super) struct Local {
    pub(super) accounts: LocalAccounts,
    pub(super) account: Arc<Account>,
    pub(super) container: ContainerHandle,
    pub(super) folder: tempfile::TempDir,
}

impl Local {
    pub(super) async fn start(settings: &ContainerSettings) -> Self {
        let accounts = LocalAccounts::start(&["source"]).await.unwrap();
        accounts.create_container("source", "shop", "orders", settings).await.unwrap();
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
        Self { accounts, account, container, folder }
    }

    /// Requests of a kind so far, including those to the account.
    pub(super) fn requests(&self, kind: &str) -> u32 {
        let requests: u64 = self.counters(kind).iter().map(|counters| counters.requests).sum();
        u32::try_from(requests).unwrap()
    }

    /// Request units of a kind so far.
    pub(super) fn units(&self, kind: &str) -> f64 {
        self.counters(kind).iter().map(|counters| counters.request_units).sum()
    }

    fn counters(&self, kind: &str) -> Vec<Counters> {
        let account = self.accounts.world.account("source").unwrap();
        let container = account.container("shop", "orders").unwrap();
        [&account.stats, &container.stats]
            .into_iter()
            .filter_map(|stats| {
                let stats = stats.lock().unwrap_or_else(PoisonError::into_inner);
                stats.kinds.get(kind).cloned()
            })
            .collect()
    }
}
