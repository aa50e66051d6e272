//! What the names of sinks refer to, in SQLite.

use std::path::Path;

use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{SqliteState, schema};
use crate::model::TargetIdentity;
use crate::state::error::StateError;
use crate::state::targets::{ChangedTarget, Settled, TargetChoice, TargetUse, settle};

/// A sink of a pipeline, and what the operator chose for it.
type Wanted = (TargetUse, Option<TargetChoice>);

impl SqliteState {
    /// Stores what the names of the sinks refer to, and forgets the positions of those that start over;
    /// in the order of `wanted`, what was done.
    ///
    /// # Errors
    ///
    /// A name refers to another target than its positions, and no choice was made. Then nothing is
    /// stored.
    pub async fn settle_targets(&self, wanted: Vec<Wanted>) -> Result<Vec<Settled>, StateError> {
        let settled = self.transact(move |connection| {
            let (settled, changed) = decide(connection, &wanted)?;
            if changed.is_empty() {
                for ((target_use, _), settled) in wanted.iter().zip(&settled) {
                    apply(connection, target_use, *settled)?;
                }
            }
            Ok((settled, changed))
        });
        let (settled, changed) = settled.await?;
        if changed.is_empty() { Ok(settled) } else { Err(StateError::OtherTarget(changed)) }
    }
}

/// Compares what the names of sinks refer to with what is stored in a file that may be in use. It is only
/// read, and need not exist.
///
/// # Errors
///
/// A name refers to another target than its positions, or the file cannot be read.
pub fn compare_targets(path: &Path, uses: Vec<TargetUse>) -> Result<(), StateError> {
    if !path.exists() {
        return Ok(());
    }
    let file = path.display().to_string();
    let unusable =
        |error: rusqlite::Error| StateError::File { file: file.clone(), source: error.into() };
    let connection = open_to_read(path).map_err(unusable)?;
    let version = schema::version(&connection).map_err(unusable)?;
    if version > schema::newest() {
        return Err(StateError::Newer { file, version });
    }
    if version < TARGETS_SINCE {
        return Ok(());
    }
    let wanted: Vec<Wanted> = uses.into_iter().map(|target_use| (target_use, None)).collect();
    let (_, changed) = decide(&connection, &wanted).map_err(unusable)?;
    if changed.is_empty() { Ok(()) } else { Err(StateError::OtherTarget(changed)) }
}

/// The version of the schema since which targets are stored.
const TARGETS_SINCE: i64 = 2;

pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // Without a log no process writes, and the file can be read without any file next to it.
    if Path::new(&log).exists() {
        return Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    }
    let path = path.display().to_string();
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
}

/// What happens to each sink, and those for which the start is refused.
fn decide(
    connection: &Connection,
    wanted: &[Wanted],
) -> rusqlite::Result<(Vec<Settled>, Vec<ChangedTarget>)> {
    let (mut all, mut changed) = (Vec::with_capacity(wanted.len()), Vec::new());
    for (target_use, choice) in wanted {
        let TargetUse { pipeline, sink, target } = target_use;
        let stored = stored_target(connection, pipeline, sink)?;
        let has_positions = has_positions(connection, pipeline, sink)?;
        let settled = settle(stored.as_ref(), has_positions, target, *choice);
        if let (Settled::Refused(difference), Some(stored)) = (settled, stored) {
            let (pipeline, sink, current) = (pipeline.clone(), sink.clone(), target.clone());
            changed.push(ChangedTarget { pipeline, sink, stored, current, difference });
        }
        all.push(settled);
    }
    Ok((all, changed))
}

