//! The budget of one direction of one container.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, info};

use super::amounts::{self, Unprovisioned};
use super::error::BudgetError;
use super::throughput_source::ThroughputSource;
use crate::config::{Allowance, Amount, Budget, ContainerAddress};
use crate::cosmos::{CosmosError, CosmosErrorKind, Provisioned};
use crate::governor::{Governor, YieldPolicy};
use crate::model::Label;
use crate::observe::{Direction, FailureLog};

/// How often the provisioned throughput is read again: it may be changed at any time, and each time costs up to
/// six of the few metadata requests that an account allows.
const READ_INTERVAL: Duration = Duration::from_mins(1);

/// The interval while a share needs a throughput that is not known yet.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Why a rate was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateCause {
    Start,
    Schedule,
    Throughput,
    Reload,
}

impl RateCause {
    fn text(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Throughput => "provisioned throughput",
            Self::Reload => "reload",
        }
    }
}

/// The throughput as the service reports it.
#[derive(Clone, Copy, Debug)]
struct Throughput {
    provisioned: Provisioned,
    /// The number of physical partitions, if it matters and could be read.
    partitions: Option<usize>,
}

/// One governor, with everything that its rate depends on.
pub(super) struct ManagedBudget {
    pub(super) direction: Direction,
    pub(super) address: ContainerAddress,
    pub(super) governor: Arc<Governor>,
    /// `account/database/container`, for log lines.
    pub(super) container: String,
    source: Arc<dyn ThroughputSource>,
    state: Mutex<State>,
    read_now: Notify,
    read_failures: FailureLog,
}

struct State {
    budget: Budget,
    good_neighbour: bool,
    /// The last one that could be read and used; `None` while the budget is unlimited.
    throughput: Option<Throughput>,
    /// The values that were set in the governor.
    rate: Option<f64>,
    ceiling: Option<f64>,
    /// A change that has to be logged even if the rate is the same.
    unlogged: Option<RateCause>,
    is_denial_logged: bool,
}

impl ManagedBudget {
    /// Reads the throughput if the budget needs it.
    ///
    /// # Errors
    ///
    /// A part of the budget is a share, and no throughput is provisioned, or it cannot be read.
    pub(super) async fn open(
        direction: Direction,
        allowance: Allowance,
        container: String,
        source: Arc<dyn ThroughputSource>,
        now: Timestamp,
    ) -> Result<Self, BudgetError> {
        let Allowance { who, container: address, budget, good_neighbour, requests } = allowance;
        let mut throughput = None;
        if let Some(share) = budget.share() {
            let read = match read(&*source).await {
                Ok(read) => read,
                Err(fault) => return Err(BudgetError::Unread { who, share, fault }),
            };
            if amounts::whole(read.provisioned).is_none() {
                return Err(BudgetError::Unprovisioned { who, share, container });
            }
            throughput = Some(read);
        }
        let verb = direction.name();
        let what = format!("reading the throughput of `{container}` for its {verb} budget");
        let unlogged = (!budget.is_unlimited()).then_some(RateCause::Start);
        let managed = Self {
            direction,
            address,
            governor: Arc::new(Governor::new(None, yield_policy(good_neighbour), requests)),
            container,
            source,
            state: Mutex::new(State {
                budget,
                good_neighbour,
                throughput,
                rate: None,
                ceiling: None,
                unlogged,
                is_denial_logged: false,
            }),
            read_now: Notify::new(),
            read_failures: FailureLog::new(what),
        };
        managed.update_ceiling(&mut managed.state.lock());
        managed.apply(now, RateCause::Start);
        Ok(managed)
    }

    /// Sets the governor's rate to the current one. A share of an unknown throughput does not change it.
    pub(super) fn apply(&self, now: Timestamp, why: RateCause) {
        let mut state = self.state.lock();
        let amount = state.budget.at(now);
        let whole = state.throughput.and_then(|read| amounts::whole(read.provisioned));
        let Ok(rate) = amounts::rate(amount, whole) else { return };
        let unlogged = state.unlogged.take();
        if rate == state.rate && unlogged.is_none() {
            return;
        }
        if rate != state.rate {
            state.rate = rate;
            self.governor.set_rate(rate);
        }
        let of = matches!(amount, Amount::Share(_)).then_some(whole).flatten();
        info!(
            container = self.container,
            direction = self.direction.name(),
            rate = %rate.map_or(Amount::Unlimited, Amount::Units),
            provisioned = of,
            good_neighbour = state.good_neighbour.then_some(true),
            why = unlogged.unwrap_or(why).text(),
            "budget"
        );
    }

