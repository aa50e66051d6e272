//! The demo of `deploy/demo.sh`: two local accounts, generated orders, a live workload, the real
//! bridge between them, and the proof that source and target hold the same.

mod compare;
mod report;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use cosmos_bridge_emulator::live::LiveContainer;
use cosmos_bridge_emulator::setup::{NewContainer, SeedOrders, Setup};
use cosmos_bridge_emulator::workload::{Plan, Workloads};
use cosmos_bridge_emulator::{LocalAccounts, Options, StartError};
use report::{Report, say};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

/// The ports that `config.toml.example` names are this one and the next.
const PORT: u16 = 8081;
/// Where the orders are, and where the example's pipeline copies them.
const SOURCE: (&str, &str, &str) = ("source", "shop", "orders");
const TARGET: (&str, &str, &str) = ("target", "shop", "orders_by_customer");
/// The target's key, as the example's route remaps it.
const TARGET_KEY: &str = "/customer/region,/customerId";
/// Physical ranges of each container.
const PARTITIONS: u32 = 4;
/// Updates per new order.
const INSERTS: u32 = 1;
const UPDATES: u32 = 3;
/// Far longer than it takes on a slow machine; a demo that gets here has failed.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often the target is looked at while it fills.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the workload goes on after the bridge was stopped.
const WITHOUT_BRIDGE: Duration = Duration::from_secs(1);

