//! What is told at the admin address, whoever asks.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use super::health::{Limits, Reason, reasons};
use super::heart::Heartbeat;
use super::metrics::Families;
use super::status::{Rates, Report};
use crate::config;
use crate::observe::Meter;

/// A run, watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) meter: Arc<Meter>,
    pub(super) heart: Arc<Heartbeat>,
    pub(super) limits: Limits,
    pub(super) began: SystemTime,
}

impl Watched {
    /// Why it is not ready.
    pub(super) fn reasons(&self) -> Vec<Reason> {
        reasons(&self.meter, self.limits, jiff::Timestamp::now().as_second())
    }
}

/// The pages.
pub(super) struct View {
    pub(super) settings: config::Admin,
    watched: Arc<Watched>,
    registry: Registry,
    rates: Mutex<Rates>,
}

impl View {
    pub(super) fn new(settings: config::Admin, meter: Arc<Meter>, heart: Arc<Heartbeat>) -> Self {
        let rates = Mutex::new(Rates::new(Arc::clone(&meter)));
        let limits = Limits::from(&settings);
        let watched = Arc::new(Watched { meter, heart, limits, began: SystemTime::now() });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Families(Arc::clone(&watched))));
        Self { settings, watched, registry, rates }
    }

    /// Measures rates anew; to be called every few seconds.
    pub(super) fn look(&self) {
        self.rates.lock().look();
    }

    pub(super) fn is_alive(&self) -> bool {
        self.watched.heart.silent_for() < self.settings.stuck
    }

    pub(super) fn reasons(&self) -> Vec<Reason> {
        self.watched.reasons()
    }

    /// All metrics, as `OpenMetrics` or in Prometheus' own format; with the name of the format.
    pub(super) fn metrics(&self, openmetrics: bool) -> Result<(&'static str, String), fmt::Error> {
        let mut body = String::new();
        if openmetrics {
            text::encode(&mut body, &self.registry)?;
            return Ok(("application/openmetrics-text; version=1.0.0; charset=utf-8", body));
        }
        prometheus_text::encode(&mut body, &self.registry)?;
        Ok((prometheus_text::CONTENT_TYPE, body))
    }

    pub(super) fn status(&self) -> Report {
        let rates = self.rates.lock();
        rates.report(&self.watched, self.is_alive())
    }
}