    /// Applies the options of the configuration. Returns true if they changed.
    pub(super) fn reload(&self, allowance: &Allowance, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        let Allowance { budget, good_neighbour, .. } = allowance;
        if state.budget == *budget && state.good_neighbour == *good_neighbour {
            return false;
        }
        state.budget = budget.clone();
        state.good_neighbour = *good_neighbour;
        state.unlogged = Some(RateCause::Reload);
        self.governor.set_yield_policy(yield_policy(*good_neighbour));
        if budget.is_unlimited() {
            // It is not read again while the budget is unlimited, so it would become outdated.
            state.throughput = None;
            self.update_ceiling(&mut state);
        } else if state.throughput.is_none() {
            self.read_now.notify_one();
        }
        drop(state);
        self.apply(now, RateCause::Reload);
        true
    }

    /// Reads the throughput at intervals while the budget is limited. Never ends.
    pub(super) async fn refresh(&self, clock: &(dyn Fn() -> Timestamp + Send + Sync)) {
        // For a share, `open` has read it. An absolute budget does not delay the start.
        let is_read = self.state.lock().throughput.is_some();
        let mut wait = if is_read { READ_INTERVAL } else { Duration::ZERO };
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.read_now.notified() => {}
            }
            wait = READ_INTERVAL;
            if self.state.lock().budget.is_unlimited() {
                continue;
            }
            match read(&*self.source).await {
                Ok(throughput) => self.on_throughput(throughput),
                Err(fault) => {
                    self.on_failure(&fault.to_string(), fault.kind() == CosmosErrorKind::Denied);
                }
            }
            self.apply(clock(), RateCause::Throughput);
            let state = self.state.lock();
            if state.throughput.is_none() && state.budget.needs_throughput() {
                wait = RETRY_AFTER;
            }
        }
    }

    fn on_throughput(&self, throughput: Throughput) {
        let mut state = self.state.lock();
        if state.budget.needs_throughput() && amounts::whole(throughput.provisioned).is_none() {
            drop(state);
            self.on_failure(&Unprovisioned.to_string(), false);
            return;
        }
        // The configuration may have been reloaded meanwhile.
        if !state.budget.is_unlimited() {
            let before = state.throughput.and_then(|before| before.partitions);
            let partitions = throughput.partitions.or(before);
            state.throughput = Some(Throughput { partitions, ..throughput });
            self.update_ceiling(&mut state);
        }
        drop(state);
        self.read_failures.recovered();
    }

    /// The throughput that was read last stays valid.
    fn on_failure(&self, error: &str, denied: bool) {
        let mut state = self.state.lock();
        let container = &self.container;
        if state.budget.needs_throughput() {
            drop(state);
            self.read_failures.failed(&format!("{error}; the rate does not change"));
        } else if denied && !state.is_denial_logged {
            state.is_denial_logged = true;
            info!(
                container,
                error, "no permission to read the throughput; the budget does not need it"
            );
        } else {
            debug!(container, error, "failed to read the throughput");
        }
    }

    fn update_ceiling(&self, state: &mut State) {
        let ceiling =
            state.throughput.and_then(|read| amounts::ceiling(read.provisioned, read.partitions?));
        if ceiling != state.ceiling {
            state.ceiling = ceiling;
            self.governor.set_ceiling(ceiling);
            let direction = self.direction.name();
            debug!(
                container = self.container,
                direction, ceiling, "the throughput of one physical partition"
            );
        }
    }
}

async fn read(source: &dyn ThroughputSource) -> Result<Throughput, CosmosError> {
    let provisioned = source.throughput().await?;
    let partitions = match provisioned {
        // Without the number of partitions there is no ceiling; the budget works without one.
        Provisioned::Container(_) => source.partitions().await.ok(),
        Provisioned::Database(_) | Provisioned::Unknown => None,
    };
    Ok(Throughput { provisioned, partitions })
}

fn yield_policy(good_neighbour: bool) -> YieldPolicy {
    if good_neighbour { YieldPolicy::GoodNeighbour } else { YieldPolicy::Normal }
}
