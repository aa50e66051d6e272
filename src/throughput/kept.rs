//! The budget of one direction of one container, and what is known for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, info};

use super::Offer;
use super::amounts::{self, Unprovisioned};
use crate::config::{Allowance, Amount, Budget, ContainerAddress};
use crate::cosmos::{CosmosError, CosmosErrorKind, Provisioned};
use crate::exit_code;
use crate::governor::{Governor, Manners};
use crate::observe::{Direction, FailureLog};

/// How often the provisioned throughput is read again: someone may raise it at any time, and each
/// look costs up to six of the few metadata requests that an account has.
const READ_EVERY: Duration = Duration::from_mins(1);

/// How soon it is read again while a share waits for it.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A share cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    #[error(
        "{who} has a budget of {share}, but no throughput is provisioned for container \
         `{container}` (serverless?)"
    )]
    Unprovisioned { who: String, share: Amount, container: String },
    #[error("{who} has a budget of {share}: {fault}")]
    Unread { who: String, share: Amount, fault: CosmosError },
}

impl BudgetError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unprovisioned { .. } => exit_code::CONFIG,
            Self::Unread { fault, .. } => fault.exit_code(),
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unprovisioned { .. } => {
                Some("Write an absolute budget: \"400 RU/s\".".to_owned())
            }
            Self::Unread { fault, .. } if fault.kind() == CosmosErrorKind::Denied => Some(
                "Let the bridge read offers, with an account key or a role for the control plane; \
                 or write an absolute budget: \"400 RU/s\"."
                    .to_owned(),
            ),
            Self::Unread { fault, .. } => fault.hint(),
        }
    }
}

/// Why a rate is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Start,
    Schedule,
    Throughput,
    Reload,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Throughput => "provisioned throughput",
            Self::Reload => "reload",
        }
    }
}

/// What the service said.
#[derive(Clone, Copy, Debug)]
struct Offered {
    provisioned: Provisioned,
    /// Physical partitions, where they matter and could be read.
    partitions: Option<usize>,
}

/// One governor, and what tells it its rate.
pub(super) struct Kept {
    pub(super) direction: Direction,
    pub(super) address: ContainerAddress,
    pub(super) governor: Arc<Governor>,
    /// `account/database/container`, for people.
    pub(super) container: String,
    offer: Arc<dyn Offer>,
    state: Mutex<State>,
    read_now: Notify,
    reading: FailureLog,
}

struct State {
    budget: Budget,
    good_neighbour: bool,
    /// The last that could be read and used; `None` while nothing limits anything.
    offered: Option<Offered>,
    /// What the governor was told.
    rate: Option<f64>,
    ceiling: Option<f64>,
    /// A change that is to be told, even if the rate is the same.
    untold: Option<Why>,
    denial_told: bool,
}

impl Kept {
    /// Reads the throughput if the budget cannot do without.
    ///
    /// # Errors
    ///
    /// A part of the budget is a share, and there is nothing that it could be a share of, or nobody
    /// says what.
    pub(super) async fn open(
        direction: Direction,
        allowance: Allowance,
        container: String,
        offer: Arc<dyn Offer>,
        now: Timestamp,
    ) -> Result<Self, BudgetError> {
        let Allowance { who, container: address, budget, good_neighbour, requests } = allowance;
        let mut offered = None;
        if let Some(share) = budget.share() {
            let read = match read(&*offer).await {
                Ok(read) => read,
                Err(fault) => return Err(BudgetError::Unread { who, share, fault }),
            };
            if amounts::whole(read.provisioned).is_none() {
                return Err(BudgetError::Unprovisioned { who, share, container });
            }
            offered = Some(read);
        }
        let verb = verb(direction);
        let what = format!("reading the throughput of `{container}`, to {verb} with a share of it");
        let untold = (!budget.is_unlimited()).then_some(Why::Start);
        let kept = Self {
            direction,
            address,
            governor: Arc::new(Governor::new(None, manners(good_neighbour), requests)),
            container,
            offer,
            state: Mutex::new(State {
                budget,
                good_neighbour,
                offered,
                rate: None,
                ceiling: None,
                untold,
                denial_told: false,
            }),
            read_now: Notify::new(),
            reading: FailureLog::new(what),
        };
        kept.follow_offer(&mut kept.state.lock());
        kept.apply(now, Why::Start);
        Ok(kept)
    }

