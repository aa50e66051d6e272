//! Dead letters as text and as JSON.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::model::Label;
use crate::state::{CauseCount, StoredLetter};

/// One letter as a JSON object; documents only where `with_documents` says so.
pub(super) fn letter_json(stored: &StoredLetter, with_documents: bool) -> Value {
    let letter = &stored.letter;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("number", stored.number.into());
    put("stored_at", stored.stored_at.as_str().into());
    put("pipeline", letter.pipeline.as_str().into());
    put("sink", letter.sink.as_str().into());
    put("stage", letter.stage.name().into());
    put("cause", letter.cause.as_str().into());
    put("source", letter.source.as_str().into());
    put("source_id", letter.source_id.as_str().into());
    put("document_hash", letter.document_hash().into());
    put("source_key", parsed(&letter.source_key));
    put("range_min", letter.range_min.as_str().into());
    put("lsn", letter.lsn.into());
    put("nth", letter.nth.into());
    put("target", parsed(&letter.target));
    put("committed_at", letter.committed_at.into());
    put("operation", letter.operation.into());
    if with_documents {
        put("document", letter.document.as_deref().map_or(Value::Null, parsed));
        put("previous", letter.previous.as_deref().map_or(Value::Null, parsed));
        if let Some(unparsed) = &letter.unparsed {
            match std::str::from_utf8(unparsed) {
                Ok(text) => put("unparsed", text.into()),
                Err(_) => put("unparsed_base64", STANDARD.encode(unparsed).into()),
            };
        }
    }
    Value::Object(object)
}

/// Text that is JSON, or else the text itself.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

pub(super) fn cause_json(row: &CauseCount) -> Value {
    json!({
        "pipeline": row.pipeline,
        "sink": row.sink,
        "stage": row.stage.name(),
        "cause": row.cause,
        "letters": row.letters,
        "last": row.last,
    })
}

/// The heads of a table of letters.
pub(super) fn letter_heads(out: &mut impl Write) -> io::Result<()> {
    row(out, ["NUMBER", "STORED", "PIPELINE", "SINK", "STAGE", "OPERATION", "ID", "CAUSE"])
}

/// One line of a table of letters.
pub(super) fn letter_row(out: &mut impl Write, stored: &StoredLetter) -> io::Result<()> {
    let letter = &stored.letter;
    row(
        out,
        [
            &stored.number.to_string(),
            &stored.stored_at,
            &letter.pipeline,
            &letter.sink,
            letter.stage.name(),
            letter.operation,
            &letter.source_id,
            &letter.cause,
        ],
    )
}

/// Widths of the columns before the last, which most rows fit into.
const WIDTHS: [usize; 7] = [7, 20, 12, 12, 5, 9, 20];

fn row(out: &mut impl Write, cells: [&str; 8]) -> io::Result<()> {
    for (at, cell) in cells.into_iter().enumerate() {
        let cell = printable(cell);
        match WIDTHS.get(at) {
            Some(width) => write!(out, "{cell:width$}  ")?,
            None => writeln!(out, "{cell}")?,
        }
    }
    Ok(())
}

/// Ids and causes may hold control characters, which a terminal would carry out.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A table of causes.
pub(super) fn cause_table(out: &mut impl Write, rows: &[CauseCount]) -> io::Result<()> {
    let mut table = |cells: [&str; 6]| {
        let [letters, last, pipeline, sink, stage, cause] = cells;
        let cause = printable(cause);
        writeln!(out, "{letters:>9}  {last:20}  {pipeline:12}  {sink:12}  {stage:5}  {cause}")
    };
    table(["LETTERS", "LAST", "PIPELINE", "SINK", "STAGE", "CAUSE"])?;
    for CauseCount { pipeline, sink, stage, cause, letters, last } in rows {
        table([&letters.to_string(), last, pipeline, sink, stage.name(), cause])?;
    }
    Ok(())
}
