//! `[sinks.kafka.<name>]`: topics of an Apache Kafka, or of what speaks its protocol.

mod sasl;

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_sink::{Piece, Property, Template};

use super::super::reader::Value;
use super::super::{SecretRef, defaults};
use super::as_usize;
use super::events::{Events, events};
pub use sasl::{KafkaSasl, Mechanism};

/// `[sinks.kafka.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaSink {
    /// `host:port` of some brokers.
    pub servers: Vec<String>,
    pub topic: Template,
    pub key: Template,
    /// More headers.
    pub headers: Vec<(String, Template)>,
    /// Deletes are messages without a value.
    pub tombstones: bool,
    pub compression: Compression,
    /// Longest wait for more messages before a batch is sent.
    pub linger: Duration,
    /// Bytes of the largest message, before compression.
    pub max_message: usize,
    /// Longest wait for an acknowledgement.
    pub request_timeout: Duration,
    pub tls: Option<KafkaTls>,
    pub sasl: Option<KafkaSasl>,
    /// Options of the client library, by its names.
    pub options: Vec<(String, String)>,
    pub events: Events,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// `[sinks.kafka.<name>.tls]`. Files are in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTls {
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

pub(super) fn read(value: &Value<'_>, credentials: &[&str]) -> Option<KafkaSink> {
    let table = value.table("a table", "")?;
    let servers = table
        .required("servers", "Write [\"kafka-1.example:9092\"].")
        .and_then(|servers| servers.all(server).filter(|all| has_some(&servers, all)));
    let topic = table
        .required(
            "topic",
            "Write the name of the topic, or a text like \"{database}.{container}\".",
        )
        .and_then(|topic| topic.address());
    let key = table.or("key", usual_key(), Value::address);
    let headers = table.or("headers", Vec::new(), headers);
    let tombstones = table.or("tombstones", false, Value::boolean);
    let compression = table.or("compression", Compression::Zstd, compression);
    let linger = table.or("linger", defaults::LINGER, |linger| linger.duration(&defaults::LINGERS));
    let max_message = table.or("max_message", as_usize(defaults::MAX_MESSAGE), |bytes| {
        bytes.size(&defaults::MESSAGE_SIZES)
    });
    let request_timeout = table.or("request_timeout", defaults::ACKNOWLEDGE_TIMEOUT, |timeout| {
        timeout.duration(&defaults::REQUEST_TIMEOUTS)
    });
    let tls = table.maybe("tls", tls);
    let sasl = sasl::sasl(&table, servers.as_deref(), tls.as_ref(), credentials);
    let options = table.or("options", Vec::new(), options);
    let events = events(&table);
    table.finish();
    Some(KafkaSink {
        servers: servers?,
        topic: topic?,
        key: key?,
        headers: headers?,
        tombstones: tombstones?,
        compression: compression?,
        linger: linger?,
        max_message: max_message?,
        request_timeout: request_timeout?,
        tls: tls?,
        sasl: sasl?.0,
        options: options?,
        events: events?,
    })
}

impl KafkaSink {
    pub(super) fn secrets(&self) -> Vec<(&'static str, SecretRef)> {
        match &self.sasl {
            Some(KafkaSasl::Password { password, .. }) => vec![("sasl.password", password.clone())],
            Some(KafkaSasl::Bearer { token }) => vec![("sasl.token", token.clone())],
            Some(KafkaSasl::Entra { .. }) | None => Vec::new(),
        }
    }

    pub(super) fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        let tls = self.tls.as_ref();
        let authority = tls.and_then(|tls| tls.ca_file.clone()).map(|path| ("tls.ca_file", path));
        let own = tls.and_then(|tls| tls.certificate.clone());
        let own = own.map(|(certificate, key)| {
            [("tls.certificate_file", certificate), ("tls.key_file", key)]
        });
        authority.into_iter().chain(own.into_iter().flatten()).collect()
    }
}

/// `{partition_key}/{id}`: one document, one partition.
fn usual_key() -> Template {
    Template(vec![
        Piece::Property(Property::PartitionKey),
        Piece::Text("/".to_owned()),
        Piece::Property(Property::Id),
    ])
}

fn server(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    let is_address = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains([',', '/', ' ']) && port.parse::<u16>().is_ok()
    });
    if !is_address {
        value.problem("this is no address of a broker", "Write it like \"kafka-1.example:9092\".");
        return None;
    }
    Some(text)
}

fn has_some(value: &Value<'_>, servers: &[String]) -> bool {
    if servers.is_empty() {
        value.problem("the list is empty", "Name at least one broker.");
    }
    !servers.is_empty()
}

fn headers(value: &Value<'_>) -> Option<Vec<(String, Template)>> {
    let entries = value.named("a table of headers")?;
    let headers: Vec<_> = entries
        .into_iter()
        .map(|(name, value)| {
            // One option, whatever the header is called.
            let value = value.shaped("headers");
            if name.starts_with("ce_") || name == "content-type" {
                let hint = "Take another name: this one is an attribute of the event.";
                value.problem_unshown("the sink writes this header itself", hint);
                return None;
            }
            Some((name.to_owned(), value.address()?))
        })
        .collect();
    headers.into_iter().collect()
}

fn compression(value: &Value<'_>) -> Option<Compression> {
    value.choice(&[
        ("zstd", Compression::Zstd),
        ("gzip", Compression::Gzip),
        ("lz4", Compression::Lz4),
        ("snappy", Compression::Snappy),
        ("none", Compression::None),
    ])
}

fn tls(value: &Value<'_>) -> Option<KafkaTls> {
    let table = value.table("a table", "Write tls = {} for the system's authorities.")?;
    let ca_file = table.maybe("ca_file", Value::file);
    let certificate = table.maybe("certificate_file", Value::file);
    let key = table.maybe("key_file", Value::file);
    table.finish();
    let certificate = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let hint = "Name both: the certificate of the bridge and its key.";
            value.problem_unshown("a certificate and its key belong together", hint);
            return None;
        }
    };
    Some(KafkaTls { ca_file: ca_file?, certificate })
}

fn options(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    let entries = value.named("a table of options")?;
    let options: Vec<_> = entries
        .into_iter()
        .map(|(name, value)| {
            // One option, whatever it is called. Its value may be a secret by mistake.
            let value = value.secret().shaped("options");
            if let Some(why) = refused(name) {
                value.problem_unshown("the client must not be given this option", why);
                return None;
            }
            Some((name.to_owned(), value.filled()?))
        })
        .collect();
    options.into_iter().collect()
}

/// A sentence that says what to do instead.
#[cfg(feature = "kafka")]
fn refused(option: &str) -> Option<String> {
    let why = cosmos_bridge_kafka::refused(option)?;
    let mut letters = why.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    Some(format!("{first}{}.", letters.as_str()))
}

/// Nothing is read for a sink that the build leaves out.
#[cfg(not(feature = "kafka"))]
fn refused(_option: &str) -> Option<String> {
    None
}
