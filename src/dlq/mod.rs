//! `cosmos-bridge dlq`: lists, shows, exports, replays and discards dead letters.
//!
//! The only output of the bridge that holds documents: `show` and `export` print what was asked for.

mod arguments;
mod error;
mod output;
mod read;
mod write;

use std::io;

use tokio_util::sync::CancellationToken;

pub use arguments::DlqCommand;
pub use error::DlqError;

use crate::config::Config;
use crate::exit_code;

/// Carries out a command; returns the exit code. `stops` cancels its token when a stop is asked for, and
/// returns when it has to happen at once.
pub async fn run(
    config: &Config,
    command: &DlqCommand,
    stops: impl AsyncFnOnce(CancellationToken),
) -> Result<u8, DlqError> {
    let out = &mut io::BufWriter::new(io::stdout().lock());
    let done = match command {
        DlqCommand::List { filter, json, summary, .. } => {
            read::list(config, &filter.filter(), *json, *summary, out)
        }
        DlqCommand::Show { letter, .. } => read::show(config, letter, out),
        DlqCommand::Export { filter, output, .. } => {
            read::export(config, &filter.filter(), output.as_deref(), out)
        }
        DlqCommand::Discard { filter, all, yes, .. } => {
            write::discard(config, &filter.filter(), *all, *yes, out).await
        }
        DlqCommand::Replay { filter, .. } => {
            return write::replay(config, &filter.filter(), stops).await;
        }
    };
    match done.and_then(|()| Ok(io::Write::flush(out)?)) {
        // The reader of a pipe has seen enough.
        Err(DlqError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(exit_code::OK)
        }
        done => done.map(|()| exit_code::OK),
    }
}
