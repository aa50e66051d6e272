//! `[sinks.kafka.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::EventOptions;
use cosmos_bridge_options::{
    Form, Kind, SecretRef, Table, Value, boolean, certificates, choice, duration, filled, kind,
    map, options, reference, secret, secret_table, size, some, table_like, template, text, text_of,
    variants,
};
use cosmos_bridge_sink::Template;

use crate::refused::refused;
use crate::topic_name::TOPIC;

options! {
    /// Topics of Apache Kafka, or of another service with its protocol, such as Event Hubs.
    pub struct KafkaOptions {
        /// Some brokers; the client learns about the others from them.
        servers: Vec<String> = required("Write [\"kafka-1.example:9092\"]."),
            some(server(), "Name at least one broker.");
        /// A text with fields and properties of the change in braces. The bridge creates no topics.
        topic: Template = required(
            "Write the name of the topic, or a text like \"{database}.{container}\"."
        ), template().check(|value, topic| TOPIC.holds(value, topic));
        /// Messages of one key are in one partition; those of one document keep their order there.
        key: Template = "{partition_key}/{id}", template();
        /// More headers; a header whose field is not in the change is left out.
        headers: Vec<(String, Template)> = {}, map("a table of headers", template(), is_header),
            example { tenant = "{/tenant}" };
        /// A delete is a message without a value, which a compacted topic takes as the end of the key.
        tombstones: bool = false, boolean();
        /// "zstd", "gzip", "lz4", "snappy" or "none"; Event Hubs accepts only "gzip".
        compression: Compression = "zstd", choice(vec![
            ("zstd", Compression::Zstd),
            ("gzip", Compression::Gzip),
            ("lz4", Compression::Lz4),
            ("snappy", Compression::Snappy),
            ("none", Compression::None),
        ]);
        /// Longest wait for more messages before a batch is sent.
        // A batch gathers what a page brings, and an event is hardly later for it. Above a second nothing
        // is gained, and every event is that much later.
        linger: Duration = "2ms", duration(Duration::ZERO..=Duration::from_secs(1));
        /// The largest message, before compression. A smaller limit of a topic is detected.
        // The client's own default, a little less than what brokers and Event Hubs accept. The client
        // accepts at most a gigabyte; a document has 2 MB.
        max_message: usize = "1 MB", size(10 * 1024..=64 * 1024 * 1024);
        /// Longest wait for an acknowledgement before the changes are written again.
        // A broker that restarts is back within it, and a stop does not take longer.
        request_timeout: Duration = "10s", duration(Duration::from_millis(100)..=Duration::from_mins(10));
        /// TLS, if the brokers require it: with the system's authorities, or with other ones and a
        /// certificate of the bridge.
        tls: Option<Tls> = optional,
            table_like("a table", "Write tls = {} for the system's authorities."), example {};
        /// How the bridge authenticates, if the brokers require it. For Event Hubs the username is
        /// "$ConnectionString" and the password the connection string.
        sasl: Option<SaslOptions> = optional, secret_table(""),
            example { mechanism = "PLAIN", username = "bridge", password = { file = "target.key" } };
        /// One of the credentials, in place of `sasl`: by OAUTHBEARER, with tokens of Entra ID.
        credential: Option<String> = optional, reference("credential"), example "machine";
        /// The scope of the tokens; may be left out if the broker is a namespace of Event Hubs.
        scope: Option<String> = optional, text(),
            example "https://NAME.servicebus.windows.net/.default";
        /// Options of librdkafka, except those that would break order or safety.
        options: Vec<(String, String)> = {}, map("a table of options", hidden_text(), is_allowed),
            example { "client.rack" = "a" };
        events: EventOptions = flatten;
    }
    rules(table) {
        authentication_is_whole(table, servers.as_deref(), tls.as_ref(), scope.as_ref());
    }
}

options! {
    /// TLS to the brokers. Files are in PEM form.
    pub struct Tls {
        /// Authorities; those of the system if not written.
        ca_file: Option<PathBuf> = optional, certificates();
        /// The certificate of the bridge.
        certificate_file: Option<PathBuf> = optional, certificates();
        /// The key of that certificate.
        key_file: Option<PathBuf> = optional, certificates();
    }
    rules(table) {
        if table.get("certificate_file").is_some() != table.get("key_file").is_some() {
            let hint = "Name both: the certificate of the bridge and its key.";
            table.value().problem_unshown("a certificate and its key belong together", hint);
        }
    }
}

