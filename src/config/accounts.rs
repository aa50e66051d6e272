//! `[accounts.<name>]`, and what names may look like.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::endpoint::check_endpoint;
use super::reader::Value;
use super::sinks::reference;
use super::table::Table;
use super::{Account, AccountCredential, Endpoint, Priority, defaults};

/// The entries of a table of names; reports names that cannot be used.
pub(super) fn names<'d>(value: &Value<'d>) -> Vec<(&'d str, Value<'d>)> {
    /// Fits a line of the progress display, and a metric's label.
    const LONGEST: usize = 64;
    let entries = value.named("a table of names").unwrap_or_default();
    for (name, entry) in &entries {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
            entry.problem_unshown(
                "this name cannot be used",
                "A name has up to 64 letters of a to z, digits, - and _.",
            );
        }
    }
    entries
}

/// Names are keys of positions and metrics, where a difference in case alone is a trap.
pub(super) fn distinct<'e, 'd: 'e>(
    entries: impl Iterator<Item = &'e (&'d str, Value<'d>)>,
    why: &str,
) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, entry) in entries {
        if let Some(first) = seen.insert(name.to_ascii_lowercase(), name) {
            let message = format!("`{first}` and `{name}` are too much alike{why}");
            entry.problem_unshown(message, "Give it a name of its own, whatever the case.");
        }
    }
}

/// An account as far as it could be read.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) account: Option<Account>,
    /// Where it is, in one spelling: for telling whether two accounts are one.
    pub(super) address: Option<String>,
    /// Where its secret stands, when that is a file.
    pub(super) secret_file: Option<PathBuf>,
}

pub(super) fn account(value: &Value<'_>, credentials: &[&str]) -> Reading {
    let Some(table) = value.table("a table", "") else { return Reading::default() };
    let credential = credential(&table, credentials);
    let endpoint = endpoint(&table, credential.as_ref());
    let regions = table.or("regions", Vec::new(), |regions| regions.all(Value::filled));
    let http2 = table.or("http2", true, Value::boolean);
    let request_timeout = table.or("request_timeout", defaults::REQUEST_TIMEOUT, |timeout| {
        timeout.duration(&defaults::REQUEST_TIMEOUTS)
    });
    let priority = table.maybe("priority", |priority| {
        priority.choice(&[("low", Priority::Low), ("high", Priority::High)])
    });
    let throughput_bucket =
        table.maybe("throughput_bucket", |bucket| bucket.integer(defaults::THROUGHPUT_BUCKETS));
    table.finish();

    let url = match &endpoint {
        Some(Endpoint::Url(url)) => Some(url.as_str()),
        _ => None,
    };
    // A missing endpoint is reported where it belongs; the key is looked at all the same, but for one
    // in a vault, which is not asked while the file is checked.
    let read = credential.as_ref().and_then(|(reference, written)| {
        let read = reference.read_local(Some(url.unwrap_or_default()))?;
        read.map_err(|error| written.secret_problem(&error)).ok()
    });
    let address = url.map(str::to_owned).or_else(|| read.map(|access| access.endpoint));
    let address = address.and_then(|url| check_endpoint(&url).ok()).map(|url| url.to_string());
    let account = || {
        Some(Account {
            endpoint: endpoint?,
            address: address.clone()?,
            credential: credential.clone()?.0,
            regions: regions?,
            http2: http2?,
            request_timeout: request_timeout?,
            priority: priority?,
            throughput_bucket: throughput_bucket?,
        })
    };
    let secret_file = credential.as_ref().and_then(|(reference, _)| reference.file()).cloned();
    Reading { account: account(), address, secret_file }
}

/// The reference, and the value to report about.
fn credential<'d>(
    table: &Table<'d>,
    credentials: &[&str],
) -> Option<(AccountCredential, Value<'d>)> {
    const HINT: &str = "Write key = { file = \"PATH\" }, key = { env = \"VARIABLE\" }, \
                        connection_string with one of the two, or credential = \"NAME\".";
    const IN_A_VAULT: &str = "a connection string of an account cannot be in a key vault";
    const KEY: &str = "The file has to say where the account is. Write `endpoint`, and `key` for a key \
                       in the vault.";
    // All are read, so that what is wrong inside them is told too.
    let key = table
        .get("key")
        .map(|value| (value.secret_reference().map(AccountCredential::Key), "a key", value));
    let connection = table.get("connection_string").map(|value| {
        let reference = value.local_reference(IN_A_VAULT, KEY);
        (reference.map(AccountCredential::ConnectionString), "a connection string", value)
    });
    let entra = table.get("credential").map(|value| {
        let name = reference(&value, credentials, "credential");
        (name.map(AccountCredential::Entra), "a credential", value)
    });
    let mut given = [key, connection, entra].into_iter().flatten();
    let Some((first, what, value)) = given.next() else {
        table.value().problem_unshown("the account's key is missing", HINT);
        return None;
    };
    if let Some((_, other, at)) = given.next() {
        let message = format!("the account has both {what} and {other}");
        at.problem_unshown(message, "Keep one of the two.");
        return None;
    }
    Some((first?, value))
}

fn endpoint(
    table: &Table<'_>,
    credential: Option<&(AccountCredential, Value<'_>)>,
) -> Option<Endpoint> {
    if let Some((AccountCredential::ConnectionString(_), _)) = credential {
        return match table.get("endpoint") {
            None => Some(Endpoint::FromConnectionString),
            Some(value) => {
                let message = "the connection string already says where the account is";
                value.problem_unshown(message, "Remove `endpoint`, or use `key`.");
                None
            }
        };
    }
    // With a connection string that could not be read, the endpoint is not known to be missing.
    let value = if table.get("connection_string").is_some() {
        table.get("endpoint")?
    } else {
        table.required("endpoint", "Write endpoint = \"https://NAME.documents.azure.com\".")?
    };
    let text = value.filled()?;
    match check_endpoint(&text) {
        Ok(_) => Some(Endpoint::Url(text)),
        Err(error) => {
            // A user name or password may stand in it.
            let value = if text.contains('@') { value.secret() } else { value };
            value.problem(error.to_string(), error.hint());
            None
        }
    }
}
