//! Inserts and updates in the source while the bridge runs.

use std::sync::Arc;

use cosmos_bridge_emulator::LocalAccounts;
use cosmos_bridge_emulator::live::LiveContainer;
use cosmos_bridge_emulator::workload::{Plan, Workloads};

use crate::{Failure, SOURCE};

/// Updates per new order.
const INSERTS: u32 = 1;
const UPDATES: u32 = 3;

/// A workload that runs. No deletes: the latest-version feed does not report them.
pub(crate) struct Workload {
    workloads: Workloads,
    number: u64,
}

impl Workload {
    /// `rate` is of inserts and updates together, per second.
    pub(crate) fn start(accounts: &LocalAccounts, rate: f64) -> Result<Self, Failure> {
        let container = accounts.world.container(SOURCE.0, SOURCE.1, SOURCE.2)?;
        let documents = LiveContainer { container, clock: Arc::clone(&accounts.world.clock) };
        let plan = Plan {
            rate,
            inserts: INSERTS,
            updates: UPDATES,
            deletes: 0,
            seed: 2,
            operations: None,
            time: None,
        };
        let workloads = Workloads::default();
        let number = workloads.start(documents, plan)?;
        Ok(Self { workloads, number })
    }

    /// How many inserts and updates it made.
    pub(crate) async fn stop(self) -> Result<(u64, u64), Failure> {
        let progress = self.workloads.stop(self.number).await.ok_or("no workload was started")?;
        match progress.error {
            Some(error) => Err(format!("the workload failed: {error}").into()),
            None => Ok((progress.inserts, progress.updates)),
        }
    }
}
