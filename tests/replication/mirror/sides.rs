//! Two containers that mirror each other, what users do to them, and what they hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cosmos_bridge_emulator::container::Container;
use cosmos_bridge_emulator::document::{Address, Version};
use cosmos_bridge_emulator::store::KeyRange;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};

use crate::support::history::remembering;
use crate::support::{Bridge, Ended, Pair, planted};

/// The field of the bridge.
const RECORD: &str = "_mirror";

/// In every document: no output may have it.
const NOTE: &str = "planted: of a mirror";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    West,
    East,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::West, Self::East];

    pub(super) fn other(self) -> Self {
        if self == Self::West { Self::East } else { Self::West }
    }

    /// Its account and container.
    fn place(self) -> (&'static str, &'static str) {
        if self == Self::West { ("source", "orders") } else { ("target", "copies") }
    }

    pub(super) fn name(self) -> &'static str {
        if self == Self::West { "west" } else { "east" }
    }
}

/// One change of a container.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) id: String,
    /// `None` for a delete.
    pub(super) etag: Option<String>,
    /// The record, if the bridge wrote this version.
    pub(super) record: Option<Value>,
}

pub(super) struct Sides {
    pub(super) pair: Pair,
}

impl Sides {
    pub(super) async fn start() -> Self {
        Self::start_with(remembering(&["/orderId"], 2)).await
    }

    pub(super) async fn start_with(settings: ContainerSettings) -> Self {
        planted::plant("a field of a mirrored document", NOTE);
        let pair = Pair::start(&settings, &settings).await;
        let log = ContainerSettings::new(&["/id"], 1);
        pair.accounts.create_container("target", "shop", "conflicts", &log).await.unwrap();
        Self { pair }
    }

    /// The sink that writes to a side; `mirror` are lines of its table.
    pub(super) fn sink(to: Side, mirror: &str) -> String {
        let ((account, container), name) = (to.place(), to.name());
        format!(
            "[sinks.cosmos.{name}]\naccount = \"{account}\"\ndatabase = \"shop\"\n\
             container = \"{container}\"\nttl = \"as-is\"\n[sinks.cosmos.{name}.mirror]\n{mirror}\n\
             log = {{ account = \"target\", database = \"shop\", container = \"conflicts\" }}\n"
        )
    }

    /// The pipeline that writes to a side.
    pub(super) fn pipeline(to: Side, start: &str) -> String {
        let ((account, container), name) = (to.other().place(), to.name());
        format!(
            "[pipelines.to_{name}]\nwindow = 400\n[pipelines.to_{name}.source]\n\
             account = \"{account}\"\ndatabase = \"shop\"\ncontainer = \"{container}\"\n\
             mode = \"all-versions-and-deletes\"\nstart = \"{start}\"\npoll_interval = \"50ms\"\n\
             page_size = 200\n[[pipelines.to_{name}.routes]]\nto = \"{name}\"\n"
        )
    }

    /// Writes a configuration in a folder of this name, next to its state and log.
    pub(super) fn configure(&self, name: &str, parts: &[String]) -> PathBuf {
        let folder = self.pair.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for account in ["source", "target"] {
            let key = format!("{account}.key");
            std::fs::copy(self.pair.folder.path().join(&key), folder.join(&key)).unwrap();
        }
        let text = self.pair.account_tables() + &parts.concat();
        let path = folder.join("config.toml");
        std::fs::write(&path, text + "\n[log]\nlevel = \"info\"\n").unwrap();
        path
    }

    /// One process for both directions. West decides, with this policy.
    pub(super) fn configure_both(&self, conflicts: &str, start: &str) -> PathBuf {
        self.configure(
            "both",
            &[
                Self::sink(Side::West, &format!("with = \"east\"\nconflicts = {conflicts}")),
                Self::sink(Side::East, "with = \"west\""),
                Self::pipeline(Side::West, start),
                Self::pipeline(Side::East, start),
            ],
        )
    }

    fn container(&self, side: Side) -> Arc<Container> {
        let (account, container) = side.place();
        self.pair.accounts.world.container(account, "shop", container).unwrap()
    }

    /// A user writes a document, without what the bridge has recorded.
    pub(super) fn write(&self, side: Side, id: &str, n: u64) {
        self.write_fields(side, &json!({"id": id, "orderId": id, "n": n}));
    }