fn apply(
    connection: &Connection,
    TargetUse { pipeline, sink, target }: &TargetUse,
    settled: Settled,
) -> rusqlite::Result<()> {
    match settled {
        Settled::Unchanged(_) | Settled::Refused(_) => return Ok(()),
        Settled::Changed(TargetChoice::StartOver) => {
            connection.execute(
                "DELETE FROM positions WHERE pipeline = ?1 AND sink = ?2",
                params![pipeline, sink],
            )?;
            connection.execute(
                "DELETE FROM ledgers WHERE pipeline = ?1 AND sink = ?2",
                [pipeline, sink],
            )?;
            connection.execute(
                "DELETE FROM history WHERE pipeline = ?1 AND sink = ?2",
                [pipeline, sink],
            )?;
        }
        Settled::New | Settled::Recorded | Settled::Changed(TargetChoice::Adopt) => {}
    }
    let parts = serde_json::to_string(&target.parts)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection.execute(
        "INSERT OR REPLACE INTO targets (pipeline, sink, kind, parts) VALUES (?1, ?2, ?3, ?4)",
        params![pipeline, sink, target.kind, parts],
    )?;
    Ok(())
}

fn stored_target(
    connection: &Connection,
    pipeline: &str,
    sink: &str,
) -> rusqlite::Result<Option<TargetIdentity>> {
    let query = "SELECT kind, parts FROM targets WHERE pipeline = ?1 AND sink = ?2";
    let columns = |row: &rusqlite::Row<'_>| {
        let parts: String = row.get(1)?;
        let parts = serde_json::from_str(&parts).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(1, Type::Text, error.into())
        })?;
        Ok(TargetIdentity { kind: row.get(0)?, parts })
    };
    connection.query_row(query, [pipeline, sink], columns).optional()
}

