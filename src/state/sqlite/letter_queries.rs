//! Queries about stored dead letters.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};

use crate::model::{DeadLetter, Label, Stage, document_hash};
use crate::state::dead_letters::{CauseCount, LetterFilter, StoredLetter};

/// In the order of [`letter`].
const COLUMNS: &str = "id, buried_at, pipeline, sink, stage, cause, source, source_id, source_key, \
                       range_min, lsn, nth, target, committed_at, operation";

/// Everything of a letter.
const WHOLE: &str = "document, previous, unparsed";
/// Everything but the documents, which may be large.
const OUTLINE: &str = "NULL, NULL, NULL";

/// Lets the queries of a connection call `document_hash`.
pub(super) fn add_document_hash(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("document_hash", 3, flags, |row| {
        let text = |at| row.get_raw(at).as_str();
        Ok(document_hash(text(0)?, text(1)?, text(2)?))
    })
}

/// The condition of a filter, with its values.
struct Condition {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Condition {
    fn of(filter: &LetterFilter) -> Self {
        let mut all = Self { sql: "true".to_owned(), values: Vec::new() };
        let LetterFilter { number, pipeline, sink, stage, id, document, .. } = filter;
        let LetterFilter { cause, since, after, up_to, limit, .. } = filter;
        all.and("id = ?", number.as_ref());
        all.and("pipeline = ?", pipeline.as_ref());
        all.and("sink = ?", sink.as_ref());
        all.and("stage = ?", stage.map(|stage| stage.name().to_owned()).as_ref());
        all.and("source_id = ?", id.as_ref());
        all.and("document_hash(source, source_key, source_id) = ?", document.as_ref());
        // Not LIKE, whose signs occur in causes.
        all.and("instr(cause, ?) > 0", cause.as_ref());
        all.and("buried_at >= ?", since.as_ref());
        all.and("id > ?", after.as_ref());
        all.and("id <= ?", up_to.as_ref());
        if let Some(limit) = limit {
            let inner = std::mem::take(&mut all.sql);
            all.sql =
                format!("id IN (SELECT id FROM dead_letters WHERE {inner} ORDER BY id LIMIT ?)");
            all.values.push(Box::new(*limit));
        }
        all
    }

    fn and<T: ToSql + Clone + 'static>(&mut self, sql: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.sql += " AND ";
            self.sql += sql;
            self.values.push(Box::new(value.clone()));
        }
    }

    fn params(&self) -> impl rusqlite::Params {
        params_from_iter(self.values.iter())
    }
}

/// The number of the last letter, if there is one.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT max(id) FROM dead_letters", [], |row| row.get(0))
}

/// The number of the last one of the next `rows` letters after `after`; `None` if there are no more.
pub(super) fn step(
    connection: &Connection,
    after: i64,
    rows: u32,
) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT max(id) FROM (SELECT id FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?)";
    connection.prepare_cached(sql)?.query_row((after, rows), |row| row.get(0))
}

/// Letters in the order in which they were stored, until they hold about a number of bytes. Returns whether
/// there may be more, too.
pub(super) fn first(
    connection: &Connection,
    filter: &LetterFilter,
    with_documents: bool,
    bytes: usize,
) -> rusqlite::Result<(Vec<StoredLetter>, bool)> {
    let condition = Condition::of(filter);
    let documents = if with_documents { WHOLE } else { OUTLINE };
    let sql = format!(
        "SELECT {COLUMNS}, {documents} FROM dead_letters WHERE {} ORDER BY id",
        condition.sql
    );
    let mut query = connection.prepare(&sql)?;
    let mut rows = query.query(condition.params())?;
    let (mut letters, mut held) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let stored = letter(row)?;
        held += stored.letter.bytes();
        letters.push(stored);
        if held >= bytes {
            return Ok((letters, true));
        }
    }
    Ok((letters, false))
}

