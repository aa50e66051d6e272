//! Log lines: text or JSON, on standard error.

use std::io::{self, IsTerminal, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterFn, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::progress::write_line;
use super::text_fields::TextFields;
use crate::config::{Log, LogFormat};

/// Limits for libraries whose messages mean nothing to an operator. The filter of the configuration comes
/// later and can enable their warnings again.
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
        LogFormat::Text => {
            let builder = builder.with_target(false).fmt_fields(TextFields);
            builder.finish().with(no_library_details()).try_init()
        }
        LogFormat::Json => {
            builder.json().flatten_event(true).finish().with(no_library_details()).try_init()
        }
    };
    // A second call keeps the first subscriber. Only tests call it twice.
    done.ok();
    Ok(())
}

/// Hides the messages of libraries below WARN at any configured level: they contain requests, and with them
/// documents and signatures. The AMQP client logs returned messages even at WARN, so it is hidden completely;
/// the sink logs its errors.
fn no_library_details() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|line| {
        let target = line.target();
        let is_lapin = target == "lapin" || target.starts_with("lapin::");
        target.starts_with("cosmos_bridge") || (*line.level() <= Level::WARN && !is_lapin)
    })
}

/// Standard error, with the progress display out of the way of each line.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write_line(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // Standard error is not buffered.
    }
}
