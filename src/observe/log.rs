//! Log lines: text or JSON, on standard error.

use std::io::{self, IsTerminal, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterFn, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::progress::beside_bar;
use crate::config::{Log, LogFormat};

/// Libraries that would fill the log with what is no news for an operator. The filter of the
/// configuration comes after and can bring their warnings back.
const QUIET: &str = "azure_core=warn,azure_data_cosmos=error,azure_data_cosmos_driver=error,\
                     hyper=warn,h2=warn,reqwest=warn,rustls=warn";

/// Sends log lines to standard error, for the rest of the process.
///
/// # Errors
///
/// The filter does not parse.
pub fn init(log: &Log) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .with_ansi(io::stderr().is_terminal());
    let done = match log.format {
        LogFormat::Text => builder.with_target(false).finish().with(discretion()).try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).finish().with(discretion()).try_init()
        }
    };
    // A second call keeps the first subscriber, which only tests run into.
    done.ok();
    Ok(())
}

/// Whatever level is asked for, libraries only warn: below that they print requests, and with them
/// documents and signatures. The AMQP client prints messages that come back even then; what happens to
/// it the sink tells.
fn discretion() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|line| {
        let target = line.target();
        let is_lapin = target == "lapin" || target.starts_with("lapin::");
        target.starts_with("cosmos_bridge") || (*line.level() <= Level::WARN && !is_lapin)
    })
}

/// Standard error, with the progress bar out of the way of each line.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        beside_bar(|| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // Standard error keeps nothing back.
    }
}