/// Letters by their numbers, until they hold a number of bytes, and how many numbers were looked up.
pub(super) fn some(
    connection: &Connection,
    numbers: &[i64],
    bytes: usize,
) -> rusqlite::Result<(usize, Vec<StoredLetter>)> {
    let sql = format!("SELECT {COLUMNS}, {WHOLE} FROM dead_letters WHERE id = ?");
    let mut query = connection.prepare_cached(&sql)?;
    let (mut letters, mut held, mut looked_up) = (Vec::new(), 0, 0);
    for number in numbers {
        if held >= bytes {
            break;
        }
        looked_up += 1;
        if let Some(stored) = query.query_row([number], letter).optional()? {
            held += stored.letter.bytes();
            letters.push(stored);
        }
    }
    Ok((looked_up, letters))
}

/// Letters with one cause are one row.
pub(super) fn causes(
    connection: &Connection,
    filter: &LetterFilter,
) -> rusqlite::Result<Vec<CauseCount>> {
    let condition = Condition::of(filter);
    let sql = format!(
        "SELECT pipeline, sink, stage, cause, count(*), max(buried_at)
         FROM dead_letters WHERE {} GROUP BY pipeline, sink, stage, cause",
        condition.sql
    );
    let mut query = connection.prepare(&sql)?;
    let row = |row: &Row<'_>| {
        Ok(CauseCount {
            pipeline: row.get(0)?,
            sink: row.get(1)?,
            stage: word(row, 2, Stage::ALL.iter().map(|stage| (stage.name(), *stage)))?,
            cause: row.get(3)?,
            letters: number(row, 4)?,
            last: row.get(5)?,
        })
    };
    query.query_map(condition.params(), row)?.collect()
}

pub(super) fn count(connection: &Connection, filter: &LetterFilter) -> rusqlite::Result<u64> {
    let condition = Condition::of(filter);
    let sql = format!("SELECT count(*) FROM dead_letters WHERE {}", condition.sql);
    connection.query_row(&sql, condition.params(), |row| number(row, 0))
}

pub(super) fn in_feed_order(
    connection: &Connection,
    filter: &LetterFilter,
) -> rusqlite::Result<Vec<i64>> {
    let condition = Condition::of(filter);
    let sql = format!("SELECT id FROM dead_letters WHERE {} ORDER BY lsn, nth, id", condition.sql);
    connection.prepare(&sql)?.query_map(condition.params(), |row| row.get(0))?.collect()
}

pub(super) fn remove(connection: &Connection, numbers: &[i64]) -> rusqlite::Result<u64> {
    let mut delete = connection.prepare_cached("DELETE FROM dead_letters WHERE id = ?")?;
    let mut removed = 0;
    for number in numbers {
        removed += delete.execute([number])? as u64;
    }
    Ok(removed)
}

fn letter(row: &Row<'_>) -> rusqlite::Result<StoredLetter> {
    let operations = ["upsert", "delete", "expire"].into_iter().map(|name| (name, name));
    Ok(StoredLetter {
        number: row.get(0)?,
        stored_at: row.get(1)?,
        letter: DeadLetter {
            pipeline: row.get(2)?,
            sink: row.get(3)?,
            stage: word(row, 4, Stage::ALL.iter().map(|stage| (stage.name(), *stage)))?,
            cause: row.get(5)?,
            source: row.get(6)?,
            source_id: row.get(7)?,
            source_key: row.get(8)?,
            range_min: row.get(9)?,
            lsn: Some(row.get(10)?).filter(|lsn| *lsn != 0),
            nth: row.get(11)?,
            target: row.get(12)?,
            committed_at: row.get(13)?,
            operation: word(row, 14, operations)?,
            document: row.get(15)?,
            previous: row.get(16)?,
            unparsed: row.get(17)?,
        },
    })
}

/// A column that holds a count.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0))
}

/// A column that holds one of a few words.
fn word<T>(
    row: &Row<'_>,
    column: usize,
    mut words: impl Iterator<Item = (&'static str, T)>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let found = words.find(|(name, _)| *name == text).map(|(_, value)| value);
    let unknown = || FromSqlError::Other(format!("unknown word `{text}`").into());
    found.ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, unknown().into())
    })
}
