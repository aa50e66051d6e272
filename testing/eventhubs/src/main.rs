//! The binary `cosmos-bridge-eventhubs-local`: hubs, served until it is stopped.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cosmos_bridge_eventhubs_local::{Control, LocalHubs, Options};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Serves a local stand-in for Azure Event Hubs on loopback, for trials and tests.
///
/// When it is ready it prints one line of JSON with the connection string and the address of the
/// control port. After a kill, a start with the same folder continues with the same events.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Hub to serve, as name=partitions; repeat it for more
    #[arg(long = "hub", value_name = "NAME=PARTITIONS", required = true, value_parser = hub)]
    hubs: Vec<(String, usize)>,
    /// Port for clients; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port for faults and counters; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Loopback address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Folder for the events; without one they are kept in memory
    #[arg(long)]
    data: Option<PathBuf>,
    /// Milliseconds that every answer is held back
    #[arg(long, default_value_t = 2)]
    latency: u64,
    /// Name of the shared access key
    #[arg(long)]
    key_name: Option<String>,
    /// The shared access key
    #[arg(long)]
    key: Option<String>,
    /// Largest message in bytes
    #[arg(long)]
    message_bytes: Option<u64>,
}

fn hub(text: &str) -> Result<(String, usize), String> {
    let (name, partitions) = text.split_once('=').ok_or("write it as name=partitions")?;
    let partitions = partitions.parse().map_err(|_| "the number of partitions is no number")?;
    Ok((name.to_owned(), partitions))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "cosmos-bridge-eventhubs-local: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let defaults = Options::default();
    let options = Options {
        address: arguments.address,
        port: arguments.port,
        hubs: arguments.hubs,
        data: arguments.data,
        key_name: arguments.key_name.unwrap_or(defaults.key_name),
        key: arguments.key.unwrap_or(defaults.key),
        latency: Duration::from_millis(arguments.latency),
        message_bytes_max: arguments.message_bytes.unwrap_or(defaults.message_bytes_max),
        retained: defaults.retained,
        receive_buffer: defaults.receive_buffer,
    };
    let hubs = LocalHubs::start(options).await?;
    let control = Control::start(&hubs, arguments.address, arguments.control_port).await?;
    let ready = json!({
        "address": hubs.address(),
        "connection_string": hubs.connection_string(None),
        "control": control.address(),
    });
    writeln!(std::io::stdout(), "{ready}")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    control.stop().await;
    hubs.stop().await;
    Ok(())
}
