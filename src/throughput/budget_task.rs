//! All budgets of one process.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::BudgetError;
use super::managed_budget::{ManagedBudget, RateCause};
use super::throughput_source::ThroughputSource;
use crate::config::{Allowance, Config};
use crate::governor::Governor;
use crate::observe::{BudgetMeter, Direction, Meter};

/// How often schedules are compared with the clock.
const SCHEDULE_INTERVAL: Duration = Duration::from_secs(1);

/// Owns the budget of each direction of each container, and keeps its rate up to date.
pub struct BudgetTask {
    budgets: Vec<ManagedBudget>,
    meter: Arc<Meter>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl BudgetTask {
    /// Reports the budgets to `meter`; `clock` returns the current time.
    pub fn new(meter: Arc<Meter>, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { budgets: Vec::new(), meter, clock: Box::new(clock) }
    }

    /// The governor of one direction of a container: every caller with the same container gets the same one.
    /// `name` is `account/database/container`.
    ///
    /// # Errors
    ///
    /// The budget is a share, and the provisioned throughput is unknown.
    pub async fn governor(
        &mut self,
        direction: Direction,
        allowance: Allowance,
        name: &str,
        source: Arc<dyn ThroughputSource>,
    ) -> Result<Arc<Governor>, BudgetError> {
        if let Some(budget) = self.find(direction, &allowance) {
            return Ok(Arc::clone(&budget.governor));
        }
        let now = (self.clock)();
        let budget =
            ManagedBudget::open(direction, allowance, name.to_owned(), source, now).await?;
        let governor = Arc::clone(&budget.governor);
        self.meter.add_budget(Arc::new(BudgetMeter {
            container: budget.container.clone(),
            direction,
            governor: Arc::clone(&governor),
        }));
        self.budgets.push(budget);
        Ok(governor)
    }

    /// Applies the budgets of a configuration, which has to name the same containers
    /// ([`Config::with_budgets_of`]). They are valid immediately, except a share of a throughput that was never
    /// read: that is read first. Returns the number of budgets that changed.
    pub fn reload(&self, config: &Config) -> usize {
        let reads = config.pipelines.keys().map(|name| (Direction::Read, config.reading(name)));
        let writes =
            config.sinks.keys().filter_map(|name| Some((Direction::Write, config.writing(name)?)));
        let now = (self.clock)();
        // Tables that share a container have the same budget, so the first one changes it.
        let changes = reads.chain(writes).filter(|(direction, allowance)| {
            self.find(*direction, allowance).is_some_and(|budget| budget.reload(allowance, now))
        });
        changes.count()
    }

    /// Follows the clock and the provisioned throughput until stopped.
    pub async fn run(&self, stop: &CancellationToken) {
        let refreshed = join_all(self.budgets.iter().map(|budget| budget.refresh(&*self.clock)));
        // In parallel: an account that does not respond must not delay schedules.
        stop.run_until_cancelled(join(self.follow_clock(), refreshed)).await;
    }

    async fn follow_clock(&self) {
        loop {
            tokio::time::sleep(SCHEDULE_INTERVAL).await;
            let now = (self.clock)();
            for budget in &self.budgets {
                budget.apply(now, RateCause::Schedule);
            }
        }
    }

    fn find(&self, direction: Direction, allowance: &Allowance) -> Option<&ManagedBudget> {
        self.budgets
            .iter()
            .find(|budget| budget.direction == direction && budget.address == allowance.container)
    }
}
