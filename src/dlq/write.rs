//! Commands that change the state file: the bridge must be stopped.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::error::DlqError;
use crate::app::LetterReplay;
use crate::config::Config;
use crate::exit_code;
use crate::observe::tenths;
use crate::source::ReplaySummary;
use crate::state::{LetterFile, LetterFilter, SqliteState, StateError};

/// Opens the state that a bridge has created.
fn open(file: &Path) -> Result<SqliteState, DlqError> {
    if !file.exists() {
        return Err(StateError::None { file: file.display().to_string() }.into());
    }
    Ok(SqliteState::open(file)?)
}

pub(super) async fn discard(
    config: &Config,
    filter: &LetterFilter,
    all: bool,
    yes: bool,
    out: &mut impl Write,
) -> Result<(), DlqError> {
    if *filter == LetterFilter::default() && !all {
        return Err(DlqError::NoFilter);
    }
    let state = open(&config.state.file)?;
    let numbers = state.letters_in_feed_order(filter).await?;
    let letters = numbers.len() as u64;
    if letters > 0 && !yes && !is_agreed(letters, out)? {
        writeln!(out, "nothing was discarded")?;
        return Ok(());
    }
    let discarded = state.remove_letters(numbers).await?;
    writeln!(out, "discarded {discarded} dead letters")?;
    Ok(())
}

/// Asks on the terminal.
fn is_agreed(letters: u64, out: &mut impl Write) -> Result<bool, DlqError> {
    if !io::stdin().is_terminal() {
        return Err(DlqError::NoTerminal(letters));
    }
    write!(out, "Discard {letters} dead letters? Their changes will not reach the sinks. [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Replays letters; returns the exit code.
pub(super) async fn replay(
    config: &Config,
    filter: &LetterFilter,
    stops: impl AsyncFnOnce(CancellationToken),
) -> Result<u8, DlqError> {
    let state = Arc::new(open(&config.state.file)?);
    // The lock is held, so no process adds letters.
    let file = LetterFile::open(&config.state.file)?;
    // A limit is for all pipelines together, and each is replayed by itself.
    let up_to = match filter.limit {
        Some(_) => state.letters_in_feed_order(filter).await?.into_iter().max(),
        None => None,
    };
    let filter = &LetterFilter { limit: None, up_to, ..filter.clone() };
    let mut pipelines = Vec::new();
    let mut summary = ReplaySummary::default();
    for row in file.causes(filter)? {
        match config.pipelines.get_key_value(&row.pipeline) {
            Some((name, _)) if !pipelines.contains(&name.as_str()) => pipelines.push(name.as_str()),
            Some(_) => {}
            None => {
                let reason = format!("the configuration has no pipeline `{}`", row.pipeline);
                *summary.kept.entry(reason).or_default() += row.letters;
            }
        }
    }
    let bar = bar(file.count(filter)?);
    drop(file);
    let replay = LetterReplay::build(config, state, &pipelines).await?;
    let started = Instant::now();
    let progress = |done: &ReplaySummary| bar.set_position(done.done());
    let replayed = tokio::select! {
        replayed = replay.run(filter, progress) => replayed,
        () = stops(replay.stop()) => {
            return Ok(exit_code::STOP_TIMEOUT);
        }
    };
    bar.finish_and_clear();
    summary.add(replayed?);
    report(&summary, started)?;
    Ok(if summary.left() == 0 { exit_code::OK } else { exit_code::LETTERS_LEFT })
}

/// On a terminal only.
fn bar(letters: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(letters), target);
    // The template is a constant that parses; if it did not, the default style would be used.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos} of {len} letters  ETA {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn report(summary: &ReplaySummary, started: Instant) -> Result<(), DlqError> {
    let ReplaySummary { written, superseded, filtered, .. } = summary;
    let left = summary.left();
    let seconds = tenths(started.elapsed().as_secs_f64());
    info!(written, superseded, filtered, left, seconds, "replayed dead letters");
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{written} written, {superseded} superseded by newer versions, {filtered} left out by the \
         routes, {left} still stored"
    )?;
    for (reason, letters) in &summary.kept {
        writeln!(out, "  {letters} kept: {reason}")?;
    }
    if summary.not_reached > 0 {
        writeln!(out, "  {} not reached", summary.not_reached)?;
    }
    Ok(())
}
