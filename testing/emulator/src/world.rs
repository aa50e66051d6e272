//! All local accounts together, and what can be done to them from outside.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::account::Account;
use crate::backend::{BackendError, Transition};
use crate::clock::Clock;
use crate::container::{Container, Range};
use crate::fault::Faults;
pub use crate::settings::ContainerSettings;
use crate::throttle::Throughput;

/// The accounts and what they share.
#[derive(Default)]
pub struct World {
    pub accounts: BTreeMap<String, Arc<Account>>,
    pub clock: Arc<Clock>,
    pub faults: Arc<Faults>,
}

/// What cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("there is no account `{0}`")]
    NoAccount(String),
    #[error("there is no container `{0}/{1}`")]
    NoContainer(String, String),
    #[error("there is no range `{0}`")]
    NoRange(String),
    #[error("the container exists with other settings")]
    Different,
    #[error("no transition is held open")]
    NothingHeld,
    #[error("a transition is held open already")]
    AlreadyHeld,
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// The state of a container.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerState {
    pub rid: String,
    pub documents: usize,
    pub lsn: u64,
    pub ranges: Vec<RangeState>,
}

/// The state of a physical range.
#[derive(Clone, Debug, Serialize)]
pub struct RangeState {
    pub id: String,
    pub min: String,
    pub max: String,
    pub documents: usize,
}

impl World {
    pub fn account(&self, name: &str) -> Result<&Arc<Account>, ControlError> {
        self.accounts.get(name).ok_or_else(|| ControlError::NoAccount(name.to_owned()))
    }

    pub fn container(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<Arc<Container>, ControlError> {
        self.account(account)?
            .container(database, id)
            .map_err(|_| ControlError::NoContainer(database.to_owned(), id.to_owned()))
    }

    /// Creates a container and, if needed, its database. The same settings again change nothing.
    pub async fn create_container(
        &self,
        account: &str,
        database: &str,
        id: &str,
        settings: &ContainerSettings,
    ) -> Result<(), ControlError> {
        let account = self.account(account)?;
        if let Some(problem) = settings.problem() {
            return Err(ControlError::Invalid(problem.to_owned()));
        }
        let _control = account.control.lock().await;
        let properties = settings.to_properties();
        let shared = settings.database_throughput.map(Throughput::Manual);
        let shared_now = account.database_throughput(database);
        if shared_now.is_some() && shared.is_some() && shared != shared_now {
            return Err(ControlError::Different);
        }
        if let Ok(existing) = account.container(database, id) {
            let settings_now =
                existing.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
            let same = existing.path_texts == settings.key_paths()
                && existing.key_version == settings.key_version()
                && existing.system_key == settings.system_key
                && existing.throttle.offered() == settings.offered()
                && existing.charges.variation() == settings.charge_variation
                && (shared.is_none() || shared == shared_now)
                && settings_now == properties;
            return if same { Ok(()) } else { Err(ControlError::Different) };
        }
        // The vendor overwrites a database that exists, so ask first.
        let path = format!("/dbs/{}", crate::account::encode(database));
        if account.backend.send("GET", &path, &[], Bytes::new()).await?.status == 404 {
            let body = json!({"id": database}).to_string().into();
            account.backend.send("POST", "/dbs", &[], body).await?;
        }
        if let Some(shared) = shared {
            account.share(database, shared).await?;
        }
        account.backend.create_container(
            database,
            id,
            &settings.key_paths(),
            settings.key_version(),
            settings.partitions,
        )?;
        let container = account.adopt(database, id, properties, settings.system_key).await?;
        container.throttle.offer(settings.offered());
        container.charges.vary(settings.charge_variation);
        Ok(())
    }

    pub async fn delete_container(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<(), ControlError> {
        self.container(account, database, id)?;
        let account = self.account(account)?;
        let _control = account.control.lock().await;
        let path = crate::account::container_path(database, id);
        account.backend.send("DELETE", &path, &[], Bytes::new()).await?;
        account.forget(database, Some(id));
        Ok(())
    }

    pub fn state(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<ContainerState, ControlError> {
        let container = self.container(account, database, id)?;
        let ranges = container.ranges();
        let store = container.store(self.clock.now());
        let ranges = ranges
            .iter()
            .map(|range| RangeState {
                id: range.id.clone(),
                min: range.keys.min.to_hex(),
                max: range.keys.max.to_hex(),
                documents: store.between(&range.keys, None).count(),
            })
            .collect();
        Ok(ContainerState {
            rid: container.rid.clone(),
            documents: store.len(),
            lsn: store.lsn(),
            ranges,
        })
    }

    /// Splits a range, or the fullest one; gives the new ids unless the window is held open.
    pub async fn split(
        &self,
        account: &str,
        database: &str,
        id: &str,
        range: Option<&str>,
        hold: bool,
    ) -> Result<Vec<String>, ControlError> {
        let container = self.container(account, database, id)?;
        let range = if let Some(range) = range {
            range.to_owned()
        } else {
            let state = self.state(account, database, id)?;
            let fullest = state.ranges.into_iter().max_by_key(|range| range.documents);
            fullest.ok_or_else(|| ControlError::NoRange(String::new()))?.id
        };
        let number = number(&container.ranges(), &range)?;
        let account = self.account(account)?;
        let _control = account.control.lock().await;
        let transition = account.backend.split(database, id, number, hold).await?;
        finish(account, &container, &[range], transition).await
    }

    /// Merges two adjacent ranges; gives the new id unless the window is held open.
    pub async fn merge(
        &self,
        account: &str,
        database: &str,
        id: &str,
        ranges: [&str; 2],
        hold: bool,
    ) -> Result<Vec<String>, ControlError> {
        let container = self.container(account, database, id)?;
        let known = container.ranges();
        let numbers = [number(&known, ranges[0])?, number(&known, ranges[1])?];
        let account = self.account(account)?;
        let _control = account.control.lock().await;
        let transition = account.backend.merge(database, id, numbers, hold).await?;
        finish(account, &container, &ranges.map(str::to_owned), transition).await
    }

    /// Closes the window of a held split or merge; gives the new ids.
    pub async fn complete(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<Vec<String>, ControlError> {
        let container = self.container(account, database, id)?;
        let account = self.account(account)?;
        let _control = account.control.lock().await;
        let held = container.take_held().ok_or(ControlError::NothingHeld)?;
        let children = held.complete().await?;
        account.refresh_ranges(&container).await?;
        container.unlock();
        Ok(children.iter().map(u32::to_string).collect())
    }
}

fn number(ranges: &[Range], id: &str) -> Result<u32, ControlError> {
    let known = ranges.iter().any(|range| range.id == id);
    let number = id.parse().ok().filter(|_| known);
    number.ok_or_else(|| ControlError::NoRange(id.to_owned()))
}

async fn finish(
    account: &Account,
    container: &Container,
    parents: &[String],
    transition: Transition,
) -> Result<Vec<String>, ControlError> {
    match transition {
        Transition::Done(children) => {
            account.refresh_ranges(container).await?;
            Ok(children.iter().map(u32::to_string).collect())
        }
        Transition::Held(held) => {
            if !container.hold(parents, Some(held)) {
                return Err(ControlError::AlreadyHeld);
            }
            Ok(Vec::new())
        }
    }
}
