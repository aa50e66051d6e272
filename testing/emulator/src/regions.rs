//! The regions of an account. They share its documents, so nothing lags behind; what differs is which of
//! them writes, and which of them answers.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::account::Account;
use crate::answer::Refusal;
use crate::gateway;
use crate::options::{Options, StartError};
use crate::request::Request;
use crate::serve::{Handler, Outcome, Server};

/// The name of the region of an account that has only one.
pub const ONLY: &str = "Local";

/// One region, as the management interface shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Region {
    pub name: String,
    /// With a trailing slash.
    pub endpoint: String,
    /// Where the account writes, or one of the places where it does.
    pub writes: bool,
    /// Refuses connections, which the account does not know.
    pub offline: bool,
    /// Requests that have arrived while it was not offline.
    pub requests: u64,
    /// Writes among them that it has refused.
    pub refused: u64,
    #[serde(skip)]
    open: watch::Sender<bool>,
}

/// The regions of one account, in the order of its failover.
#[derive(Debug)]
pub struct Regions {
    all: RwLock<Vec<Region>>,
    /// Every region writes, also after a failover.
    multiple_writes: bool,
    /// Whether the first region is open, to which the account's own address leads.
    open: watch::Sender<bool>,
}

impl Regions {
    /// The first of the names and endpoints writes; with `multiple_writes` all do.
    pub fn new(places: Vec<(String, String)>, multiple_writes: bool) -> Self {
        let regions = places.into_iter().enumerate().map(|(at, (name, endpoint))| Region {
            name,
            endpoint,
            writes: at == 0 || multiple_writes,
            offline: false,
            requests: 0,
            refused: 0,
            open: watch::Sender::new(true),
        });
        let open = watch::Sender::new(true);
        Self { all: RwLock::new(regions.collect()), multiple_writes, open }
    }

    pub fn list(&self) -> Vec<Region> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a region the one that writes and the first in order; false if there is no such region.
    pub fn fail_over(&self, to: &str) -> bool {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = all.iter().position(|region| region.name == to) else { return false };
        all[..=at].rotate_right(1);
        for (at, region) in all.iter_mut().enumerate() {
            region.writes = at == 0 || self.multiple_writes;
        }
        self.tell(&all);
        true
    }

    /// Lets a region stop answering, or answer again; false if there is no such region.
    pub fn set_offline(&self, name: &str, offline: bool) -> bool {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let Some(region) = all.iter_mut().find(|region| region.name == name) else { return false };
        region.offline = offline;
        self.tell(&all);
        true
    }

    /// Opens and closes the listeners.
    fn tell(&self, all: &[Region]) {
        for region in all {
            region.open.send_replace(!region.offline);
        }
        self.open.send_replace(all.first().is_some_and(|region| !region.offline));
    }

    /// Whether a region takes connections; without a name, the account's own address.
    pub fn open(&self, name: Option<&str>) -> watch::Receiver<bool> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let named = all.iter().find(|region| Some(region.name.as_str()) == name);
        named.map_or(&self.open, |region| &region.open).subscribe()
    }

    /// Whether a region answers; without a name, the one that the account's own address leads to.
    pub fn answers(&self, name: Option<&str>) -> bool {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|region| name.is_none_or(|name| region.name == name));
        found.is_some_and(|region| !region.offline)
    }

    /// Counts a request, and refuses a write where the account does not write.
    pub fn admit(&self, name: Option<&str>, writes: bool) -> Result<(), Refusal> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter_mut().find(|region| name.is_none_or(|name| region.name == name));
        let Some(region) = found else { return Ok(()) };
        region.requests += 1;
        if !writes || region.writes {
            return Ok(());
        }
        region.refused += 1;
        let text = "The requested operation cannot be performed at this region";
        Err(Refusal::new(403, text).with_substatus(3))
    }

    /// Puts the regions into the account's JSON.
    pub fn overlay(&self, account: &mut Value) {
        let all = self.list();
        let places = |regions: &mut dyn Iterator<Item = &Region>| -> Value {
            let place = |region: &Region| json!({"name": region.name, "databaseAccountEndpoint": region.endpoint});
            regions.map(place).collect()
        };
        account["writableLocations"] = places(&mut all.iter().filter(|region| region.writes));
        account["readableLocations"] = places(&mut all.iter());
        account["enableMultipleWriteLocations"] = self.multiple_writes.into();
    }
}

