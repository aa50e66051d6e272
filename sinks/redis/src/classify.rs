//! What an error of the server or of the connection means.
//!
//! Sources: the error replies of Redis (`shared.*err` in `server.c`), of its scripts (`script.c`) and of
//! its cluster (`cluster.c`), and <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>.

use std::time::Duration;

use cosmos_bridge_sink::{Cause, Class, SinkError, SinkErrorKind};
use redis::{ErrorKind, RedisError};

use crate::Settings;

/// One row of the table. The first row that matches applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first word of the server's answer.
    pub code: &'static str,
    /// Text that the answer has to contain.
    pub contains: &'static str,
    pub class: Class,
    /// What happened, as a lower-case fragment.
    pub meaning: &'static str,
    /// A sentence that says what to do.
    pub hint: Option<&'static str>,
}

const fn busy(code: &'static str, meaning: &'static str, hint: Option<&'static str>) -> Row {
    Row { code, contains: "", class: Class::BUSY, meaning, hint }
}

const fn fault(
    code: &'static str,
    contains: &'static str,
    meaning: &'static str,
    hint: &'static str,
) -> Row {
    Row { code, contains, class: Class::FAULT, meaning, hint: Some(hint) }
}

const LOGIN: &str = "Check `username` and `password`.";
const PERMISSION: &str =
    "Give the ACL user the commands and the keys that sinks/redis/README.md lists.";
const MEMORY: &str = "Raise `maxmemory`, remove keys, or choose an eviction policy.";
const PRIMARY: &str = "Write the address of the primary to `servers`.";
const CLUSTER: &str = "Set `cluster = true`.";
const DATABASE: &str = "Correct `database`; a cluster has database 0 only.";
const OTHER_TYPE: &str = "Remove the key, or choose another `key`.";
const COMMAND: &str = "For `mode = \"json\"` load the module RedisJSON; the other modes need Redis 6.2 or \
                       Valkey.";
const DISK: &str =
    "Check the server's log and its disk; it stopped writes because it cannot save them.";
const REPLICAS: &str = "Check the replicas, or lower `min-replicas-to-write`.";
const SLOTS: &str = "Check `CLUSTER INFO`: a primary is unreachable, or slots have no primary.";

/// Every answer that has its own meaning. The rest is deferred as a fault of its change.
pub const TABLE: &[Row] = &[
    busy("OOM", "the server is out of memory", Some(MEMORY)),
    busy("READONLY", "the server is a read-only replica", Some(PRIMARY)),
    busy("LOADING", "the server is loading its data", None),
    busy("BUSY", "the server is busy with a script", None),
    busy("MASTERDOWN", "the server is a replica without its primary", Some(PRIMARY)),
    busy("NOREPLICAS", "the server has too few replicas to accept writes", Some(REPLICAS)),
    busy("MISCONF", "the server cannot save its data", Some(DISK)),
    busy("CLUSTERDOWN", "the cluster is down", Some(SLOTS)),
    busy("TRYAGAIN", "the slot is being moved to another node", None),
    busy("SUPERSEDED", "the call was sent on an earlier connection", None),
    fault("MOVED", "", "the server is a node of a cluster", CLUSTER),
    fault("ASK", "", "the server is a node of a cluster", CLUSTER),
    fault("CROSSSLOT", "", "the server is a node of a cluster", CLUSTER),
    fault("NOAUTH", "", "the server requires a password", LOGIN),
    fault("WRONGPASS", "", "the server refused user name or password", LOGIN),
    fault("ERR", "invalid password", "the server refused user name or password", LOGIN),
    fault("ERR", "without any password configured", "the server has no password", LOGIN),
    fault("NOPERM", "", "the user lacks a permission", PERMISSION),
    fault("ERR", "The user executing the script", "the user lacks a permission", PERMISSION),
    fault("ERR", "unknown command", "the server lacks a command", COMMAND),
    fault("ERR", "Unknown Redis command", "the server lacks a command", COMMAND),
    fault("ERR", "DB index is out of range", "the server has no such database", DATABASE),
    fault("ERR", "SELECT is not allowed in cluster", "the server has no such database", DATABASE),
    fault("WRONGTYPE", "", "the key holds another type of value", OTHER_TYPE),
    fault("ERR", "wrong Redis type", "the key holds another type of value", OTHER_TYPE),
    Row {
        code: "ERR",
        contains: "max number of clients",
        class: Class::BUSY,
        meaning: "the server accepts no more connections",
        hint: Some("Raise `maxclients`, or close other connections."),
    },
    fault("DENIED", "", "the server is in protected mode", "Set a password at the server."),
];

