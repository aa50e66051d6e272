//! What a backfill counted and did, as text.

use std::io::{self, Write};

use crate::app::{BackfillProgress, Counted};
use crate::observe::tenths;
use crate::source::{Refusal, Refusals};

pub(super) fn counted(
    out: &mut impl Write,
    all: &[Counted],
    progress: &BackfillProgress,
) -> io::Result<()> {
    let BackfillProgress { read, selected, source_charge, .. } = progress;
    let ru = tenths(*source_charge);
    writeln!(out, "counted: {selected} of {read} documents, read for {ru} RU")?;
    for Counted { sink, documents, bytes } in all {
        writeln!(out, "  sink `{sink}`: {documents} documents, {bytes} bytes")?;
    }
    Ok(())
}

pub(super) fn sent(out: &mut impl Write, progress: &BackfillProgress) -> io::Result<()> {
    let BackfillProgress { delivered, source_charge, target_charge, .. } = progress;
    let (source, target) = (tenths(*source_charge), tenths(*target_charge));
    writeln!(
        out,
        "sent: {delivered} changes, for {source} RU in all at the source and {target} RU at targets"
    )
}

/// Names each document that cannot be written.
pub(super) fn not_written(out: &mut impl Write, refusals: &Refusals) -> io::Result<()> {
    let count = refusals.count();
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "{count} documents cannot be written:")?;
    let (told, more) = refusals.told();
    for Refusal { sink, cause, document } in told {
        writeln!(out, "  sink `{sink}`, document {document}: {cause}")?;
    }
    if more > 0 {
        writeln!(out, "  and {more} more")?;
    }
    Ok(())
}
