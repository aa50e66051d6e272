//! Settings as options of the client, librdkafka.

use cosmos_bridge_sink::{SinkError, SinkErrorKind};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::Tls;
use crate::refused::{refused, refused_value};
use crate::settings::{Sasl, Settings};

/// The options of a client. `batch_bytes` is what one batch may hold, where the topic takes less than
/// usual; `alone` sends every message in a batch of its own.
///
/// # Errors
///
/// An option that may not be passed through.
pub(crate) fn client(
    settings: &Settings,
    batch_bytes: Option<usize>,
    alone: bool,
) -> Result<ClientConfig, SinkError> {
    let options = &settings.options;
    let mut config = ClientConfig::new();
    let mut set = |name: &str, value: &str| {
        config.set(name, value);
    };
    set("bootstrap.servers", &options.servers.join(","));
    set("client.id", "cosmos-bridge");
    // Every in-sync replica, and one numbered series per partition, in which the broker takes
    // nothing twice and nothing out of order.
    set("acks", "all");
    set("enable.idempotence", "true");
    // A batch that is refused for good ends the series. Without this the client would close the gap
    // and send what comes after it, though the same document's earlier change is missing.
    set("enable.gapless.guarantee", "true");
    // No message is ever given up by the client: that would be such a gap, too.
    set("message.timeout.ms", "0");
    set("compression.type", options.compression.name());
    set("linger.ms", &options.linger.as_millis().to_string());
    set("message.max.bytes", &options.max_message.to_string());
    let batch = batch_bytes.unwrap_or(USUAL_BATCH).min(options.max_message);
    set("batch.size", &batch.to_string());
    // Java's own partitioner: a key has one partition, also for other producers.
    set("partitioner", "murmur2_random");
    // More than the bridge ever gives at once; bytes are bounded by what it gives.
    set("queue.buffering.max.messages", "1000000");
    // A missing topic is reported, not created.
    set("allow.auto.create.topics", "false");
    // A broker or topic that is back is found within seconds, not within ten and 300.
    set("reconnect.backoff.max.ms", "2000");
    set("topic.metadata.refresh.interval.ms", "30000");
    set("topic.metadata.propagation.max.ms", "5000");
    // Batches are large and answers are waited for.
    set("socket.nagle.disable", "true");
    set("log.connection.close", "false");
    set("security.protocol", protocol(settings));
    if let Some(tls) = &options.tls {
        secure(tls, &mut set);
    }
    match &settings.sasl {
        Some(Sasl::Password { mechanism, username, password }) => {
            set("sasl.mechanism", mechanism.name());
            set("sasl.username", username);
            set("sasl.password", password.expose());
        }
        Some(Sasl::Bearer { .. } | Sasl::Tokens { .. }) => set("sasl.mechanism", "OAUTHBEARER"),
        None => {}
    }
    for (name, value) in &options.options {
        if let Some(why) = refused(name).or_else(|| refused_value(name, value)) {
            return Err(SinkError {
                message: format!("the option `{name}` cannot be passed to the client: {why}"),
                hint: Some(format!("Take `{name}` out of `options`.")),
                kind: SinkErrorKind::Invalid,
                source: None,
            });
        }
        set(name, value);
    }
    bound(&mut config, batch_bytes, alone);
    config.set_log_level(RDKafkaLogLevel::Info);
    Ok(config)
}

/// Applies the limits that a refusal has shown, regardless of `options`: a larger batch is refused again,
/// and a refused batch of several messages does not say which message is meant.
fn bound(config: &mut ClientConfig, batch_bytes: Option<usize>, alone: bool) {
    if alone {
        config.set("batch.num.messages", "1");
    }
    let wanted = config.get("batch.size").and_then(|bytes| bytes.parse::<usize>().ok());
    if let Some(most) = batch_bytes.filter(|most| wanted.is_none_or(|wanted| wanted > *most)) {
        config.set("batch.size", most.to_string());
    }
}

/// The client's own default.
const USUAL_BATCH: usize = 1_000_000;

fn protocol(settings: &Settings) -> &'static str {
    match (&settings.options.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    }
}

fn secure(tls: &Tls, set: &mut dyn FnMut(&str, &str)) {
    // An OpenSSL that was linked in looks into a folder that hardly any system has; `probe` looks
    // where systems keep their authorities.
    let authority = tls.ca_file.as_ref().map(|path| path.to_string_lossy());
    set("ssl.ca.location", authority.as_deref().unwrap_or("probe"));
    if let (Some(certificate), Some(key)) = (&tls.certificate_file, &tls.key_file) {
        set("ssl.certificate.location", &certificate.to_string_lossy());
        set("ssl.key.location", &key.to_string_lossy());
    }
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_options::from_toml;

    use super::*;
    use crate::KafkaOptions;
    use crate::refused::{ORDER, RETRY};

    fn with(options: &[(&str, &str)]) -> Settings {
        let text = "servers = [\"localhost:9092\"]\ntopic = \"orders\"";
        let mut all: KafkaOptions = from_toml(text).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        all.options = options.iter().map(owned).collect();
        Settings { encoder: all.events.encoder(""), options: all, sasl: None }
    }

    #[test]
    fn an_option_that_breaks_a_promise_is_refused_by_name_or_by_value() {
        let cases = [
            ("partitioner", "random", Some(ORDER)),
            ("partitioner", "consistent", None),
            ("partitioner", "consistent_random", None),
            ("partitioner", "murmur2", None),
            ("partitioner", "fnv1a_random", None),
            (
                "delivery.report.only.error",
                "true",
                Some("without its report no event ever counts as delivered"),
            ),
            ("retries", "1", Some(RETRY)),
            ("batch.num.messages", "5", None),
        ];
        for (name, value, why) in cases {
            let problem = client(&with(&[(name, value)]), None, false).err();
            let expected =
                why.map(|why| format!("the option `{name}` cannot be passed to the client: {why}"));
            assert_eq!(problem.map(|error| error.message), expected, "{name} = {value}");
        }
    }

    #[test]
    fn what_a_refusal_has_taught_counts_more_than_options() {
        let own = [("batch.num.messages", "5000"), ("batch.size", "500000")];
        let hexadecimal = [("batch.size", "0x7a120")];
        // Options, the size that was learned, alone; messages and bytes of a batch.
        let cases = [
            (&own[..], None, false, Some("5000"), "500000"),
            (&own, None, true, Some("1"), "500000"),
            (&own, Some(20_000), false, Some("5000"), "20000"),
            (&own, Some(600_000), true, Some("1"), "500000"),
            (&hexadecimal, Some(20_000), false, None, "20000"),
            (&[], Some(20_000), true, Some("1"), "20000"),
            (&[], None, false, None, "1000000"),
        ];
        for (options, batch_bytes, alone, messages, bytes) in cases {
            let config = client(&with(options), batch_bytes, alone).unwrap();
            let found = (config.get("batch.num.messages"), config.get("batch.size"));
            assert_eq!(found, (messages, Some(bytes)), "{options:?} {batch_bytes:?} {alone}");
        }
    }
}