/// In a cluster the client follows redirections, so one is left over only if its node is unreachable.
const UNREACHABLE: Row = busy("MOVED", "the node with the slot cannot be reached", Some(SLOTS));

/// Why a change was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// What happened, as a fragment; never holds a document or a secret.
    pub(crate) reason: String,
    pub(crate) hint: Option<&'static str>,
    /// True if the connection must not be used any longer.
    pub(crate) ends_connection: bool,
}

impl Failure {
    fn kind(&self) -> SinkErrorKind {
        match self.hint {
            _ if self.cause == Cause::Busy => SinkErrorKind::Unreachable,
            Some(LOGIN | PERMISSION) => SinkErrorKind::Denied,
            Some(CLUSTER | DATABASE | COMMAND) => SinkErrorKind::Invalid,
            _ => SinkErrorKind::Other,
        }
    }

    pub(crate) fn into_sink_error(self) -> SinkError {
        let (kind, hint) = (self.kind(), self.hint.map(str::to_owned));
        SinkError { message: self.reason, hint, kind, source: None }
    }
}

/// What was attempted, for reasons.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    what: String,
    is_cluster: bool,
    limit: Duration,
}

impl Attempt {
    pub(crate) fn connecting(settings: &Settings) -> Self {
        Self::new("connecting to", settings, settings.server.connect_timeout)
    }

    pub(crate) fn writing(settings: &Settings) -> Self {
        Self::new("writing to", settings, settings.server.request_timeout)
    }

    pub(crate) fn checking(settings: &Settings) -> Self {
        Self::new("checking", settings, settings.server.request_timeout)
    }

    fn new(doing: &str, settings: &Settings, limit: Duration) -> Self {
        let what = format!("{doing} {}", settings.address());
        Self { what, is_cluster: settings.server.cluster, limit }
    }

    /// The server answered with an error.
    pub(crate) fn answer(&self, answer: &str) -> Failure {
        let answer = without_documents(answer);
        let code = answer.split(' ').next().unwrap_or_default();
        let fits = |row: &&Row| row.code == code && answer.contains(row.contains);
        let is_redirection = matches!(code, "MOVED" | "ASK");
        let row = if self.is_cluster && is_redirection {
            Some(&UNREACHABLE)
        } else {
            TABLE.iter().find(fits)
        };
        let (class, meaning, hint) = match row {
            Some(row) => (row.class, row.meaning, row.hint),
            None => (Class::FAULT, "the server answered with an error", None),
        };
        Failure {
            cause: class.cause().unwrap_or(Cause::Fault),
            reason: format!("{}: {meaning} ({answer})", self.what),
            hint,
            // The address may lead to another server soon, and the next login may succeed.
            ends_connection: matches!(code, "READONLY" | "MASTERDOWN" | "SUPERSEDED" | "NOAUTH"),
        }
    }

    /// The client failed.
    pub(crate) fn error(&self, error: &RedisError) -> Failure {
        if let Some(answer) = answer_of(error) {
            return self.answer(&answer);
        }
        if error.kind() == ErrorKind::AuthenticationFailed {
            return self.answer("WRONGPASS");
        }
        let shown = error.to_string();
        let is_certificate = shown.contains("certificate");
        let seconds = self.limit.as_secs_f64();
        let said = if error.is_timeout() { format!("no answer within {seconds} s") } else { shown };
        Failure {
            cause: if is_certificate { Cause::Fault } else { Cause::Busy },
            reason: format!("{}: {said}", self.what),
            hint: is_certificate.then_some("Check `tls.ca_file`, and the name in `servers`."),
            ends_connection: true,
        }
    }

