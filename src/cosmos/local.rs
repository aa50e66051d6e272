//! A local account for tests: `source`, with the container `shop/orders`.

use cosmos_bridge_emulator::LocalAccounts;
use cosmos_bridge_emulator::world::ContainerSettings;

use super::{Connections, Located};
use crate::config;

pub(super) struct Local {
    pub(super) accounts: LocalAccounts,
    pub(super) container: Located,
    _folder: tempfile::TempDir,
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
        Self { accounts, container, _folder: folder }
    }
}
