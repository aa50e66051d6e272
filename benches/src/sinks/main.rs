//! `sinks`: how fast each sink publishes from memory compared with its bare client library, and how long a
//! change takes from the source to Kafka. Loopback only. `benches/README.md` explains the comparison.
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod amqp;
mod changes;
#[path = "../connect.rs"]
mod connect;
mod contest;
mod eventhubs;
mod file;
mod http;
mod kafka;
mod path;
mod redis;
mod results;
mod stand_ins;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use serde_json::json;

use contest::{Contest, Made, deliver};
use results::{Pairs, Round};
use stand_ins::Serve;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAMES: [&str; 8] =
    ["kafka", "eventhubs", "amqp", "http", "http-batch", "redis", "redis-stream", "file"];
/// The number of changes that both send before the measurement, and that must arrive alike.
const ALIKE: usize = 300;

/// Compares each sink with its bare client library, and measures the way from source to Kafka.
#[derive(Parser)]
struct Arguments {
    /// Only these, separated by commas: kafka, eventhubs, amqp, http, http-batch, redis,
    /// redis-stream, file, end-to-end
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Runs of each sink and of each bare client
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Messages per run, in percent of the usual number
    #[arg(long, default_value_t = 100)]
    percent: u64,
    /// Seconds of 1,000 changes per second, end to end
    #[arg(long, default_value_t = 25)]
    seconds: u64,
    /// Documents of the backlog, end to end
    #[arg(long, default_value_t = 100_000)]
    backlog: u64,
    /// JSON file for the figures
    #[arg(long)]
    json: Option<PathBuf>,
    /// Run as a server that is written to
    #[arg(long, hide = true)]
    serve: Option<Serve>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    if let Some(what) = arguments.serve {
        return stand_ins::serve(what).await;
    }
    let is_wanted =
        |name: &&str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let mut all = Vec::new();
    for name in NAMES.into_iter().filter(is_wanted) {
        let mut contest = contest(name).await?;
        all.push(compare(&mut *contest, arguments.pairs, arguments.percent).await?);
    }
    results::print(&all);
    let mut report = json!({ "sinks": all.iter().map(Pairs::json).collect::<Vec<_>>() });
    if is_wanted(&"end-to-end") {
        report["end_to_end"] = path::measure(arguments.seconds, arguments.backlog).await?;
    }
    if let Some(path) = arguments.json {
        std::fs::write(path, format!("{report:#}\n"))?;
    }
    Ok(())
}

async fn contest(name: &str) -> Result<Box<dyn Contest>, Failure> {
    Ok(match name {
        "kafka" => Box::new(kafka::KafkaContest::start().await?),
        "eventhubs" => Box::new(eventhubs::HubContest::start().await?),
        "amqp" => Box::new(amqp::AmqpContest::start().await?),
        "http" => Box::new(http::HttpContest::start(1).await?),
        "http-batch" => Box::new(http::HttpContest::start(100).await?),
        "redis" => Box::new(redis::RedisContest::start(false).await?),
        "redis-stream" => Box::new(redis::RedisContest::start(true).await?),
        _ => Box::new(file::FileContest::start()?),
    })
}

/// Runs both in turn, each into an empty target, in reversed order each time.
async fn compare(contest: &mut dyn Contest, pairs: usize, percent: u64) -> Result<Pairs, Failure> {
    let count = contest.changes() * percent / 100;
    let changes: Arc<[_]> = changes::changes(count).into();
    arrive_alike(contest, &changes[..ALIKE.min(changes.len())]).await?;
    let mut found = Pairs::new(contest.name(), count);
    // The first round is the warm-up.
    for round in 0..=pairs {
        let mut sink = None;
        let mut bare = [None, None];
        for turn in 0..3 {
            contest.renew().await?;
            match (turn + round) % 3 {
                0 => sink = Some(deliver(contest.sink()?, &changes).await?),
                1 => bare[0] = Some(contest.bare(&changes, Made::Before).await?),
                _ => bare[1] = Some(contest.bare(&changes, Made::Within).await?),
            }
        }
        if let (Some(sink), [Some(before), Some(within)]) = (sink, bare)
            && round > 0
        {
            found.add(Round { sink, before, within });
        }
    }
    Ok(found)
}

/// Both must send identical messages.
async fn arrive_alike(
    contest: &mut dyn Contest,
    changes: &[cosmos_bridge_sink::Change],
) -> Result<(), Failure> {
    let mut arrived = Vec::new();
    for by_sink in [true, false] {
        contest.renew().await?;
        if by_sink {
            deliver(contest.sink()?, &changes.into()).await?;
        } else {
            contest.bare(&changes.into(), Made::Before).await?;
        }
        let mut messages = contest.arrived(changes.len()).await?;
        messages.sort_unstable();
        arrived.push(messages);
    }
    let [by_sink, bare] = arrived.as_slice() else { return Ok(()) };
    let name = contest.name();
    if by_sink.is_empty() || by_sink.len() != bare.len() {
        return Err(format!("{name}: {} and {} messages", by_sink.len(), bare.len()).into());
    }
    match by_sink.iter().zip(bare).find(|(one, other)| one != other) {
        Some((one, other)) => {
            Err(format!("{name}: the sink sends\n{one}\nand the bare client\n{other}").into())
        }
        None => Ok(()),
    }
}
