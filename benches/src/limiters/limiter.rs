//! The compared limiters, behind one interface: wait for admission, send, book the charge.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};

use cosmos_bridge::governor::{
    self as ledger, Governor, Operation, Settlement, Verdict, YieldPolicy,
};
use cosmos_bridge::model::PartitionId;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;

/// Cells of the crate's limiter per request unit: charges have two decimals.
const CELLS_PER_UNIT: f64 = 100.0;

/// The burst that the ledger allows, in seconds of the budget; the prepaid limiters have the
/// same, so that the comparison does not depend on a setting.
const BURST: f64 = 0.02;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `src/governor`.
    Ledger,
    /// The crate's direct limiter as an earlier version used it: pay the debt, then send.
    Debt,
    /// The crate's direct limiter, configured with the mean price, with the difference carried over.
    Prepaid,
    /// The same with the crate's keyed limiter: an equal part of the budget for each partition.
    Keyed,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ledger, Self::Debt, Self::Prepaid, Self::Keyed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Debt => "crate, debt",
            Self::Prepaid => "crate, prepaid",
            Self::Keyed => "crate, keyed",
        }
    }
}

/// One request to one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) partition: u32,
    pub(crate) bytes: usize,
    /// The mean charge of such a request, in request units. The crate is configured with this; the ledger
    /// has to learn it.
    pub(crate) price: f64,
}

pub(crate) enum Limiter {
    Ledger(Box<Governor>),
    Debt(Debt),
    Prepaid(Prepaid),
}

impl Limiter {
    /// `rate` in request units per second over all partitions; `None` is unlimited.
    pub(crate) fn new(kind: Kind, rate: Option<f64>, partitions: u32) -> Self {
        match kind {
            Kind::Ledger => Self::Ledger(Box::new(Governor::new(rate, YieldPolicy::Normal, 32))),
            Kind::Debt => Self::Debt(Debt::new(rate)),
            Kind::Prepaid => Self::Prepaid(Prepaid::new(rate, None)),
            Kind::Keyed => Self::Prepaid(Prepaid::new(rate, Some(partitions))),
        }
    }

    pub(crate) fn set_rate(&self, rate: f64) {
        match self {
            Self::Ledger(governor) => governor.set_rate(Some(rate)),
            Self::Debt(debt) => replace(&debt.limiter, quota(rate, 1.0).map(RateLimiter::direct)),
            Self::Prepaid(prepaid) => prepaid.set_rate(Some(rate)),
        }
    }

    /// Waits until the request may be sent, sends it, and books its charge.
    pub(crate) async fn send(&self, request: Request, answer: impl Future<Output = f64>) {
        match self {
            Self::Ledger(governor) => {
                let write = Operation { kind: ledger::Kind::Write, bytes: request.bytes };
                let admission = governor.admit(PartitionId(request.partition), vec![write]).await;
                let (charge, verdict) = (answer.await, Verdict::Done);
                admission.settle(Settlement { charge, documents: 1, throttled: 0, verdict });
            }
            Self::Debt(debt) => {
                debt.ready().await;
                debt.spend(answer.await).await;
            }
            Self::Prepaid(prepaid) => prepaid.send(request, answer).await,
        }
    }
}

/// The crate has no way to change a limiter's rate: a new one takes its place.
type Replaceable<L> = RwLock<Option<Arc<L>>>;

fn replace<L>(place: &Replaceable<L>, limiter: Option<L>) {
    *place.write().unwrap_or_else(PoisonError::into_inner) = limiter.map(Arc::new);
}

