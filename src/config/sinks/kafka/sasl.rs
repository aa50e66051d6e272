//! How the sink proves to a broker who it is.

use super::super::super::SecretRef;
use super::super::super::reader::Value;
use super::super::super::table::Table;
use super::super::reference;
use super::KafkaTls;

/// `[sinks.kafka.<name>.sasl]`.
#[derive(Clone, Debug, PartialEq)]
pub enum KafkaSasl {
    Password {
        mechanism: Mechanism,
        username: String,
        password: SecretRef,
    },
    Bearer {
        token: SecretRef,
    },
    /// `OAUTHBEARER` with tokens of one of the `[credentials]`, by its name.
    Entra {
        credential: String,
        scope: String,
    },
}

/// How a connection proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

/// Of a sink, if it has any.
pub(super) struct Sasl(pub(super) Option<KafkaSasl>);

/// `sasl`, or `credential` with `scope`.
pub(super) fn sasl(
    table: &Table<'_>,
    servers: Option<&[String]>,
    tls: Option<&Option<KafkaTls>>,
    credentials: &[&str],
) -> Option<Sasl> {
    let sasl = table.maybe("sasl", mechanism);
    let scope = table.maybe("scope", Value::filled);
    let credential = table.get("credential");
    is_sound(table).then_some(())?;
    let Some(credential) = credential else { return sasl.map(Sasl) };
    let name = reference(&credential, credentials, "credential");
    is_secure(servers?, tls?.as_ref(), &credential).then_some(())?;
    let scope = scope_of(&credential, scope?, servers?)?;
    Some(Sasl(Some(KafkaSasl::Entra { credential: name?, scope })))
}

/// Whether the options that prove who the bridge is agree.
fn is_sound(table: &Table<'_>) -> bool {
    let has_credential = table.get("credential").is_some();
    match (table.get("sasl"), table.get("scope")) {
        (Some(sasl), _) if has_credential => {
            let hint = "Leave `sasl` out: a credential is OAUTHBEARER already.";
            sasl.problem_unshown("the sink has both a credential and `sasl`", hint);
            false
        }
        (_, Some(scope)) if !has_credential => {
            let hint =
                "Name one of the [credentials.NAME] tables in `credential`, or leave it out.";
            scope.problem("a scope is that of a credential's tokens", hint);
            false
        }
        _ => true,
    }
}

/// Whether a token travels encrypted, or stays on this machine.
fn is_secure(servers: &[String], tls: Option<&KafkaTls>, credential: &Value<'_>) -> bool {
    if tls.is_some() || servers.iter().all(|server| is_on_this_machine(server)) {
        return true;
    }
    let hint = "Write tls = {} beside it. Without TLS only a broker on this machine is reached.";
    credential.problem_unshown("a token must not travel without encryption", hint);
    false
}

/// What was written, or what follows from the servers.
fn scope_of(credential: &Value<'_>, written: Option<String>, servers: &[String]) -> Option<String> {
    let scope = written.or_else(|| servers.iter().find_map(|server| scope_of_namespace(server)));
    if scope.is_none() {
        let hint = "Write scope = \"api://APPLICATION/.default\", of the application that the broker \
                    takes tokens for.";
        credential.problem_unshown("the scope of the broker's tokens is missing", hint);
    }
    scope
}

/// The scope of a namespace of Event Hubs.
///
/// Source: "Use Azure Event Hubs from Apache Kafka applications", OAuth 2.0, learn.microsoft.com.
fn scope_of_namespace(server: &str) -> Option<String> {
    const NAMESPACES: [&str; 3] = [
        ".servicebus.windows.net",
        ".servicebus.usgovcloudapi.net",
        ".servicebus.chinacloudapi.cn",
    ];
    let (host, _) = server.rsplit_once(':')?;
    let is_namespace = NAMESPACES.iter().any(|ending| host.ends_with(ending));
    is_namespace.then(|| format!("https://{host}/.default"))
}

fn is_on_this_machine(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let address: Result<std::net::IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn mechanism(value: &Value<'_>) -> Option<KafkaSasl> {
    const SECRET: &str = "Write { file = \"PATH\" } or { env = \"VARIABLE\" }.";
    let table = value.secret_table("a table", "")?;
    let mechanism = table
        .required(
            "mechanism",
            "Write \"PLAIN\", \"SCRAM-SHA-512\" or another that the broker takes.",
        )
        .and_then(|mechanism| {
            mechanism.choice(&[
                ("PLAIN", Mechanism::Plain),
                ("SCRAM-SHA-256", Mechanism::ScramSha256),
                ("SCRAM-SHA-512", Mechanism::ScramSha512),
                ("OAUTHBEARER", Mechanism::OauthBearer),
            ])
        });
    if mechanism == Some(Mechanism::OauthBearer) {
        let token = table.required("token", SECRET).and_then(|token| token.secret_reference());
        table.finish();
        return Some(KafkaSasl::Bearer { token: token? });
    }
    let username = table
        .required("username", "Write the name; for Event Hubs \"$ConnectionString\".")
        .and_then(|username| username.filled());
    let password =
        table.required("password", SECRET).and_then(|password| password.secret_reference());
    table.finish();
    Some(KafkaSasl::Password { mechanism: mechanism?, username: username?, password: password? })
}
