//! `[sinks.amqp.<name>]`: an exchange of an AMQP 0-9-1 broker.

use std::path::PathBuf;
use std::time::Duration;

use super::super::reader::Value;
use super::super::table::Table;
use super::super::{SecretRef, Template, defaults};
use super::as_usize;
use super::events::{Events, events};

/// `[sinks.amqp.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AmqpSink {
    /// Holds user and password.
    pub uri: SecretRef,
    /// Authorities to trust beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    pub client: Option<ClientCertificate>,
    pub exchange: Template,
    pub routing_key: Template,
    /// Beside those of the event.
    pub headers: Vec<(String, Template)>,
    pub mandatory: bool,
    pub unroutable: Unroutable,
    pub persistent: bool,
    /// Bytes of one message.
    pub max_message: usize,
    /// Messages under way in one write.
    pub batch: usize,
    /// Writes under way at once.
    pub concurrency: usize,
    pub heartbeat: Duration,
    pub connect_timeout: Duration,
    pub confirm_timeout: Duration,
    pub events: Events,
}

/// The bridge's own certificate, with its chain, and its key, in PEM form.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: SecretRef,
}

/// What becomes of a message that no queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    DeadLetter,
    Wait,
}

/// Headers that brokers read as further routing keys, and want to be lists.
const RESERVED: [&str; 2] = ["CC", "BCC"];

pub(super) fn read(value: &Value<'_>) -> Option<AmqpSink> {
    let table = value.table("a table", "")?;
    let uri = table
        .required(
            "uri",
            "Write { env = \"VARIABLE\" } or { file = \"PATH\" }: it holds a password.",
        )
        .and_then(|uri| uri.secret_reference());
    let ca_file = table.maybe("ca_file", Value::file);
    let client = table.maybe("client", client);
    let exchange = table
        .required("exchange", "Write the name of the exchange; \"\" is the default exchange.")
        .and_then(|exchange| match exchange.node.as_str() {
            Some("") => Some(Template(Vec::new())),
            _ => exchange.address(),
        });
    let routing_key = table.or("routing_key", default_routing_key(), Value::address);
    let headers = table.or("headers", Vec::new(), headers);
    let mandatory = table.or("mandatory", true, Value::boolean);
    let unroutable = table.or("unroutable", Unroutable::DeadLetter, |unroutable| {
        unroutable.choice(&[("dead-letter", Unroutable::DeadLetter), ("wait", Unroutable::Wait)])
    });
    let persistent = table.or("persistent", true, Value::boolean);
    let max_message = table.or("max_message", as_usize(defaults::AMQP_MESSAGE), |bytes| {
        bytes.size(&defaults::BODY_SIZES)
    });
    let batch =
        table.or("batch", defaults::AMQP_BATCH, |batch| batch.integer(defaults::AMQP_BATCHES));
    let concurrency = table.or("concurrency", defaults::AMQP_CONCURRENCY, |concurrency| {
        concurrency.integer(defaults::AMQP_CONCURRENCIES)
    });
    let heartbeat = table.or("heartbeat", defaults::AMQP_HEARTBEAT, |heartbeat| {
        heartbeat.duration(&defaults::AMQP_HEARTBEATS)
    });
    let wait =
        |name, default| table.or(name, default, |wait| wait.duration(&defaults::REQUEST_TIMEOUTS));
    let connect_timeout = wait("connect_timeout", defaults::AMQP_CONNECT_TIMEOUT);
    let confirm_timeout = wait("confirm_timeout", defaults::REQUEST_TIMEOUT);
    let events = events(&table);
    let is_sound = is_sound(&table, mandatory);
    table.finish();
    let sink = AmqpSink {
        uri: uri?,
        ca_file: ca_file?,
        client: client?,
        exchange: exchange?,
        routing_key: routing_key?,
        headers: headers?,
        mandatory: mandatory?,
        unroutable: unroutable?,
        persistent: persistent?,
        max_message: max_message?,
        batch: batch? as usize,
        concurrency: concurrency? as usize,
        heartbeat: heartbeat?,
        connect_timeout: connect_timeout?,
        confirm_timeout: confirm_timeout?,
        events: events?,
    };
    is_sound.then_some(sink)
}

impl AmqpSink {
    pub(super) fn secrets(&self) -> Vec<(&'static str, SecretRef)> {
        let key = self.client.as_ref().map(|client| ("client.key", client.key.clone()));
        std::iter::once(("uri", self.uri.clone())).chain(key).collect()
    }

    pub(super) fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        let own = self.client.as_ref().map(|client| ("client.certificate", &client.certificate));
        let files = self.ca_file.as_ref().map(|path| ("ca_file", path)).into_iter().chain(own);
        files.map(|(option, path)| (option, path.clone())).collect()
    }
}

fn default_routing_key() -> Template {
    Template::parse(defaults::ROUTING_KEY).unwrap_or(Template(Vec::new()))
}

fn client(value: &Value<'_>) -> Option<ClientCertificate> {
    const HINT: &str = "Write { certificate = \"PATH\", key = { file = \"PATH\" } }.";
    let table = value.table("a certificate and its key", HINT)?;
    let certificate = table.required("certificate", HINT).and_then(|path| path.file());
    let key = table.required("key", HINT).and_then(|key| key.secret_reference());
    table.finish();
    Some(ClientCertificate { certificate: certificate?, key: key? })
}

/// Whether options that concern each other agree.
fn is_sound(table: &Table<'_>, mandatory: Option<bool>) -> bool {
    if let (Some(false), Some(unroutable)) = (mandatory, table.get("unroutable")) {
        let message = "without `mandatory` the broker does not tell what no queue takes";
        unroutable.problem(message, "Leave one of the two out.");
        return false;
    }
    true
}

fn headers(value: &Value<'_>) -> Option<Vec<(String, Template)>> {
    let read = |(name, value): (&str, Value<'_>)| {
        // One option, whatever the header is called.
        let value = value.shaped("headers");
        if name.is_empty() || name.len() > 255 || RESERVED.contains(&name) {
            let hint = "A header has a name of at most 255 bytes, and not CC or BCC, which route.";
            value.problem_unshown("this is no name for a header", hint);
            return None;
        }
        Some((name.to_owned(), value.address()?))
    };
    let headers: Vec<_> = value.named("a table of headers")?.into_iter().map(read).collect();
    headers.into_iter().collect()
}
