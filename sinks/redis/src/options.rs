//! `[sinks.redis.NAME]`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::EventOptions;
use cosmos_bridge_options::{
    Kind, SecretRef, Table, boolean, certificates, choice, duration, integer, options, secret,
    size, some, table_like, template, text, text_of, variants,
};
use cosmos_bridge_sink::Template;

variants! {
    /// How a change is stored: "set", "json" and "hash" keep the latest version of each document, "stream"
    /// keeps every change.
    pub enum RedisOptions by "mode" if_missing("Write \"set\", \"json\", \"hash\" or \"stream\".") {
        /// The document as JSON text in a string.
        "set" => Set(DocumentOptions),
        /// The document as a value of the module RedisJSON.
        "json" => Json(DocumentOptions),
        /// Each field at the top of the document as a field of a hash.
        "hash" => Hash(DocumentOptions),
        /// An event at the end of a stream.
        "stream" => Stream(StreamOptions),
    }
}

options! {
    /// Documents in keys of Redis or Valkey.
    pub struct DocumentOptions {
        server: ServerOptions = flatten;
        /// The key of a document: a text with fields and properties of the change in braces.
        // Differs for each document of all containers.
        key: Template = "{database}:{container}:{partition_key}:{id}", template();
        expiry: Expiry = flatten;
    }
}

options! {
    /// Events in streams of Redis or Valkey.
    pub struct StreamOptions {
        server: ServerOptions = flatten;
        /// The key of the stream: a text with fields and properties of the change in braces.
        key: Template = "{database}:{container}", template();
        /// The server removes the oldest entries of longer streams.
        max_length: Option<u32> = optional, integer(1..=u32::MAX), example 1000000;
        /// Bytes of one event.
        // The largest document with its previous image, and room for text.
        max_message: usize = "16 MiB", size(1024..=128 * 1024 * 1024);
        events: EventOptions = flatten;
    }
}

options! {
    /// How long documents and the versions of deleted documents are kept.
    pub struct Expiry {
        /// "document": the field `ttl` of a document is its time to live, in seconds from its commit.
        /// "ignore": it is a field like others, as in a container without time to live.
        ttl: Ttl = "document", choice(vec![("document", Ttl::Document), ("ignore", Ttl::Ignore)]);
        /// Time to live of documents that have no `ttl`: that of the container.
        default_ttl: Option<Duration> = optional,
            duration(Duration::from_secs(1)..=Duration::from_hours(87_660)), example "7d";
        /// How long the version of a deleted or expired document is kept. An older version that arrives
        /// later is written.
        // Late writes arrive within seconds; a day covers a bridge that was suspended.
        tombstone_ttl: Duration = "24h",
            duration(Duration::from_mins(1)..=Duration::from_hours(24 * 30));
    }
}

options! {
    /// The server or cluster, and how it is accessed.
    pub struct ServerOptions {
        /// The server; of a cluster some nodes, from which the client learns the others.
        servers: Vec<Server> = required("Write [\"cache.example:6379\"]."),
            some(server(), "Name at least one server.");
        /// The servers are nodes of a cluster.
        cluster: bool = false, boolean();
        /// The logical database. A cluster has only 0.
        database: u32 = 0, integer(0..=1_000_000);
        /// TLS, if the server requires it: with the system's authorities, or with other ones and a
        /// certificate of the bridge.
        tls: Option<Tls> = optional,
            table_like("a table", "Write tls = {} for the system's authorities."), example {};
        /// The ACL user; the default user if not written.
        username: Option<String> = optional, text(), example "bridge";
        /// Its password.
        password: Option<SecretRef> = optional, secret(), example { env = "REDIS_PASSWORD" };
        /// Changes in one write.
        // A pipeline of some hundred commands hides the latency of the network.
        batch: usize = 500, integer(1..=10_000);
        /// Writes in flight; they share one connection.
        // One write is encoded while the server executes another.
        concurrency: usize = 4, integer(1..=100);
        /// Longest wait for a connection.
        connect_timeout: Duration = "10s", duration(TIMEOUTS);
        /// Longest wait for an answer. Then the connection is closed and the changes are written again.
        // A server that saves or loads its data can be silent for seconds.
        request_timeout: Duration = "30s", duration(TIMEOUTS);
    }
    rules(table) {
        is_reachable(table, servers.as_deref(), cluster, database);
        if table.get("username").is_some() && table.get("password").is_none() {
            let hint = "Write password = { env = \"VARIABLE\" } too.";
            table.value().problem_unshown("a user name needs a password", hint);
        }
    }
}

options! {
    /// TLS to the server. Files are in PEM form.
    pub struct Tls {
        /// Authorities in place of those of the system.
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

const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_mins(10);

impl Copy for Expiry {}

/// Whether the field `ttl` of a document is its time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    Document,
    Ignore,
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// An IPv6 address has no brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Server {
    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = in_brackets.unwrap_or(host);
        let is_host = !host.is_empty()
            && !host.contains(['/', '@', ' ', '[', ']'])
            && (in_brackets.is_some() || !host.contains(':'));
        Some(Self { host: host.to_owned(), port: port.parse().ok()? }).filter(|_| is_host)
    }
}

fn server() -> impl Kind<Output = Server> {
    text_of("host:port", |value, text| {
        let server = Server::read(&text);
        if server.is_none() {
            // A URI may hold a password.
            let hint = "Write it like \"cache.example:6379\"; user, password and TLS are separate options.";
            value.problem_unshown("invalid address of a server", hint);
        }
        server
    })
}

fn is_reachable(
    table: &Table<'_>,
    servers: Option<&[Server]>,
    cluster: Option<bool>,
    database: Option<u32>,
) {
    if let (Some([_, _, ..]), Some(false), Some(at)) = (servers, cluster, table.get("servers")) {
        at.problem(
            "only a cluster has several servers",
            "Write cluster = true, or name one server.",
        );
    }
    if let (Some(true), Some(1..), Some(at)) = (cluster, database, table.get("database")) {
        at.problem("a cluster has only database 0", "Leave `database` out.");
    }
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_options::from_toml;

    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        let table = [
            ("cache.example:6379", Some("cache.example:6379")),
            ("[::1]:6379", Some("[::1]:6379")),
            ("::1:6379", None),
            ("cache.example", None),
            ("redis://cache.example:6379", None),
            ("user:secret@cache.example:6379", None),
            (":6379", None),
        ];
        for (text, expected) in table {
            let read = Server::read(text).map(|server| server.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn each_mode_has_its_own_options() {
        let read = |text: &str| {
            let text = format!("servers = [\"a:1\"]\n{text}");
            from_toml::<RedisOptions>(&text).map_err(|problems| problems.to_string())
        };
        for mode in ["set", "json", "hash"] {
            let options = read(&format!("mode = \"{mode}\"")).unwrap();
            assert_eq!(options.key().to_string(), "{database}:{container}:{partition_key}:{id}");
            let refused = read(&format!("mode = \"{mode}\"\nmax_length = 1")).unwrap_err();
            assert!(refused.contains("max_length"), "{refused}");
        }
        let options = read("mode = \"stream\"\nmax_length = 9").unwrap();
        assert_eq!(options.key().to_string(), "{database}:{container}");
        let refused = read("mode = \"stream\"\nttl = \"ignore\"").unwrap_err();
        assert!(refused.contains("ttl"), "{refused}");
        for (text, said) in [
            ("mode = \"set\"\ncluster = true\ndatabase = 1", "a cluster has only database 0"),
            ("mode = \"set\"\nusername = \"u\"", "a user name needs a password"),
            ("", "Write \"set\", \"json\", \"hash\" or \"stream\"."),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