fn has_positions(connection: &Connection, pipeline: &str, sink: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM positions
                 WHERE pipeline = ?1 AND sink = ?2 AND etag IS NOT NULL)";
    connection.query_row(query, [pipeline, sink], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Connection, TargetUse, compare_targets, schema};
    use crate::model::{
        FeedRange, Ledger, LedgerEntry, Mode, Position, SourceIdentity, StoredPosition,
        TargetIdentity,
    };
    use crate::state::{
        PositionStore, PositionWrite, Settled, SqliteState, StateError, TargetChoice,
    };

    fn copies(rid: &str) -> TargetUse {
        let target = TargetIdentity::container("a.example", "shop", "copies", rid);
        TargetUse { pipeline: "p".to_owned(), sink: "archive".to_owned(), target }
    }

    fn position(sink: &str, etag: Option<&str>) -> StoredPosition {
        let etag = etag.map(str::to_owned);
        let position = Position::of(FeedRange::whole(), etag);
        StoredPosition { sink: sink.to_owned(), position }
    }

    fn source() -> SourceIdentity {
        let container = "source/shop/orders".to_owned();
        SourceIdentity { container, rid: "rid".to_owned(), mode: Mode::LatestVersion }
    }

    async fn with_position(path: &Path) -> SqliteState {
        let state = SqliteState::open(path).unwrap();
        state.open("p", &source()).await.unwrap();
        let plan = [position("archive", Some("7")), position("events", Some("7"))];
        let _stored = state.plan("p", &[], &plan).await.unwrap();
        state
    }

    #[tokio::test]
    async fn another_target_is_refused_until_a_choice_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.db");
        let state = with_position(&path).await;
        let settle = async |rid, choice| state.settle_targets(vec![(copies(rid), choice)]).await;
        assert_eq!(settle("one", None).await.unwrap(), [Settled::Recorded]);
        assert_eq!(settle("one", None).await.unwrap(), [Settled::Unchanged(None)]);
        for _ in 0..2 {
            let refused = settle("two", None).await.unwrap_err();
            let StateError::OtherTarget(changed) = refused else { panic!("{refused}") };
            assert_eq!(changed[0].stored, copies("one").target);
            assert_eq!(changed[0].current, copies("two").target);
        }
        let adopt = Some(TargetChoice::Adopt);
        assert_eq!(settle("two", adopt).await.unwrap(), [Settled::Changed(TargetChoice::Adopt)]);
        assert_eq!(settle("two", adopt).await.unwrap(), [Settled::Unchanged(adopt)]);
        assert_eq!(state.open("p", &source()).await.unwrap().positions.len(), 2);
        let start_over = Some(TargetChoice::StartOver);
        let forgotten = [Settled::Changed(TargetChoice::StartOver)];
        assert_eq!(settle("three", start_over).await.unwrap(), forgotten);
        // Only those of this sink; and the flag may stay on the command line.
        let left = [position("events", Some("7"))];
        assert_eq!(state.open("p", &source()).await.unwrap().positions, left);
        assert_eq!(settle("three", start_over).await.unwrap(), [Settled::New]);
    }

    /// Else the new copy would be reported as one of the old positions' age, and its ledger go on.
    #[tokio::test]
    async fn a_sink_that_starts_over_forgets_its_ledger_and_how_current_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let state = with_position(&folder.path().join("bridge.db")).await;
        state.settle_targets(vec![(copies("one"), None)]).await.unwrap();
        let current_at = ["archive", "events"].map(|sink| (sink.to_owned(), 5)).into();
        state.store_current("p", &current_at).await.unwrap();
        let ledger = Ledger { read: 3, delivered: 3, ..Ledger::default() };
        for sink in ["archive", "events"] {
            let sink = sink.to_owned();
            let entry = LedgerEntry { sink: sink.clone(), range: FeedRange::whole(), ledger };
            let written = state.advance("p", &[position(&sink, Some("8"))], &[entry]).await;
            assert_eq!(written.unwrap(), PositionWrite::Stored);
        }
        let start_over = Some(TargetChoice::StartOver);
        state.settle_targets(vec![(copies("two"), start_over)]).await.unwrap();
        let rows = state.transact(|connection| {
            let mut query = connection.prepare("SELECT sink FROM history")?;
            query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        });
        assert_eq!(rows.await.unwrap(), ["events"]);
        let left: Vec<_> =
            state.ledgers("p").await.unwrap().into_iter().map(|entry| entry.sink).collect();
        assert_eq!(left, ["events"]);
    }

    #[tokio::test]
    async fn one_refused_sink_leaves_all_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let state = with_position(&folder.path().join("bridge.db")).await;
        state.settle_targets(vec![(copies("one"), None)]).await.unwrap();
        let topic = TargetIdentity::new("kafka", vec![("topic", "orders".to_owned())]);
        let events =
            TargetUse { pipeline: "p".to_owned(), sink: "events".to_owned(), target: topic };
        let start_over = Some(TargetChoice::StartOver);
        let both = vec![(events, start_over), (copies("two"), None)];
        assert!(matches!(state.settle_targets(both).await, Err(StateError::OtherTarget(_))));
        assert_eq!(state.open("p", &source()).await.unwrap().positions.len(), 2);
    }

    #[tokio::test]
    async fn targets_are_compared_without_a_trace_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("what? #1 100%.db");
        compare_targets(&path, vec![copies("one")]).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let state = with_position(&path).await;
        state.settle_targets(vec![(copies("one"), None)]).await.unwrap();
        // While the file is in use, and later.
        compare_targets(&path, vec![copies("one")]).unwrap();
        let changed = compare_targets(&path, vec![copies("two")]);
        assert!(matches!(changed, Err(StateError::OtherTarget(_))), "{changed:?}");
        drop(state);
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let before = files();
        let changed = compare_targets(&path, vec![copies("two")]);
        assert!(matches!(changed, Err(StateError::OtherTarget(_))), "{changed:?}");
        assert_eq!(files(), before);
    }

    /// Only the files of version 1 have no targets.
    #[tokio::test]
    async fn targets_are_compared_in_a_file_of_each_version_that_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.db");
        let state = with_position(&path).await;
        state.settle_targets(vec![(copies("one"), None)]).await.unwrap();
        drop(state);
        for version in 0..=schema::newest() + 1 {
            let connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "user_version", version).unwrap();
            drop(connection);
            let found = match compare_targets(&path, vec![copies("two")]) {
                Ok(()) => "not compared",
                Err(StateError::OtherTarget(_)) => "refused",
                Err(StateError::Newer { .. }) => "newer",
                Err(other) => panic!("{other}"),
            };
            let expected = match version {
                ..2 => "not compared",
                _ if version > schema::newest() => "newer",
                _ => "refused",
            };
            assert_eq!(found, expected, "version {version}");
        }
    }
}