    /// Tells the governor what holds now. A share of what is not known leaves it as it is.
    pub(super) fn apply(&self, now: Timestamp, why: Why) {
        let mut state = self.state.lock();
        let amount = state.budget.at(now);
        let whole = state.offered.and_then(|offered| amounts::whole(offered.provisioned));
        let Ok(rate) = amounts::rate(amount, whole) else { return };
        let untold = state.untold.take();
        if rate == state.rate && untold.is_none() {
            return;
        }
        if rate != state.rate {
            state.rate = rate;
            self.governor.set_rate(rate);
        }
        let of = matches!(amount, Amount::Share(_)).then_some(whole).flatten();
        info!(
            container = self.container,
            direction = verb(self.direction),
            rate = %rate.map_or(Amount::Unlimited, Amount::Units),
            provisioned = of,
            good_neighbour = state.good_neighbour.then_some(true),
            why = untold.unwrap_or(why).text(),
            "budget"
        );
    }

    /// Takes over what the file says now; whether that is anything new.
    pub(super) fn reload(&self, allowance: &Allowance, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        let Allowance { budget, good_neighbour, .. } = allowance;
        if state.budget == *budget && state.good_neighbour == *good_neighbour {
            return false;
        }
        state.budget = budget.clone();
        state.good_neighbour = *good_neighbour;
        state.untold = Some(Why::Reload);
        self.governor.set_manners(manners(*good_neighbour));
        if budget.is_unlimited() {
            // Nobody reads it again, so it would be wrong one day.
            state.offered = None;
            self.follow_offer(&mut state);
        } else if state.offered.is_none() {
            self.read_now.notify_one();
        }
        drop(state);
        self.apply(now, Why::Reload);
        true
    }

    /// Reads the throughput now and again, as long as the budget limits anything. Never ends.
    pub(super) async fn refresh(&self, clock: &(dyn Fn() -> Timestamp + Send + Sync)) {
        // A share had to be read before; an absolute budget does not hold up a start.
        let is_read = self.state.lock().offered.is_some();
        let mut wait = if is_read { READ_EVERY } else { Duration::ZERO };
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.read_now.notified() => {}
            }
            wait = READ_EVERY;
            if self.state.lock().budget.is_unlimited() {
                continue;
            }
            match read(&*self.offer).await {
                Ok(offered) => self.take(offered),
                Err(fault) => {
                    self.failed(&fault.to_string(), fault.kind() == CosmosErrorKind::Denied)
                }
            }
            self.apply(clock(), Why::Throughput);
            let state = self.state.lock();
            if state.offered.is_none() && state.budget.needs_throughput() {
                wait = RETRY_AFTER;
            }
        }
    }

    fn take(&self, offered: Offered) {
        let mut state = self.state.lock();
        if state.budget.needs_throughput() && amounts::whole(offered.provisioned).is_none() {
            drop(state);
            self.failed(&Unprovisioned.to_string(), false);
            return;
        }
        // The file may have been read again meanwhile.
        if !state.budget.is_unlimited() {
            let before = state.offered.and_then(|before| before.partitions);
            let partitions = offered.partitions.or(before);
            state.offered = Some(Offered { partitions, ..offered });
            self.follow_offer(&mut state);
        }
        drop(state);
        self.reading.recovered();
    }

    /// Whatever was read last still holds.
    fn failed(&self, error: &str, denied: bool) {
        let mut state = self.state.lock();
        let container = &self.container;
        if state.budget.needs_throughput() {
            drop(state);
            self.reading.failed(&format!("{error}; the rate stays as it is"));
        } else if denied && !state.denial_told {
            state.denial_told = true;
            info!(container, error, "the throughput may not be read, and the budget does without");
        } else {
            debug!(container, error, "could not read the throughput");
        }
    }

    fn follow_offer(&self, state: &mut State) {
        let ceiling = state
            .offered
            .and_then(|offered| amounts::ceiling(offered.provisioned, offered.partitions?));
        if ceiling != state.ceiling {
            state.ceiling = ceiling;
            self.governor.set_ceiling(ceiling);
            let direction = verb(self.direction);
            debug!(container = self.container, direction, ceiling, "what one partition can take");
        }
    }
}

async fn read(offer: &dyn Offer) -> Result<Offered, CosmosError> {
    let provisioned = offer.throughput().await?;
    let partitions = match provisioned {
        // Without them there is no ceiling, which is no reason to have no budget.
        Provisioned::Container(_) => offer.partitions().await.ok(),
        Provisioned::Database(_) | Provisioned::Unknown => None,
    };
    Ok(Offered { provisioned, partitions })
}

fn manners(good_neighbour: bool) -> Manners {
    if good_neighbour { Manners::GoodNeighbour } else { Manners::Usual }
}

fn verb(direction: Direction) -> &'static str {
    match direction {
        Direction::Read => "read",
        Direction::Write => "write",
    }
}
