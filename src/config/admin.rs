//! `[admin]`: the address of metrics, health and status.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use cosmos_bridge_options::{
    Form, Kind, LocalSecret, duration, kind, list, local_secret, options, text_of,
};

options! {
    /// docs/metrics.md has the metrics; `cosmos-bridge status` reads from here. Requests cannot change
    /// anything.
    pub struct Admin {
        /// An IP address and a port. At an address other than loopback, every machine that can connect
        /// can read it.
        // No port of Cosmos DB, of its emulators or of a broker.
        address: SocketAddr = "127.0.0.1:8090", address();
        /// Required as "Authorization: Bearer .." for everything but /live and /ready. Read again with
        /// each request.
        token: Option<LocalSecret> = optional, local_secret(
            "the token of the admin address cannot be in a key vault",
            "It is read with each request, and a vault limits requests. Write { file = \"PATH\" } or { \
             env = \"VARIABLE\" }.",
        ), example { env = "ADMIN_TOKEN" };
        /// Host names of this address, in addition to the address itself and localhost: the name of a
        /// service, or of the machine. Requests with other host names are rejected, so that no web page
        /// can read it.
        hosts: Vec<String> = [], list(host()), example ["cosmos-bridge.monitoring.svc"];
        /// /ready fails after a sink has failed for this time ..
        // Longer than a broker takes to restart or a container to be moved.
        sink_down: Duration = "5m", duration(LIMITS);
        /// .. or a feed range makes no progress although work is pending (or that is unknown).
        // The longest wait for an answer, several times over, at the longest poll interval that is
        // sensible.
        no_progress: Duration = "5m", duration(LIMITS);
        /// /live fails after the process has not run any task for this time.
        // A busy machine is late by a second; a process that is late by half a minute does not recover.
        stuck: Duration = "30s", duration(LIMITS);
    }
}

/// Below a second a busy machine looks broken; above a day the check is pointless.
const LIMITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

fn address() -> impl Kind<Output = SocketAddr> {
    const HINT: &str = "Write an IP address and a port: \"127.0.0.1:8090\", \"0.0.0.0:8090\" for every \
                        interface, or \"[::1]:8090\".";
    kind(Form::pattern("an IP address and a port", ":[0-9]+$"), |value| {
        let text = value.text_like("an address", HINT)?;
        let address: Option<SocketAddr> = text.parse().ok();
        let address = address.filter(|address| address.port() > 0);
        if address.is_none() {
            value.problem("invalid address", HINT);
        }
        address
    })
}

/// In lower case.
fn host() -> impl Kind<Output = String> {
    text_of("a host name", |value, text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !text.chars().all(plain) {
            value.problem(
                "invalid host name",
                "Write a name or an IPv4 address without a port: \"bridge.monitoring.svc\".",
            );
            return None;
        }
        Some(text.to_ascii_lowercase())
    })
}
