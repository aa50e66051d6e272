//! The request units that a bridge used, read from the counters of the account.

use std::sync::PoisonError;
use std::time::Duration;

use cosmos_bridge_emulator::container::Container;
use cosmos_bridge_emulator::usage::Usage;

/// The name of the bridge in the counters of an account.
const CLIENT: &str = "cosmos-bridge";

/// The bridge's use of a container. Rates are in request units per second.
#[derive(Clone, Debug)]
pub(crate) struct Spending {
    usage: Usage,
    /// The times of the bridge's first request and of this reading, since the container was created.
    pub(crate) first: Duration,
    pub(crate) now: Duration,
}

impl Spending {
    pub(crate) fn of(container: &Container) -> Self {
        let now = container.made.elapsed();
        let stats = container.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = stats.clients.get(CLIENT).cloned().unwrap_or_default();
        let first = usage.slots.front().map_or(now, |slot| Duration::from_millis(slot.at_ms));
        Self { usage, first, now }
    }

    /// The rate in every window of a length between two times, in order.
    pub(crate) fn rates(&self, window: Duration, from: Duration, to: Duration) -> Vec<f64> {
        let windows = self.usage.windows(None, window, from, to);
        windows.into_iter().map(|units| units / window.as_secs_f64()).collect()
    }

    pub(crate) fn least(&self, window: Duration, from: Duration, to: Duration) -> f64 {
        self.rates(window, from, to).into_iter().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn most(&self, window: Duration, from: Duration, to: Duration) -> f64 {
        self.rates(window, from, to).into_iter().fold(0.0, f64::max)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.usage.requests
    }

    /// The share of requests that were throttled.
    #[expect(clippy::cast_precision_loss, reason = "requests of a test are few")]
    pub(crate) fn refused(&self) -> f64 {
        self.usage.throttled as f64 / self.usage.requests.max(1) as f64
    }

    pub(crate) fn units(&self) -> f64 {
        self.usage.request_units
    }
}
