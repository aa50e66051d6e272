//! All budgets of one bridge.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use jiff::Timestamp;

use super::kept::{Kept, Why};
use super::{BudgetError, Offer};
use crate::config::{Allowance, Config};
use crate::governor::Governor;
use crate::observe::{BudgetMeter, Direction, Meter};
use tokio_util::sync::CancellationToken;

/// How often the clock is looked at, for schedules.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Owns the budget of each direction of each container, and keeps it up to date.
pub struct BudgetTask {
    kept: Vec<Kept>,
    meter: Arc<Meter>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl BudgetTask {
    /// Budgets are shown through `meter`; `clock` tells the time of day.
    pub fn new(meter: Arc<Meter>, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { kept: Vec::new(), meter, clock: Box::new(clock) }
    }

    /// The governor of one direction of a container: the same for all who name it. `name` is
    /// `account/database/container`.
    ///
    /// # Errors
    ///
    /// The budget is a share, and what it is a share of is unknown.
    pub async fn governor(
        &mut self,
        direction: Direction,
        allowance: Allowance,
        name: &str,
        offer: Arc<dyn Offer>,
    ) -> Result<Arc<Governor>, BudgetError> {
        if let Some(kept) = self.find(direction, &allowance) {
            return Ok(Arc::clone(&kept.governor));
        }
        let now = (self.clock)();
        let kept = Kept::open(direction, allowance, name.to_owned(), offer, now).await?;
        let governor = Arc::clone(&kept.governor);
        self.meter.add_budget(Arc::new(BudgetMeter {
            container: kept.container.clone(),
            direction,
            governor: Arc::clone(&governor),
        }));
        self.kept.push(kept);
        Ok(governor)
    }

    /// Takes over the budgets of a configuration, which has to name the same containers
    /// ([`Config::with_budgets_of`]). Felt at once, but for a share of a throughput that was never
    /// read: it is read first. Gives the number of budgets that changed.
    pub fn reload(&self, config: &Config) -> usize {
        let reads = config.pipelines.keys().map(|name| (Direction::Read, config.reading(name)));
        let writes =
            config.sinks.keys().filter_map(|name| Some((Direction::Write, config.writing(name)?)));
        let now = (self.clock)();
        // Those that share a container say the same, so the first one changes it.
        let changes = reads.chain(writes).filter(|(direction, allowance)| {
            self.find(*direction, allowance).is_some_and(|kept| kept.reload(allowance, now))
        });
        changes.count()
    }

    /// Follows the clock and the provisioned throughput until stopped.
    pub async fn run(&self, stop: &CancellationToken) {
        let refreshed = join_all(self.kept.iter().map(|kept| kept.refresh(&*self.clock)));
        // Side by side: an account that does not answer must not hold up the clock.
        stop.run_until_cancelled(join(self.follow_clock(), refreshed)).await;
    }

    async fn follow_clock(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = (self.clock)();
            for kept in &self.kept {
                kept.apply(now, Why::Schedule);
            }
        }
    }

    fn find(&self, direction: Direction, allowance: &Allowance) -> Option<&Kept> {
        let is_it =
            |kept: &&Kept| kept.direction == direction && kept.address == allowance.container;
        self.kept.iter().find(is_it)
    }
}
