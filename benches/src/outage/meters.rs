//! Figures from the bridge's log and from the operating system.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::Failure;
use crate::configuration::TOPIC_SINK;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The metrics of the sink with the outage, by name.
pub(crate) async fn scrape(admin: u16) -> Result<HashMap<String, f64>, Failure> {
    let address = format!("http://127.0.0.1:{admin}/metrics");
    let text = reqwest::Client::new().get(address).send().await?.text().await?;
    let label = format!("sink=\"{TOPIC_SINK}\"");
    let mut found = HashMap::new();
    for line in text.lines().filter(|line| line.contains(&label)) {
        let (Some((name, _)), Some((_, value))) = (line.split_once('{'), line.rsplit_once(' '))
        else {
            continue;
        };
        *found.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or_default();
    }
    Ok(found)
}

/// The largest number of spooled bytes so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpoolPeak(Arc<Mutex<f64>>);

impl SpoolPeak {
    pub(crate) fn bytes(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples until the task is aborted.
    pub(crate) async fn watch(self, admin: u16) -> Result<(), Failure> {
        loop {
            let spooled = scrape(admin).await?.get("cosmos_bridge_spool_bytes").copied();
            if let Some(spooled) = spooled {
                let mut most = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *most = most.max(spooled);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The peak memory of a process, in bytes.
pub(crate) fn peak_memory(process: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