    pub(super) fn write_fields(&self, side: Side, document: &Value) {
        let (account, container) = side.place();
        let mut document = document.clone();
        document["note"] = NOTE.into();
        let line = document.to_string();
        self.pair.accounts.seed(account, "shop", container, &line).unwrap();
    }

    /// A user edits what a side holds, and keeps all other fields.
    pub(super) fn edit(&self, side: Side, id: &str, n: u64) {
        let mut document = self.held(side, id).unwrap();
        document["n"] = n.into();
        self.write_fields(side, &document);
    }

    /// A user edits what a side holds, and removes the field of the bridge.
    pub(super) fn overwrite(&self, side: Side, id: &str, n: u64) {
        let mut document = self.held(side, id).unwrap();
        document.as_object_mut().unwrap().remove(RECORD);
        document["n"] = n.into();
        self.write_fields(side, &document);
    }

    pub(super) fn delete(&self, side: Side, id: &str) {
        let now = self.pair.accounts.world.clock.now();
        let container = self.container(side);
        let mut store = container.store(now);
        let all = KeyRange::all();
        let found = store.between(&all, None).find(|(address, _)| address.id.as_ref() == id);
        let address = Address::clone(found.unwrap().0);
        store.begin();
        store.remove(&address, false, now);
    }

    /// The documents of a side, with their records.
    fn documents(&self, side: Side) -> Vec<Value> {
        let (account, container) = side.place();
        let lines = self.pair.accounts.documents(account, "shop", container).unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn held(&self, side: Side, id: &str) -> Option<Value> {
        let container = self.container(side);
        let store = container.store(self.pair.accounts.world.clock.now());
        let all = KeyRange::all();
        let mut found = store.between(&all, None).filter(|(address, _)| address.id.as_ref() == id);
        found.next().map(|(_, version)| document(version))
    }

    /// The documents of a side by key and id, without the records.
    pub(super) fn contents(&self, side: Side) -> BTreeMap<(String, String), Value> {
        let text = |document: &Value, name: &str| document[name].as_str().unwrap().to_owned();
        let content = |mut document: Value| {
            document.as_object_mut().unwrap().remove(RECORD);
            ((text(&document, "orderId"), text(&document, "id")), document)
        };
        self.documents(side).into_iter().map(content).collect()
    }

    pub(super) fn are_equal(&self) -> bool {
        self.contents(Side::West) == self.contents(Side::East)
    }

    /// Every change that a side has had, in order.
    pub(super) fn log(&self, side: Side) -> Vec<Logged> {
        let container = self.container(side);
        let store = container.store(self.pair.accounts.world.clock.now());
        let record_of = |version: &Version| document(version).get(RECORD).cloned();
        let changes = store.log.after(0).iter();
        let logged = changes.map(|change| {
            let record = change.current.as_deref().and_then(record_of);
            // A user who keeps the field writes the record that is there.
            let before = change.previous.as_deref().and_then(record_of);
            Logged {
                id: change.address.id.to_string(),
                etag: change.current.as_ref().map(|version| container.naming.etag(version)),
                record: record.filter(|record| before.as_ref() != Some(record)),
            }
        });
        logged.collect()
    }

    pub(super) fn conflicts(&self) -> Vec<Value> {
        let lines = self.pair.accounts.documents("target", "shop", "conflicts").unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Changes of both sides so far.
    pub(super) fn changes(&self) -> usize {
        Side::BOTH.iter().map(|side| self.log(*side).len()).sum()
    }

    /// Runs one process again and again until nothing more happens; then both sides are equal, and this many
    /// conflicts are logged.
    pub(super) async fn settle(&self, config: &Path, conflicts: usize) -> Ended {
        for _ in 0..10 {
            let before = self.changes();
            let ended = Bridge::catch_up(config).await;
            assert_eq!(ended.code(), Some(0), "{}", ended.log);
            if self.changes() == before {
                assert_eq!(self.contents(Side::West), self.contents(Side::East));
                assert_eq!(self.conflicts().len(), conflicts);
                return ended;
            }
        }
        panic!("something goes back and forth for ever")
    }
}

fn document(version: &Version) -> Value {
    // Stored texts lack their closing brace.
    serde_json::from_slice(&[&version.text, &b"}"[..]].concat()).unwrap()
}
