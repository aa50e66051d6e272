//! `[admin]`: the address that tells how the bridge does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::reader::Value;
use super::table::Table;
use super::{LocalSecret, defaults};

/// `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    pub address: SocketAddr,
    /// Asked of whoever wants more than `/live` and `/ready`. Never in a vault, which would be asked
    /// with each request.
    pub token: Option<LocalSecret>,
    /// Names by which the address may be called, beside the address itself and `localhost`; in lower
    /// case.
    pub hosts: Vec<String>,
    /// Not ready, once a sink has failed for so long, or something gets on no more.
    pub sink_down: Duration,
    pub no_progress: Duration,
    /// Not alive, once the runtime has served nothing for so long.
    pub stuck: Duration,
}

#[expect(clippy::option_option, reason = "the outer one is whether there was a problem")]
pub(super) fn admin(root: &Table<'_>) -> Option<Option<Admin>> {
    let Some(value) = root.get("admin") else { return Some(None) };
    let table = value.table("a table", "Write [admin] and in it address = \"IP:PORT\".")?;
    let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), defaults::ADMIN_PORT);
    let address = table.or("address", default, address);
    let token = table.maybe("token", token);
    let hosts = table.or("hosts", Vec::new(), |hosts| hosts.all(host));
    let limit = |key, default| {
        table.or(key, default, |limit: &Value<'_>| limit.duration(&defaults::HEALTH_LIMITS))
    };
    let sink_down = limit("sink_down", defaults::SINK_DOWN);
    let no_progress = limit("no_progress", defaults::NO_PROGRESS);
    let stuck = limit("stuck", defaults::STUCK);
    table.finish();
    Some(Some(Admin {
        address: address?,
        token: token?,
        hosts: hosts?,
        sink_down: sink_down?,
        no_progress: no_progress?,
        stuck: stuck?,
    }))
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    const HINT: &str = "Write an IP address and a port: \"127.0.0.1:8090\", \"0.0.0.0:8090\" for every \
                        interface, or \"[::1]:8090\".";
    let text = value.text_like("an address", HINT)?;
    let address: Option<SocketAddr> = text.parse().ok();
    let address = address.filter(|address| address.port() > 0);
    if address.is_none() {
        value.problem("this is no address", HINT);
    }
    address
}

fn token(value: &Value<'_>) -> Option<LocalSecret> {
    value.local_secret(
        "the token of the admin address cannot be in a key vault",
        "It is read with each request, and a vault answers only so many. Write { file = \"PATH\" } or \
         { env = \"VARIABLE\" }.",
    )
}

fn host(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.chars().all(plain) {
        value.problem(
            "this is no host name",
            "Write a name or an IPv4 address without a port: \"bridge.monitoring.svc\".",
        );
        return None;
    }
    Some(text.to_ascii_lowercase())
}
