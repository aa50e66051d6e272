//! Bodies of management requests.

use serde::Deserialize;

use super::Failure;
use crate::regions::Regions;
use crate::throttle;

#[derive(Deserialize)]
pub(super) struct Advance {
    pub(super) advance_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionChange {
    /// True: the account writes there from now on.
    #[serde(default)]
    writes: bool,
    offline: Option<bool>,
}

impl RegionChange {
    /// False if there is no such region.
    pub(super) fn apply(&self, regions: &Regions, name: &str) -> bool {
        let known = self.offline.is_none_or(|offline| regions.set_offline(name, offline));
        known && (!self.writes || regions.fail_over(name))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Split {
    pub(super) range: Option<String>,
    pub(super) hold: bool,
}

#[derive(Deserialize)]
pub(super) struct Merge {
    pub(super) ranges: [String; 2],
    #[serde(default)]
    pub(super) hold: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throughput {
    /// By hand.
    ru_per_second: Option<u32>,
    /// The maximum of autoscale.
    autoscale: Option<u32>,
}

impl Throughput {
    /// With neither, the container has no offer and no limit.
    pub(super) fn offered(&self) -> Result<Option<throttle::Throughput>, Failure> {
        match (self.ru_per_second, self.autoscale) {
            (Some(_), Some(_)) => Err(Failure(400, "either ru_per_second or autoscale".to_owned())),
            (Some(units), None) => Ok(Some(throttle::Throughput::Manual(units))),
            (None, Some(units)) => Ok(Some(throttle::Throughput::Autoscale(units))),
            (None, None) => Ok(None),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) account: String,
    pub(super) database: String,
    pub(super) container: String,
    pub(super) rate: f64,
    #[serde(default)]
    pub(super) inserts: u32,
    #[serde(default)]
    pub(super) updates: u32,
    #[serde(default)]
    pub(super) deletes: u32,
    #[serde(default)]
    pub(super) seed: u64,
    pub(super) for_seconds: Option<u64>,
    pub(super) operations: Option<u64>,
}
