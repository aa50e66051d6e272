//! A container of the local accounts, as a workload sees it.

use std::sync::Arc;

use serde_json::Value;

use crate::answer::Refusal;
use crate::clock::Clock;
use crate::container::Container;
use crate::document::Address;
use crate::scan::scan;
use crate::store::KeyRange;
use crate::workload::Documents;
use crate::write::{Action, Conditions, Draft, parse};

/// Writes without charges or throttling; they are changes like any other client's.
pub struct LiveContainer {
    pub container: Arc<Container>,
    pub clock: Arc<Clock>,
}

impl LiveContainer {
    fn write(&self, document: &Value) -> Result<Arc<Address>, Refusal> {
        let now = self.clock.now();
        let body = bytes::Bytes::from(document.to_string());
        let scanned = scan(&body, &self.container.paths)?;
        let address = self.container.address(&scanned.key, &scanned.id)?;
        let mut store = self.container.store(now);
        let mut draft = Draft::new(&self.container, &mut store, now);
        draft.perform(Action::Upsert { body }, &Conditions::default(), None)?;
        draft.commit();
        Ok(Arc::new(address))
    }
}

impl Documents for LiveContainer {
    type Place = Arc<Address>;

    async fn places(&self) -> Vec<(String, Arc<Address>)> {
        let store = self.container.store(self.clock.now());
        let all = KeyRange::all();
        let documents = store.between(&all, None);
        documents.map(|(address, _)| (address.id.to_string(), Arc::clone(address))).collect()
    }

    async fn read(&self, place: &Arc<Address>) -> Option<Value> {
        let store = self.container.store(self.clock.now());
        store.get(place).map(|version| parse(&version.text))
    }

    async fn upsert(&self, document: Value) -> Result<Arc<Address>, String> {
        self.write(&document).map_err(|refusal| refusal.to_string())
    }

    async fn delete(&self, place: &Arc<Address>) -> bool {
        let now = self.clock.now();
        let mut store = self.container.store(now);
        if store.get(place).is_none() {
            return false;
        }
        store.begin();
        store.remove(place, false, now).is_some()
    }
}
