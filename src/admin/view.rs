//! The contents of the pages at the admin address.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use super::health::{Limits, Reason};
use super::heartbeat::Heartbeat;
use super::metrics::RunMetrics;
use super::observed_run::ObservedRun;
use super::report::StatusReport;
use super::status::StatusSampler;
use crate::config;
use crate::observe::Meter;

pub(super) struct View {
    pub(super) settings: config::Admin,
    run: Arc<ObservedRun>,
    registry: Registry,
    sampler: Mutex<StatusSampler>,
}

impl View {
    pub(super) fn new(
        settings: config::Admin,
        meter: Arc<Meter>,
        heartbeat: Arc<Heartbeat>,
    ) -> Self {
        let sampler = Mutex::new(StatusSampler::new(Arc::clone(&meter)));
        let limits = Limits::from(&settings);
        let run = Arc::new(ObservedRun::new(meter, heartbeat, limits));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(RunMetrics(Arc::clone(&run))));
        Self { settings, run, registry, sampler }
    }

    /// Samples the counters, for rates. Has to be called every few seconds.
    pub(super) fn sample(&self) {
        self.sampler.lock().sample();
    }

    pub(super) fn is_alive(&self) -> bool {
        self.run.heartbeat.age() < self.settings.stuck
    }

    pub(super) fn unready_reasons(&self) -> Vec<Reason> {
        self.run.unready_reasons()
    }

    /// All metrics with their content type: `OpenMetrics`, or Prometheus' own older format.
    pub(super) fn metrics(&self, openmetrics: bool) -> Result<(&'static str, String), fmt::Error> {
        let mut body = String::new();
        if openmetrics {
            text::encode(&mut body, &self.registry)?;
            return Ok(("application/openmetrics-text; version=1.0.0; charset=utf-8", body));
        }
        prometheus_text::encode(&mut body, &self.registry)?;
        Ok((prometheus_text::CONTENT_TYPE, body))
    }

    pub(super) fn status(&self) -> StatusReport {
        self.sampler.lock().report(&self.run, self.is_alive())
    }
}
