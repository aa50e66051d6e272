//! Errors of brokers.

use std::fmt;
use std::path::PathBuf;

/// Made for the output of a failed test: `expect` prints it in full.
#[derive(thiserror::Error)]
pub enum BrokerError {
    #[error("the brokers are not installed: {said}")]
    NotInstalled { said: String },
    #[error("cannot {doing} {path}")]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot run {program}")]
    Run { program: String, source: std::io::Error },
    #[error("{broker} was not ready within {seconds} s; the end of its log:\n{log}")]
    NotReady { broker: &'static str, seconds: u64, log: String },
    #[error("{broker} ended by itself; the end of its log:\n{log}")]
    Ended { broker: &'static str, log: String },
    #[error("{program} failed: {said}")]
    Failed { program: String, said: String },
    #[error("no port between {from} and {to} is free", from = .range.start, to = .range.end)]
    NoPort { range: std::ops::Range<u16> },
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

impl fmt::Debug for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