/// Shows a bridge at work between two local accounts, and compares every document afterwards.
#[derive(Parser)]
struct Arguments {
    /// The bridge's binary
    #[arg(long)]
    bridge: PathBuf,
    /// The configuration that it runs: config.toml.example
    #[arg(long)]
    config: PathBuf,
    /// Orders that are there before the bridge starts
    #[arg(long, default_value_t = 50_000)]
    orders: u64,
    /// Inserts and updates per second while the bridge runs
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Seconds of live workload
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Keep the accounts afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::select! {
        done = demo(&arguments) => done,
        () = interrupted() => Err("interrupted".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            say("FAILED: source and target differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("FAILED: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether source and target are equal. What was started is ended in any case.
async fn demo(arguments: &Arguments) -> Result<bool, Failure> {
    let accounts = start(arguments).await?;
    let folder = tempfile::tempdir()?;
    let config = configure(&accounts, &arguments.config, folder.path())?;
    let mut report = Report::new(arguments.orders);

    say(&format!(
        "cosmos-bridge run, and {:.0} inserts and updates per second in the source",
        arguments.rate
    ));
    let workload = Workload::start(&accounts, arguments)?;
    let began = Instant::now();
    let mut bridge = start_bridge(arguments, &config, false)?;
    until_filled(&accounts, arguments.orders, &mut bridge).await?;
    report.filled = began.elapsed();
    sleep(Duration::from_secs(arguments.seconds).saturating_sub(began.elapsed())).await;
    stop(&bridge).await?;
    ended(bridge).await?;
    report.first_run = began.elapsed();

    // Something is to be caught up with, from the positions that the first run stored.
    sleep(WITHOUT_BRIDGE).await;
    report.workload = workload.stop().await?;
    say("the bridge and the workload were stopped; cosmos-bridge run --until-caught-up");
    let began = Instant::now();
    ended(start_bridge(arguments, &config, true)?).await?;
    report.second_run = began.elapsed();

    report.count(&accounts)?;
    say("reading every document of the source from the target, by its id and remapped key");
    let equal = compare::compare(&accounts, &mut report).await?;
    report.print();
    if arguments.keep {
        say(&format!(
            "the accounts stay until Ctrl-C: {} and {}, management at {}",
            accounts.endpoint(SOURCE.0),
            accounts.endpoint(TARGET.0),
            accounts.management_url()
        ));
        std::future::pending::<()>().await;
    }
    Ok(equal)
}

/// The accounts with their containers and the first orders.
async fn start(arguments: &Arguments) -> Result<LocalAccounts, Failure> {
    let names = vec![SOURCE.0.to_owned(), TARGET.0.to_owned()];
    let options = Options { accounts: names, port: PORT, ..Options::default() };
    let accounts = LocalAccounts::start_with(options).await.map_err(|error| match error {
        StartError::Listen(address, cause) => format!(
            "cannot listen on {address}: {cause}\n\
             config.toml.example names the ports {PORT} and {}, so the demo needs both. Find what \
             uses them (`ss -ltnp`), stop it, and start the demo again.",
            PORT + 1
        )
        .into(),
        other => Failure::from(other),
    })?;
    let container = |(account, database, name): (&str, &str, &str), key: &str| {
        format!("{account}/{database}/{name}={key};partitions={PARTITIONS}").parse::<NewContainer>()
    };
    let orders = format!("{}/{}/{}={}", SOURCE.0, SOURCE.1, SOURCE.2, arguments.orders);
    let setup = Setup {
        containers: vec![container(SOURCE, "/orderId")?, container(TARGET, TARGET_KEY)?],
        orders: vec![orders.parse::<SeedOrders>()?],
        files: Vec::new(),
    };
    let began = Instant::now();
    setup.apply(&accounts).await?;
    say(&format!(
        "two local accounts on ports {PORT} and {}; {} orders of about 1 KiB in {}/{}, made in \
         {:.1} s",
        PORT + 1,
        report::grouped(arguments.orders),
        SOURCE.1,
        SOURCE.2,
        began.elapsed().as_secs_f64()
    ));
    Ok(accounts)
}

/// A copy of the example next to the files that it names.
fn configure(accounts: &LocalAccounts, example: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    for account in [SOURCE.0, TARGET.0] {
        std::fs::write(folder.join(format!("{account}.key")), accounts.key(account))?;
    }
    let config = folder.join("config.toml");
    let copied = std::fs::copy(example, &config);
    copied.map_err(|error| format!("cannot copy {}: {error}", example.display()))?;
    Ok(config)
}

fn start_bridge(
    arguments: &Arguments,
    config: &Path,
    until_caught_up: bool,
) -> Result<Child, Failure> {
    let mut command = Command::new(&arguments.bridge);
    command.arg("run").arg("--config").arg(config).stdin(Stdio::null()).kill_on_drop(true);
    if until_caught_up {
        command.arg("--until-caught-up");
    }
    let started = command.spawn();
    Ok(started.map_err(|error| format!("cannot start {}: {error}", arguments.bridge.display()))?)
}

/// Waits until the target has as many documents as the source had at first.
async fn until_filled(
    accounts: &LocalAccounts,
    orders: u64,
    bridge: &mut Child,
) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while (accounts.state(TARGET.0, TARGET.1, TARGET.2)?.documents as u64) < orders {
        if let Some(status) = bridge.try_wait()? {
            return Err(format!("the bridge ended by itself: {status}").into());
        }
        if Instant::now() >= deadline {
            return Err(format!("not copied within {} s", PATIENCE.as_secs()).into());
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Asks one process, by its id, to stop.
async fn stop(bridge: &Child) -> Result<(), Failure> {
    let id = bridge.id().ok_or("the bridge ended by itself")?;
    // The shell's own `kill`: not every small system has the program.
    let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {id}")).status().await?;
    if sent.success() { Ok(()) } else { Err("cannot stop the bridge".into()) }
}

async fn ended(mut bridge: Child) -> Result<(), Failure> {
    let status = tokio::time::timeout(PATIENCE, bridge.wait()).await;
    let status = status.map_err(|_| format!("not ended within {} s", PATIENCE.as_secs()))??;
    if status.success() { Ok(()) } else { Err(format!("the bridge failed: {status}").into()) }
}

/// Inserts and updates in the source. No deletes: the latest-version feed does not report them.
struct Workload {
    workloads: Workloads,
    number: u64,
}

impl Workload {
    fn start(accounts: &LocalAccounts, arguments: &Arguments) -> Result<Self, Failure> {
        let container = accounts.world.container(SOURCE.0, SOURCE.1, SOURCE.2)?;
        let documents = LiveContainer { container, clock: Arc::clone(&accounts.world.clock) };
        let plan = Plan {
            rate: arguments.rate,
            inserts: INSERTS,
            updates: UPDATES,
            deletes: 0,
            seed: 2,
            operations: None,
            time: None,
        };
        let workloads = Workloads::default();
        let number = workloads.start(documents, plan)?;
        Ok(Self { workloads, number })
    }

    /// How many inserts and updates it made.
    async fn stop(self) -> Result<(u64, u64), Failure> {
        let progress = self.workloads.stop(self.number).await.ok_or("no workload was started")?;
        match progress.error {
            Some(error) => Err(format!("the workload failed: {error}").into()),
            None => Ok((progress.inserts, progress.updates)),
        }
    }
}

async fn interrupted() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}
