//! The conservation ledger after every run of a bridge in every test: what was read is filtered, delivered,
//! superseded or a dead letter, up to the stored positions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// The log line of a ledger that does not balance.
const UNBALANCED: &str = "nothing tells what became of them";

/// One row of the table `ledgers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) sink: String,
    pub(crate) read: i64,
    pub(crate) filtered: i64,
    pub(crate) delivered: i64,
    pub(crate) superseded: i64,
    pub(crate) dead_letters: i64,
}

/// Panics if a ledger in the state file next to a configuration does not balance, or the log of a run says that
/// one did not.
pub(crate) fn must_balance(config: &Path, log: &str) {
    for row in rows(&state_file(config)).unwrap_or_default() {
        let closed = row.filtered + row.delivered + row.superseded + row.dead_letters;
        assert_eq!(row.read, closed, "the ledger does not balance: {row:?}");
    }
    assert!(!log.contains(UNBALANCED), "a ledger did not balance while the bridge ran");
}

/// What a sink got since the first start of its pipeline, over all feed ranges.
pub(crate) fn of_sink(config: &Path, sink: &str) -> Row {
    let mut sum = Row { sink: sink.to_owned(), ..Row::default() };
    for row in rows(&state_file(config)).unwrap_or_default().iter().filter(|row| row.sink == sink) {
        sum.read += row.read;
        sum.filtered += row.filtered;
        sum.delivered += row.delivered;
        sum.superseded += row.superseded;
        sum.dead_letters += row.dead_letters;
    }
    sum
}

pub(crate) fn state_file(config: &Path) -> PathBuf {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let file = table.get("state").and_then(|state| state.get("file")?.as_str());
    config.with_file_name(file.unwrap_or("cosmos-bridge.db"))
}

/// `None` without a file, or for one that a test has made unreadable or whose version is older.
fn rows(file: &Path) -> Option<Vec<Row>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.busy_timeout(Duration::from_secs(5)).ok()?;
    let query = "SELECT sink, read, filtered, delivered, superseded, dead_letters FROM ledgers";
    let mut statement = connection.prepare(query).ok()?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Row {
            sink: row.get(0)?,
            read: row.get(1)?,
            filtered: row.get(2)?,
            delivered: row.get(3)?,
            superseded: row.get(4)?,
            dead_letters: row.get(5)?,
        })
    };
    statement.query_map([], row).ok()?.collect::<Result<_, _>>().ok()
}