variants! {
    /// The mechanism that the broker accepts.
    pub enum SaslOptions by "mechanism" if_missing(
        "Write \"PLAIN\", \"SCRAM-SHA-512\" or another mechanism that the broker accepts."
    ) {
        "PLAIN" => Plain(Login),
        "SCRAM-SHA-256" => ScramSha256(Login),
        "SCRAM-SHA-512" => ScramSha512(Login),
        "OAUTHBEARER" => OauthBearer(BearerToken),
    }
}

options! {
    pub struct Login {
        username: String = required("Write the name; for Event Hubs \"$ConnectionString\"."), text();
        password: SecretRef = required(SECRET), secret();
    }
}

options! {
    pub struct BearerToken {
        /// A token that another program renews.
        token: SecretRef = required(SECRET), secret();
    }
}

const SECRET: &str = "Write { file = \"PATH\" } or { env = \"VARIABLE\" }.";

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

fn server() -> impl Kind<Output = String> {
    text_of("host:port", |value, text| {
        let is_address = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains([',', '/', ' ']) && port.parse::<u16>().is_ok()
        });
        if !is_address {
            let hint = "Write it like \"kafka-1.example:9092\".";
            value.problem("invalid address of a broker", hint);
            return None;
        }
        Some(text)
    })
}

fn is_header(value: &Value<'_>, name: &str) -> bool {
    let is_own = name.starts_with("ce_") || name == "content-type";
    if is_own {
        let hint = "Use another name: this one is an attribute of the event.";
        value.problem_unshown("the sink writes this header itself", hint);
    }
    !is_own
}

/// A value that may be a secret by mistake, and so is not shown.
fn hidden_text() -> impl Kind<Output = String> {
    kind(Form::text("text"), |value| filled(&value.secret()))
}

fn is_allowed(value: &Value<'_>, option: &str) -> bool {
    let why = refused(option);
    if let Some(why) = why {
        let mut letters = why.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        let hint = format!("{first}{}.", letters.as_str());
        value.problem_unshown("this option of the client cannot be set", hint);
    }
    why.is_none()
}

/// Checks the options that authenticate the bridge: `sasl`, or `credential` with `scope`.
fn authentication_is_whole(
    table: &Table<'_>,
    servers: Option<&[String]>,
    tls: Option<&Option<Tls>>,
    scope: Option<&Option<String>>,
) {
    let Some(credential) = table.get("credential") else {
        if let Some(scope) = table.get("scope") {
            let hint =
                "Name one of the [credentials.NAME] tables in `credential`, or leave it out.";
            scope.problem("a scope needs a credential", hint);
        }
        return;
    };
    if let Some(sasl) = table.get("sasl") {
        let hint = "Leave `sasl` out: a credential uses OAUTHBEARER.";
        sasl.problem_unshown("the sink has both a credential and `sasl`", hint);
        return;
    }
    let (Some(servers), Some(tls), Some(scope)) = (servers, tls, scope) else { return };
    if tls.is_none() && !servers.iter().all(|server| is_on_this_machine(server)) {
        let hint = "Write tls = {} too. Without TLS only a broker on this machine is allowed.";
        credential.problem_unshown("a token must not be sent without encryption", hint);
    } else if scope.is_none() && scope_of(servers).is_none() {
        let hint = "Write scope = \"api://APPLICATION/.default\", of the application that the broker \
                    accepts tokens for.";
        credential.problem_unshown("the scope of the broker's tokens is missing", hint);
    }
}

/// The scope of a namespace of Event Hubs.
///
/// Source: "Use Azure Event Hubs from Apache Kafka applications", OAuth 2.0, learn.microsoft.com.
pub(crate) fn scope_of(servers: &[String]) -> Option<String> {
    const NAMESPACES: [&str; 3] = [
        ".servicebus.windows.net",
        ".servicebus.usgovcloudapi.net",
        ".servicebus.chinacloudapi.cn",
    ];
    servers.iter().find_map(|server| {
        let (host, _) = server.rsplit_once(':')?;
        let is_namespace = NAMESPACES.iter().any(|ending| host.ends_with(ending));
        is_namespace.then(|| format!("https://{host}/.default"))
    })
}

fn is_on_this_machine(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let address: Result<std::net::IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Compression {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_on_this_machine;

    /// A token is sent to other machines only with encryption.
    #[test]
    fn a_broker_is_on_this_machine_only_by_a_loopback_address_or_as_localhost() {
        for (server, is_here) in [
            ("localhost:9092", true),
            ("127.0.0.1:9092", true),
            ("[::1]:9092", true),
            ("kafka.example:9092", false),
            ("localhost.example:9092", false),
            ("10.0.0.1:9092", false),
        ] {
            assert_eq!(is_on_this_machine(server), is_here, "{server}");
        }
    }
}
