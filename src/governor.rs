//! Holds spending to a budget of request units. The only module that names the `governor` crate.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;

/// Cells of the limiter per request unit: charges have two decimals.
const CELLS_PER_UNIT: f64 = 100.0;

/// A budget of request units per second, or none.
///
/// A charge is known only when the answer is there, so it is paid before the next request: in one
/// second no more than one second's budget and one request is spent.
#[derive(Debug, Default)]
pub struct Governor(Option<Budget>);

#[derive(Debug)]
struct Budget {
    limiter: DefaultDirectRateLimiter,
    /// Cells of one second, which is also the largest sum that the limiter grants at once.
    burst: NonZeroU32,
    /// Spent and not paid yet, in cells. Its lock is the queue of those who wait.
    debt: Mutex<u64>,
}

impl Governor {
    /// `None` is unlimited.
    pub fn new(units_per_second: Option<f64>) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a budget above 42 million units is as good as none, a negative one is refused"
        )]
        let cells = units_per_second.map(|units| (units * CELLS_PER_UNIT) as u32);
        Self(cells.and_then(NonZeroU32::new).map(|burst| Budget {
            limiter: RateLimiter::direct(Quota::per_second(burst)),
            burst,
            debt: Mutex::new(0),
        }))
    }

    /// Waits until everything spent so far is paid.
    pub async fn ready(&self) {
        let Some(Budget { limiter, burst, debt }) = &self.0 else { return };
        let mut debt = debt.lock().await;
        while let Some(part) = NonZeroU32::new(u32::try_from(*debt).unwrap_or(u32::MAX)) {
            let part = part.min(*burst);
            // Never more than the burst, so never refused.
            if limiter.until_n_ready(part).await.is_err() {
                break;
            }
            *debt -= u64::from(part.get());
        }
    }

    /// Books what a request cost.
    pub async fn spend(&self, charge: f64) {
        let Some(Budget { debt, .. }) = &self.0 else { return };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "charges are small and not negative"
        )]
        let cells = (charge * CELLS_PER_UNIT).round() as u64;
        *debt.lock().await += cells;
    }
}

#[cfg(test)]
mod tests {
    use super::Governor;

    #[tokio::test]
    async fn without_a_budget_nothing_waits() {
        let governor = Governor::new(None);
        governor.spend(1e9).await;
        governor.ready().await;
    }

    #[tokio::test]
    async fn a_debt_is_paid_before_the_next_request() {
        let governor = Governor::new(Some(1000.0));
        let start = tokio::time::Instant::now();
        governor.ready().await;
        // One second's budget is there at once; the rest takes its time.
        governor.spend(1200.0).await;
        governor.ready().await;
        assert!(start.elapsed().as_secs_f64() >= 0.19, "{:?}", start.elapsed());
    }
}
