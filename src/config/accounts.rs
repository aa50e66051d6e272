//! `[accounts.NAME]`.

use std::time::Duration;

use cosmos_bridge_options::{
    Form, Kind, LocalSecret, SecretError, SecretRef, Table, Value, boolean, choice, duration,
    filled, integer, kind, list, local_reference, options, read_now, reference, secret,
    secret_form, secret_problem, text,
};

use super::connection_string::{check_key, parts};
use super::endpoint::{Endpoint, check_endpoint};

options! {
    /// One Cosmos DB account.
    pub struct Account {
        /// https://NAME.documents.azure.com; plain http:// only on this machine.
        endpoint: Option<Endpoint> = optional, endpoint(), example "https://NAME.documents.azure.com";
        /// The account key is never in this file: it is in another file, in the environment, or in an
        /// Azure Key Vault that one of the credentials may read. Each secret of this file is written in
        /// one of these three ways, except that secrets of credentials, the admin address's token and
        /// connection strings of accounts cannot be in a vault. Write a version only to stay with it;
        /// without one the newest is read.
        key: Option<SecretRef> = optional, secret().check(is_key), example { env = "SOURCE_KEY" };
        /// A connection string holds both endpoint and key.
        connection_string: Option<ConnectionString> = optional, connection_string(),
            example { env = "OTHER_CONNECTION_STRING" };
        /// One of the credentials, in place of a key; its identity has a data-plane role on the account.
        credential: Option<String> = optional, reference("credential"), example "machine";
        /// Preferred regions, nearest first; empty means the account's own order.
        regions: Vec<String> = [], list(text());
        /// Switch off only behind proxies that cannot speak HTTP/2.
        http2: bool = true, boolean();
        /// Longest wait for one answer.
        // A request to a far region under throttling stays well below; the service gives up at 60 s. Below
        // the minimum every wait ends as a failure; above the maximum a dead connection looks alive.
        request_timeout: Duration = "30s", duration(Duration::from_millis(100)..=Duration::from_mins(10));
        /// The service's priority-based execution, if the account has it on: "low" requests are throttled
        /// before "high" ones. Nothing is sent if not written.
        priority: Option<Priority> = optional,
            choice(vec![("low", Priority::Low), ("high", Priority::High)]), example "low";
        /// The container's throughput bucket, 1 to 5, in which requests count. Nothing is sent if not
        /// written.
        // The ids that the service has for the buckets of a container; it rejects others
        // (learn.microsoft.com, "Frequently asked questions on throughput buckets").
        throughput_bucket: Option<u32> = optional, integer(1..=5), example 2;
    }
    rules(table) {
        access_is_whole(table, matches!(connection_string, Some(Some(_))));
    }
}

/// The service's priority-based execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Low,
    High,
}

/// A connection string, which says where the account is.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionString {
    /// Never in a vault: rules between tables need the address.
    pub place: LocalSecret,
    pub endpoint: Endpoint,
}

impl Account {
    /// Where the account is, in one spelling.
    pub fn address(&self) -> &str {
        self.written_endpoint().map_or("", |endpoint| &endpoint.address)
    }

    pub(super) fn written_endpoint(&self) -> Option<&Endpoint> {
        let connection = self.connection_string.as_ref().map(|connection| &connection.endpoint);
        self.endpoint.as_ref().or(connection)
    }

    /// The secret that opens the account; `None` if tokens do.
    pub fn secret(&self) -> Option<SecretRef> {
        let connection = self.connection_string.as_ref();
        let connection = connection.map(|connection| SecretRef::Local(connection.place.clone()));
        self.key.clone().or(connection)
    }
}

/// Checks the options of the access: exactly one proof, and exactly one endpoint.
fn access_is_whole(table: &Table<'_>, has_connection: bool) {
    const HINT: &str = "Write key = { file = \"PATH\" }, key = { env = \"VARIABLE\" }, \
                        connection_string with one of the two, or credential = \"NAME\".";
    const PROOFS: [(&str, &str); 3] = [
        ("key", "a key"),
        ("connection_string", "a connection string"),
        ("credential", "a credential"),
    ];
    let written = PROOFS.iter().filter_map(|(key, what)| Some((what, table.get(key)?)));
    match *written.collect::<Vec<_>>() {
        [] => table.value().problem_unshown("the account's key is missing", HINT),
        [_] => {}
        [(what, _), (other, ref at), ..] => {
            let message = format!("the account has both {what} and {other}");
            at.problem_unshown(message, "Keep one of the two.");
            return;
        }
    }
    match table.get("endpoint") {
        Some(endpoint) if has_connection => {
            let message = "the connection string already says where the account is";
            endpoint.problem_unshown(message, "Remove `endpoint`, or use `key`.");
        }
        None if table.get("connection_string").is_none() => {
            table.required("endpoint", "Write endpoint = \"https://NAME.documents.azure.com\".");
        }
        _ => {}
    }
}

fn endpoint() -> impl Kind<Output = Endpoint> {
    kind(Form::pattern("a web address", "^https?://"), |value| {
        let written = filled(value)?;
        let checked = check_endpoint(&written).map_err(|error| {
            // A user name or password may be in it.
            let value = if written.contains('@') { &value.secret() } else { value };
            value.problem(error.to_string(), error.hint());
        });
        let address = checked.ok()?.to_string();
        Some(Endpoint { written, address })
    })
}

/// Checks a key on this machine. No vault is called while the file is checked.
fn is_key(value: &Value<'_>, secret: &SecretRef) -> bool {
    let SecretRef::Local(place) = secret else { return true };
    let Some(key) = read_now(value, place) else { return false };
    is_sound(value, check_key(&key)).is_some()
}

fn is_sound<T>(value: &Value<'_>, checked: Result<T, SecretError>) -> Option<T> {
    checked.map_err(|error| secret_problem(value, &error)).ok()
}

fn connection_string() -> impl Kind<Output = ConnectionString> {
    kind(secret_form(), |value| {
        let place = local_reference(
            value,
            "a connection string of an account cannot be in a key vault",
            "The file has to say where the account is. Write `endpoint`, and `key` for a key in the \
             vault.",
        )?;
        let text = read_now(value, &place)?;
        let (endpoint, _) = is_sound(value, parts(&text))?;
        Some(ConnectionString { place, endpoint })
    })
}

/// The address of an account as far as it can be read, for rules between tables.
pub(super) fn address_of(account: &Value<'_>) -> Option<String> {
    let endpoint = match account.at("connection_string") {
        Some(value) => value.quietly(|value| connection_string().read(value))?.endpoint,
        None => account.at("endpoint")?.quietly(|value| endpoint().read(value))?,
    };
    Some(endpoint.address)
}
