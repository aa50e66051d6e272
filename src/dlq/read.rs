//! Commands that only read: they work while the bridge runs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::arguments::LetterName;
use super::error::DlqError;
use super::output::{cause_json, cause_table, letter_heads, letter_json, letter_row};
use crate::config::Config;
use crate::state::{LetterFile, LetterFilter};

pub(super) fn list(
    config: &Config,
    filter: &LetterFilter,
    json: bool,
    summary: bool,
    out: &mut impl Write,
) -> Result<(), DlqError> {
    let file = LetterFile::open(&config.state.file)?;
    if summary {
        let causes = file.causes(filter)?;
        if !json {
            return Ok(cause_table(out, &causes)?);
        }
        for cause in &causes {
            writeln!(out, "{}", cause_json(cause))?;
        }
        return Ok(());
    }
    if !json {
        letter_heads(out)?;
    }
    file.each(filter, false, |letter| {
        if json {
            writeln!(out, "{}", letter_json(&letter, false))
        } else {
            letter_row(out, &letter)
        }
    })?;
    Ok(())
}

pub(super) fn show(
    config: &Config,
    letter: &LetterName,
    out: &mut impl Write,
) -> Result<(), DlqError> {
    let file = LetterFile::open(&config.state.file)?;
    let filter = match letter {
        LetterName::Number(number) => {
            LetterFilter { number: Some(*number), ..LetterFilter::default() }
        }
        LetterName::Document(hash) => {
            LetterFilter { document: Some(hash.clone()), ..LetterFilter::default() }
        }
    };
    let mut is_found = false;
    file.each(&filter, true, |letter| {
        is_found = true;
        writeln!(out, "{:#}", letter_json(&letter, true))
    })?;
    if is_found { Ok(()) } else { Err(DlqError::Unknown(letter.clone())) }
}

pub(super) fn export(
    config: &Config,
    filter: &LetterFilter,
    output: Option<&Path>,
    out: &mut impl Write,
) -> Result<(), DlqError> {
    let file = LetterFile::open(&config.state.file)?;
    match output {
        None => export_to(&file, filter, out),
        Some(path) => {
            // Not over an earlier export.
            let mut new = BufWriter::new(File::create_new(path)?);
            export_to(&file, filter, &mut new)?;
            new.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            Ok(())
        }
    }
}

fn export_to(
    file: &LetterFile,
    filter: &LetterFilter,
    out: &mut impl Write,
) -> Result<(), DlqError> {
    file.each(filter, true, |letter| writeln!(out, "{}", letter_json(&letter, true)))?;
    Ok(())
}
