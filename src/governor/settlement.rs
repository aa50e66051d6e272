//! The result of a request, as far as the budget is concerned.

use std::time::Duration;

use cosmos_bridge_sink::RequestUnits;

/// What the response to a request means for further requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request was completed.
    Done,
    /// The partition has no units left: no request for `wait`, and a lower rate after that.
    Throttled { wait: Duration },
    /// The service is overloaded: fewer requests in parallel.
    Slowed,
    /// The response means nothing for other requests: a rejected document, one hot key, no response.
    Other,
}

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settlement {
    /// The charge of all its attempts.
    pub charge: RequestUnits,
    /// Documents that it read or wrote.
    pub documents: usize,
    /// Attempts that were throttled.
    pub throttled: u32,
    pub verdict: Verdict,
}