fn current<L>(place: &Replaceable<L>) -> Option<Arc<L>> {
    place.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// `burst` in seconds of the rate.
fn quota(rate: f64, burst: f64) -> Option<Quota> {
    let burst = NonZeroU32::new(u32::try_from(cells(rate * burst)).ok()?)?;
    let rate = NonZeroU32::new(u32::try_from(cells(rate)).ok()?)?;
    Some(Quota::per_second(rate).allow_burst(burst))
}

#[expect(clippy::cast_possible_truncation, reason = "rates and charges are far below 2^63")]
fn cells(units: f64) -> i64 {
    (units * CELLS_PER_UNIT).round() as i64
}

/// As in an earlier version of the bridge: its lock is the queue, and charges wait in it too.
pub(crate) struct Debt {
    limiter: Replaceable<DefaultDirectRateLimiter>,
    owed: Mutex<i64>,
}

impl Debt {
    fn new(rate: Option<f64>) -> Self {
        let limiter = rate.and_then(|rate| quota(rate, 1.0)).map(RateLimiter::direct);
        Self { limiter: RwLock::new(limiter.map(Arc::new)), owed: Mutex::new(0) }
    }

    async fn ready(&self) {
        if current(&self.limiter).is_none() {
            return;
        }
        let mut owed = self.owed.lock().await;
        while let Some(part) = part(*owed, i64::MAX) {
            let Some(limiter) = current(&self.limiter) else { return };
            match limiter.until_n_ready(part).await {
                Ok(()) => *owed -= i64::from(part.get()),
                // At most the burst.
                Err(most) => {
                    let Some(part) = NonZeroU32::new(most.0) else { return };
                    if limiter.until_n_ready(part).await.is_err() {
                        return;
                    }
                    *owed -= i64::from(part.get());
                }
            }
        }
    }

    async fn spend(&self, charge: f64) {
        if current(&self.limiter).is_some() {
            *self.owed.lock().await += cells(charge);
        }
    }
}

fn part(owed: i64, most: i64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(owed.clamp(0, most.min(i64::from(u32::MAX)))).ok()?)
}

/// The best construction around the crate: the expected charge is paid before the request is sent, and the
/// difference to the real charge is carried over to the next.
pub(crate) struct Prepaid {
    pace: Replaceable<Pace>,
    /// One limiter, or one per partition.
    accounts: Vec<Account>,
    is_keyed: bool,
}

enum Pace {
    Direct(DefaultDirectRateLimiter, i64),
    Keyed(DefaultKeyedRateLimiter<u32>, i64),
}

#[derive(Default)]
struct Account {
    turn: Mutex<()>,
    owed: std::sync::Mutex<i64>,
}

impl Prepaid {
    fn new(rate: Option<f64>, partitions: Option<u32>) -> Self {
        let accounts = (0..partitions.unwrap_or(1)).map(|_| Account::default()).collect();
        let new = Self { pace: RwLock::new(None), accounts, is_keyed: partitions.is_some() };
        new.set_rate(rate);
        new
    }

    fn set_rate(&self, rate: Option<f64>) {
        let parts = u32::try_from(self.accounts.len()).map_or(1.0, f64::from);
        let pace = rate.and_then(|rate| {
            let quota = quota(rate / parts, BURST)?;
            let burst = i64::from(quota.burst_size().get());
            Some(if self.is_keyed {
                Pace::Keyed(RateLimiter::keyed(quota), burst)
            } else {
                Pace::Direct(RateLimiter::direct(quota), burst)
            })
        });
        replace(&self.pace, pace);
    }

    async fn send(&self, request: Request, answer: impl Future<Output = f64>) {
        let index = request.partition as usize % self.accounts.len();
        let account = &self.accounts[index];
        let expected = cells(request.price);
        if current(&self.pace).is_none() {
            answer.await;
            return;
        }
        {
            let _turn = account.turn.lock().await;
            let mut due = account.add(expected).max(0);
            account.add(-due);
            while let Some(pace) = current(&self.pace) {
                let Some(paid) = pace.pay(request.partition, due).await else { break };
                due -= paid;
            }
        }
        account.add(cells(answer.await) - expected);
    }
}

impl Account {
    /// The debt after that; a negative value is a credit.
    fn add(&self, cells: i64) -> i64 {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed += cells;
        *owed
    }
}

impl Pace {
    /// Waits for the part of the debt that can be paid in one step; `None` when there is no debt.
    async fn pay(&self, partition: u32, due: i64) -> Option<i64> {
        let (Self::Direct(_, burst) | Self::Keyed(_, burst)) = self;
        let part = part(due, *burst)?;
        match self {
            Self::Direct(limiter, _) => limiter.until_n_ready(part).await.ok()?,
            Self::Keyed(limiter, _) => limiter.until_key_n_ready(&partition, part).await.ok()?,
        }
        Some(i64::from(part.get()))
    }
}
