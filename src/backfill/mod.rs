//! `cosmos-bridge backfill`: sends a part of the data again.

mod arguments;
mod error;
mod progress;
mod report;

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use arguments::BackfillArguments;
pub use error::BackfillError;

use self::progress::{Shown, Step};
use self::report::{counted, not_written, sent};
use crate::app::{Backfill, Counted, PassEnd};
use crate::config::Config;
use crate::exit_code;
use crate::observe::tenths;

/// Counts and sends; returns the exit code. `stops` cancels its token when a stop is asked for, and returns when it has
/// to happen at once.
///
/// # Errors
///
/// What is asked for cannot be, an account or sink cannot be used, or the source is not readable any more.
pub async fn run(
    config: &Config,
    arguments: &BackfillArguments,
    stops: impl AsyncFnOnce(CancellationToken),
) -> Result<u8, BackfillError> {
    let request = arguments.request(config)?;
    let backfill = Backfill::build(config, &request).await?;
    let stop = backfill.stop();
    let work = backfill.during(both(&backfill, arguments.dry_run, &request.pipeline));
    tokio::select! {
        code = work => code,
        () = stops(stop.clone()) => Ok(exit_code::STOP_TIMEOUT),
        () = deadline(&stop, config.stop_within) => {
            Err(BackfillError::StopTimeout(config.stop_within))
        }
    }
}

/// Completes some time after a stop was asked for.
async fn deadline(stop: &CancellationToken, within: Duration) {
    stop.cancelled().await;
    sleep(within).await;
}

/// Counts, and then sends.
async fn both(backfill: &Backfill, is_dry: bool, pipeline: &str) -> Result<u8, BackfillError> {
    let (end, all) = Shown::during(backfill, Step::Counting, backfill.count()).await?;
    if end == PassEnd::Stopped {
        return stopped("nothing was written");
    }
    counted(&mut io::stdout().lock(), &all, &backfill.progress())?;
    let documents: u64 = all.iter().map(|one| one.documents).sum();
    let bytes: u64 = all.iter().map(|one| one.bytes).sum();
    let source_ru = tenths(backfill.progress().source_charge);
    info!(pipeline, documents, bytes, source_ru, "counted what is sent again");
    if is_dry {
        not_written(&mut io::stdout().lock(), backfill.refusals())?;
        say("nothing was written")?;
        let is_clear = backfill.refusals().count() == 0;
        return Ok(if is_clear { exit_code::OK } else { exit_code::NOT_WRITTEN });
    }
    send(backfill, pipeline, &all).await
}

async fn send(backfill: &Backfill, pipeline: &str, all: &[Counted]) -> Result<u8, BackfillError> {
    let documents: u64 = all.iter().map(|one| one.documents).sum();
    let began = Instant::now();
    let end = Shown::during(backfill, Step::Sending { documents }, backfill.send()).await?;
    let progress = backfill.progress();
    let refused = backfill.refusals().count();
    info!(
        pipeline,
        delivered = progress.delivered,
        not_written = refused,
        source_ru = tenths(progress.source_charge),
        target_ru = tenths(progress.target_charge),
        seconds = tenths(began.elapsed().as_secs_f64()),
        "sent again"
    );
    sent(&mut io::stdout().lock(), &progress)?;
    not_written(&mut io::stdout().lock(), backfill.refusals())?;
    match end {
        PassEnd::Stopped => stopped("not everything was written"),
        PassEnd::TooMany => {
            say(
                "ended early: more documents cannot be written than dead_letters.limit of the pipeline allows",
            )?;
            Ok(exit_code::NOT_WRITTEN)
        }
        PassEnd::Complete if refused > 0 => Ok(exit_code::NOT_WRITTEN),
        PassEnd::Complete => Ok(exit_code::OK),
    }
}

fn stopped(what: &str) -> Result<u8, BackfillError> {
    say(&format!("stopped: {what}; give the command again: a repetition is harmless"))?;
    Ok(exit_code::STOPPED_EARLY)
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}
