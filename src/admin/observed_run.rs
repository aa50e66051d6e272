//! The run that the admin address reports.

use std::sync::Arc;
use std::time::SystemTime;

use super::health::{Limits, Reason, unready_reasons};
use super::heartbeat::Heartbeat;
use crate::observe::Meter;

/// A run with everything that is needed to judge it.
#[derive(Debug)]
pub(super) struct ObservedRun {
    pub(super) meter: Arc<Meter>,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) limits: Limits,
    pub(super) start: SystemTime,
}

impl ObservedRun {
    /// Why the bridge is not ready; empty if it is.
    pub(super) fn unready_reasons(&self) -> Vec<Reason> {
        unready_reasons(&self.meter, self.limits, jiff::Timestamp::now().as_second())
    }
}
