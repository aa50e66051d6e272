//! `outage`: the cost for `RabbitMQ` and for a copy when Kafka is unavailable for most of a run. Pairs of runs
//! without and with the outage, in turn; release binaries, loopback only. `benches/README.md` explains the
//! measurements.
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod arrivals;
#[path = "../sinks/changes.rs"]
#[expect(dead_code, reason = "documents alone are needed")]
mod changes;
mod configuration;
#[path = "../connect.rs"]
mod connect;
mod meters;
#[allow(dead_code, reason = "another benchmark uses the rest")]
#[path = "../sinks/path/processes.rs"]
mod processes;
#[path = "../sinks/path/reader.rs"]
#[expect(dead_code, reason = "when an event was there matters for other sinks alone")]
mod reader;
mod report;
mod run;
#[path = "../sinks/path/writer.rs"]
mod writer;

use std::error::Error;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;

use run::{Brokers, Plan};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compares runs without and with an outage of Kafka.
#[derive(Parser)]
struct Arguments {
    /// Pairs of runs
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Length of the measurement in seconds; Kafka is unavailable except in the first and last two
    #[arg(long, default_value_t = 25)]
    seconds: u64,
    /// Changes per second
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Spool of a sink that has fallen behind, in MiB
    #[arg(long, default_value_t = 4)]
    spool: u64,
    /// JSON file for the figures
    #[arg(long)]
    json: Option<PathBuf>,
    /// Use existing binaries instead of building them
    #[arg(long)]
    no_build: bool,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let Arguments { pairs, seconds, rate, spool, json, no_build } = Arguments::parse();
    if !no_build {
        processes::build("cosmos-bridge").await?;
        processes::build("cosmos-bridge-emulator").await?;
    }
    let plan = Plan { seconds, rate, spool_mib: spool };
    let mut brokers = Brokers::start().await?;
    let mut found = Vec::new();
    for pair in 0..pairs {
        // The order is reversed each time.
        let mut both = [None, None];
        for turn in 0..2 {
            let is_away = (turn + pair) % 2 == 1;
            let measured = Box::pin(run::measure(&plan, &mut brokers, is_away)).await?;
            report::line(pair, is_away, &measured);
            both[usize::from(is_away)] = Some(measured);
        }
        if let [Some(without), Some(with)] = both {
            found.push((without, with));
        }
    }
    report::print(&found);
    if let Some(path) = json {
        let report = report::json(&found, seconds, rate, spool);
        std::fs::write(path, format!("{report:#}\n"))?;
    }
    Ok(())
}

/// Microseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
