//! The binary `cosmos-bridge-emulator`: local accounts, served until it is stopped.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cosmos_bridge_emulator::setup::{NewContainer, SeedFile, SeedOrders, Setup};
use cosmos_bridge_emulator::{LocalAccounts, Options};
use tokio::signal::unix::{SignalKind, signal};

/// Serves local Azure Cosmos DB accounts on loopback, for trials and tests.
///
/// When it is ready it prints one line of JSON with the endpoints, the keys and the address of
/// the management interface. Nothing is kept on disk.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Name of an account; repeat it for more
    #[arg(long = "account", required = true)]
    accounts: Vec<String>,
    /// Port of the first account, the others follow; 0 takes free ports
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the management interface; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    management_port: u16,
    /// Loopback address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Serve the accounts over TLS with a self-signed certificate
    #[arg(long)]
    tls: bool,
    /// Bearer token that every account accepts in addition to its key
    #[arg(long)]
    token: Option<String>,
    /// Seconds of history that the containers of every account keep, for the feed of all versions
    /// and deletes; without it only those containers do that have a retention
    #[arg(long, value_name = "SECONDS")]
    history: Option<u32>,
    /// Regions of every account, as "East US,West US", each with an endpoint of its own; the first writes
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    regions: Vec<String>,
    /// Let all regions write
    #[arg(long)]
    multiple_writes: bool,
    /// Container to create, as account/database/name=/key or =/key1,/key2 or =none, and then any of
    /// ;partitions=4 ;ru=4000 (or ;autoscale=4000) ;database-ru=4000 ;variation=0.5 ;ttl=-1
    /// ;retention=600 ;images=all ;version=1; repeat it for more
    #[arg(long = "container", value_name = "CONTAINER=KEY")]
    containers: Vec<NewContainer>,
    /// Orders to generate into a container, as account/database/name=COUNT and then any of
    /// ,seed=1 ,bytes=1024 ,customers=1000; repeat it for more
    #[arg(long, value_name = "CONTAINER=COUNT")]
    seed_orders: Vec<SeedOrders>,
    /// JSON Lines to upsert into a container, as account/database/name=FILE; repeat it for more
    #[arg(long, value_name = "CONTAINER=FILE")]
    seed_file: Vec<SeedFile>,
    /// Folder to write the key of each account into, as NAME.key, which only the user can read
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Also end when standard input is closed
    #[arg(long)]
    until_stdin_closes: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            drop(writeln!(std::io::stderr(), "cosmos-bridge-emulator: {text}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let names = arguments.accounts.clone();
    let accounts = LocalAccounts::start_with(Options {
        accounts: arguments.accounts,
        port: arguments.port,
        management_port: arguments.management_port,
        address: arguments.address,
        tls: arguments.tls,
        token: arguments.token,
        history_seconds: arguments.history,
        regions: arguments.regions,
        multiple_writes: arguments.multiple_writes,
    })
    .await?;
    let setup = Setup {
        containers: arguments.containers,
        orders: arguments.seed_orders,
        files: arguments.seed_file,
    };
    setup.apply(&accounts).await?;
    if let Some(folder) = arguments.keys {
        for name in &names {
            write_key(&folder.join(format!("{name}.key")), &accounts.key(name))?;
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", accounts.ready())?;
    out.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_closed(), if arguments.until_stdin_closes => {}
    }
    Ok(())
}

fn write_key(file: &Path, key: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    opened.write_all(key.as_bytes())
}

/// A separate thread reads, because a blocked read would keep the runtime from ending.
async fn stdin_closed() {
    let (closed, waiting) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        drop(closed);
    });
    drop(waiting.await);
}