/// The listener of one region.
struct Regional {
    account: Arc<Account>,
    name: String,
}

impl Handler for Regional {
    const BODY_BYTES_MAX: usize = Account::BODY_BYTES_MAX;

    fn open(&self) -> watch::Receiver<bool> {
        self.account.regions.open(Some(&self.name))
    }

    async fn handle(&self, mut request: Request, _: Option<String>) -> Outcome {
        request.region = Some(self.name.clone());
        gateway::serve(&self.account, request).await
    }
}

/// A region that listens and is not served yet.
pub(crate) struct Waiting {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl Waiting {
    /// The regions of one account, where it has several.
    pub(crate) async fn listen(options: &Options) -> Result<Vec<Self>, StartError> {
        let mut waiting = Vec::new();
        for name in options.regions.iter().filter(|_| options.regions.len() > 1) {
            let address = SocketAddr::new(options.address, 0);
            let failed = |error| StartError::Listen(address, error);
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            waiting.push(Self { name: name.clone(), address, listener });
        }
        Ok(waiting)
    }

    /// The name and the endpoint.
    pub(crate) fn place(&self, scheme: &str) -> (String, String) {
        (self.name.clone(), format!("{scheme}://{}/", self.address))
    }

    pub(crate) fn serve(
        self,
        account: &Arc<Account>,
        tls: Option<TlsAcceptor>,
    ) -> Result<Server, StartError> {
        let Self { name, address, listener } = self;
        let handler = Arc::new(Regional { account: Arc::clone(account), name });
        Server::start(listener, tls, handler).map_err(|error| StartError::Listen(address, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(multiple_writes: bool) -> Regions {
        let place = |name: &str| (name.to_owned(), format!("http://{name}/"));
        Regions::new(vec![place("east"), place("west"), place("north")], multiple_writes)
    }

    #[test]
    fn a_failover_moves_the_writes_and_the_order() {
        let regions = regions(false);
        let shown = |regions: &Regions| {
            let mut account = json!({});
            regions.overlay(&mut account);
            let names = |of: &str| -> Vec<String> {
                let places = account[of].as_array().unwrap().iter();
                places.map(|place| place["name"].as_str().unwrap().to_owned()).collect()
            };
            (names("writableLocations"), names("readableLocations"))
        };
        assert_eq!(shown(&regions).0, ["east"]);
        assert!(regions.fail_over("north") && !regions.fail_over("south"));
        let (writable, readable) = shown(&regions);
        assert_eq!(writable, ["north"]);
        assert_eq!(readable, ["north", "east", "west"]);
        let refused = regions.admit(Some("east"), true).unwrap_err();
        assert_eq!((refused.status, refused.substatus), (403, Some(3)));
        assert!(regions.admit(Some("east"), false).is_ok());
        // The account's own address leads to the region that writes.
        assert!(regions.admit(None, true).is_ok());
        let counted: Vec<_> = regions.list().iter().map(|r| (r.requests, r.refused)).collect();
        assert_eq!(counted, [(1, 0), (2, 1), (0, 0)]);
    }

    #[test]
    fn with_multiple_writes_every_region_writes() {
        let regions = regions(true);
        assert!(regions.fail_over("west"));
        assert!(regions.list().iter().all(|region| region.writes));
        assert!(regions.admit(Some("east"), true).is_ok());
    }

    #[test]
    fn a_region_that_is_offline_does_not_answer() {
        let regions = regions(false);
        assert!(regions.set_offline("east", true) && !regions.set_offline("south", true));
        assert!(!regions.answers(Some("east")) && !regions.answers(None));
        assert!(regions.answers(Some("west")));
        assert!(!*regions.open(Some("east")).borrow() && !*regions.open(None).borrow());
        assert!(regions.fail_over("west") && regions.answers(None));
        assert!(!*regions.open(Some("east")).borrow() && *regions.open(None).borrow());
    }
}
