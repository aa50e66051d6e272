//! Reads the bridge's state file while the bridge runs, or before it has created one.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Pair;

/// The stored position of a feed range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRange {
    pub(crate) min: String,
    pub(crate) max: String,
    pub(crate) etag: Option<String>,
}

impl Pair {
    /// The stored feed ranges in order; none before the first start.
    pub(crate) fn stored_ranges(&self) -> Vec<StoredRange> {
        self.read_ranges().unwrap_or_default()
    }

    /// True if every feed range has a stored position: every change from now on is after the start.
    pub(crate) fn is_reading(&self) -> bool {
        let ranges = self.stored_ranges();
        !ranges.is_empty() && ranges.iter().all(|range| range.etag.is_some())
    }

    fn read_ranges(&self) -> rusqlite::Result<Vec<StoredRange>> {
        let file = self.folder.path().join("cosmos-bridge.db");
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let query = "SELECT range_min, range_max, etag FROM positions ORDER BY range_min";
        let mut statement = connection.prepare(query)?;
        let range = |row: &rusqlite::Row<'_>| {
            Ok(StoredRange { min: row.get(0)?, max: row.get(1)?, etag: row.get(2)? })
        };
        statement.query_map([], range)?.collect()
    }
}
