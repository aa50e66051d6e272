//! How often the lines about the clients of one sink are logged: a client reports each failed attempt.

use cosmos_bridge_sink::{Due, EventLog, Mutex};

/// Shared by all clients of a sink, which replace each other.
#[derive(Debug, Default)]
pub(crate) struct ClientLog {
    /// Errors by their code.
    pub(crate) errors: ByKind,
    pub(crate) recoveries: EventLog,
    /// The client's own lines by their text.
    pub(crate) lines: ByKind,
    pub(crate) replaced: EventLog,
}

/// Kinds with intervals of their own; all further kinds share those of the last.
const KINDS: usize = 16;

/// Events of several kinds.
#[derive(Debug, Default)]
pub(crate) struct ByKind(Mutex<Vec<(String, EventLog)>>);

impl ByKind {
    /// Counts an event of a kind, as [`EventLog::due`] does. Digits do not distinguish kinds, so that texts with
    /// a duration or a port are one kind.
    pub(crate) fn due(&self, kind: &str) -> Option<Due> {
        let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).collect();
        let mut logs = self.0.lock();
        let known = logs.iter().position(|(known, _)| *known == kind);
        let at = known.unwrap_or_else(|| {
            if logs.len() < KINDS {
                logs.push((kind, EventLog::default()));
            }
            logs.len() - 1
        });
        logs[at].1.due()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{ByKind, Due, KINDS};

    #[tokio::test(start_paused = true)]
    async fn each_kind_has_intervals_of_its_own_and_kinds_have_a_limit() {
        let logs = ByKind::default();
        for (kind, expected) in [
            ("refused after 5 ms", Some(Due { not_logged: None })),
            ("refused after 17 ms", None),
            ("no such topic", Some(Due { not_logged: None })),
            ("refused after 3 ms", None),
        ] {
            assert_eq!(logs.due(kind), expected, "{kind}");
        }
        advance(Duration::from_secs(30)).await;
        assert_eq!(logs.due("refused after 1 ms"), Some(Due { not_logged: Some(2) }));
        // Texts without end, such as those that hold a name.
        let name = |n: u32| char::from_u32(0x4e00 + n).unwrap().to_string();
        let lines = (0..1000).filter(|n| logs.due(&name(*n)).is_some()).count();
        assert_eq!(lines, KINDS - 2);
    }
}