    /// The connection was closed while the request was in flight.
    pub(crate) fn lost(&self) -> Failure {
        let reason = format!("{}: the connection was lost", self.what);
        Failure { cause: Cause::Busy, reason, hint: None, ends_connection: true }
    }
}

/// What the server answered, if the error is its answer.
fn answer_of(error: &RedisError) -> Option<String> {
    let code = error.code()?;
    Some(error.detail().map_or_else(|| code.to_owned(), |detail| format!("{code} {detail}")))
}

/// The server quotes arguments in an answer to an unknown command, and names the script.
fn without_documents(answer: &str) -> &str {
    let ends = [", with args beginning", " script: ", ", on @user_script", "\r", "\n"];
    let end = ends.iter().filter_map(|end| answer.find(end)).min();
    answer.get(..end.unwrap_or(answer.len())).unwrap_or(answer).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(is_cluster: bool) -> Attempt {
        let what = "writing to redis://h:1/0".to_owned();
        Attempt { what, is_cluster, limit: Duration::from_secs(1) }
    }

    #[test]
    fn an_answer_tells_whether_the_server_or_the_options_have_to_change() {
        let table = [
            ("OOM command not allowed when used memory > 'maxmemory'.", SinkErrorKind::Unreachable),
            ("NOPERM this user has no permissions", SinkErrorKind::Denied),
            ("MOVED 3999 127.0.0.1:6381", SinkErrorKind::Invalid),
            ("ERR Unknown Redis command called from script", SinkErrorKind::Invalid),
            ("ERR something new", SinkErrorKind::Other),
        ];
        for (answer, kind) in table {
            assert_eq!(attempt(false).answer(answer).into_sink_error().kind, kind, "{answer}");
        }
    }

    #[test]
    fn answers_have_the_meaning_of_their_row() {
        let table = [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Cause::Busy,
                "out of memory",
            ),
            ("READONLY You can't write against a read only replica.", Cause::Busy, "read-only"),
            ("MOVED 3999 127.0.0.1:6381", Cause::Fault, "node of a cluster"),
            ("ERR Unknown Redis command called from script", Cause::Fault, "lacks a command"),
            (
                "ERR unknown command 'JSON.SET', with args beginning with: 'k' '$' '{\"secret\"",
                Cause::Fault,
                "lacks a command (ERR unknown command 'JSON.SET')",
            ),
            (
                "NOPERM this user has no permissions to run the 'set' command script: 1ab, on @user_script:3.",
                Cause::Fault,
                "run the 'set' command)",
            ),
            ("ERR max number of clients reached", Cause::Busy, "no more connections"),
            ("ERR something new", Cause::Fault, "(ERR something new)"),
            ("WRONGPASS", Cause::Fault, "refused user name or password"),
        ];
        for (answer, cause, part) in table {
            let failure = attempt(false).answer(answer);
            assert_eq!(failure.cause, cause, "{answer}");
            assert!(failure.reason.contains(part), "{}", failure.reason);
            assert!(!failure.reason.contains("secret") && !failure.reason.contains("script:"));
        }
    }

    #[test]
    fn every_row_is_reached() {
        for row in TABLE {
            let answer = format!("{} {}", row.code, row.contains);
            let failure = attempt(false).answer(&answer);
            assert!(failure.reason.contains(row.meaning), "{row:?}: {}", failure.reason);
            assert_eq!(failure.hint, row.hint, "{row:?}");
        }
    }

    #[test]
    fn a_redirection_in_a_cluster_is_one_that_could_not_be_followed() {
        let failure = attempt(true).answer("MOVED 3999 127.0.0.1:6381");
        assert_eq!((failure.cause, failure.hint), (Cause::Busy, Some(SLOTS)));
        let expected = "writing to redis://h:1/0: the node with the slot cannot be reached (MOVED \
                        3999 127.0.0.1:6381)";
        assert_eq!(failure.reason, expected);
    }
}
