//! The schema of the state file, as the steps that lead to it.

use rusqlite::Connection;

/// Step `n`, from 1, brings a file of version `n - 1` to version `n`. A step is never changed once it is
/// released: files that have taken it exist. A new version is a new step at the end.
const STEPS: &[&str] = &[
    include_str!("../schema.sql"),
    TARGETS,
    include_str!("dead_letters.sql"),
    UNPARSED,
    STREAM_FROM,
    LEDGERS,
    HISTORY,
    SWEEPS,
];

/// What the names of sinks refer to. A file of version 1 does not say it: the next start stores it.
const TARGETS: &str = "
CREATE TABLE targets (
  pipeline   TEXT NOT NULL,
  sink       TEXT NOT NULL,
  kind       TEXT NOT NULL, -- the type of the sink
  parts      TEXT NOT NULL, -- JSON: names and values of what decides where changes go
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  PRIMARY KEY (pipeline, sink)
) STRICT, WITHOUT ROWID;
";

/// What the service sent, where it cannot be parsed: letters of documents that cannot be parsed.
const UNPARSED: &str = "ALTER TABLE dead_letters ADD COLUMN unparsed BLOB;";

/// Where the changes are read from, after what existed at the start.
const STREAM_FROM: &str = "ALTER TABLE positions ADD COLUMN stream_from TEXT;";

/// What became of the changes that were read for each sink, up to its stored positions.
const LEDGERS: &str = "
CREATE TABLE ledgers (
  pipeline     TEXT NOT NULL,
  sink         TEXT NOT NULL,
  range_min    TEXT NOT NULL, -- both bounds are empty for ranges that do not exist any more
  range_max    TEXT NOT NULL,
  read         INTEGER NOT NULL,
  filtered     INTEGER NOT NULL,
  delivered    INTEGER NOT NULL,
  superseded   INTEGER NOT NULL,
  dead_letters INTEGER NOT NULL,
  PRIMARY KEY (pipeline, sink, range_min, range_max)
) STRICT, WITHOUT ROWID;
";

/// Up to when the positions of a sink are known to have everything: by it, a start after an outage knows how
/// much of the source's history is left.
const HISTORY: &str = "
CREATE TABLE history (
  pipeline   TEXT NOT NULL,
  sink       TEXT NOT NULL,
  current_at INTEGER NOT NULL, -- seconds since the Unix epoch
  PRIMARY KEY (pipeline, sink)
) STRICT, WITHOUT ROWID;
";

/// Which sweeps are due.
const SWEEPS: &str = "
CREATE TABLE sweeps (
  pipeline    TEXT NOT NULL,
  sink        TEXT NOT NULL,
  resyncs     INTEGER NOT NULL DEFAULT 0, -- losses of the history
  swept       INTEGER NOT NULL DEFAULT 0, -- those that a sweep has repaired
  finished_at INTEGER,                    -- of the last sweep, seconds since the Unix epoch
  PRIMARY KEY (pipeline, sink)
) STRICT, WITHOUT ROWID;
";

/// The version that this program writes.
pub(super) fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the file to the newest version, all steps or none; returns its version. A file of a newer
/// version is left alone.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let found = version(connection)?;
    let done = usize::try_from(found).unwrap_or(0);
    if done >= STEPS.len() {
        return Ok(found);
    }
    let transaction = connection.transaction()?;
    for step in &STEPS[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", newest())?;
    transaction.commit()?;
    Ok(newest())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{STEPS, migrate, newest, version};

    /// Every table and index, with its definition.
    fn schema(connection: &Connection) -> Vec<String> {
        let mut query = connection
            .prepare("SELECT name || ': ' || coalesce(sql, '') FROM sqlite_schema ORDER BY name")
            .unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_file_of_every_version_becomes_what_a_new_file_is() {
        let mut new = Connection::open_in_memory().unwrap();
        assert_eq!(migrate(&mut new).unwrap(), newest());
        for done in 1..=STEPS.len() {
            let mut old = Connection::open_in_memory().unwrap();
            for step in &STEPS[..done] {
                old.execute_batch(step).unwrap();
            }
            old.pragma_update(None, "user_version", i64::try_from(done).unwrap()).unwrap();
            assert_eq!(migrate(&mut old).unwrap(), newest(), "from version {done}");
            assert_eq!(version(&old).unwrap(), newest());
            assert_eq!(schema(&old), schema(&new), "from version {done}");
        }
    }

    #[test]
    fn the_page_about_upgrades_names_the_newest_version() {
        let page = include_str!("../../../docs/upgrade.md");
        assert!(page.contains(&format!("has schema version {} (", newest())));
    }

    #[test]
    fn a_file_of_a_newer_version_is_left_alone() {
        let mut newer = Connection::open_in_memory().unwrap();
        newer.pragma_update(None, "user_version", newest() + 1).unwrap();
        assert_eq!(migrate(&mut newer).unwrap(), newest() + 1);
        assert_eq!(schema(&newer), Vec::<String>::new());
    }
}
