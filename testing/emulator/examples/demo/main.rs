//! The demo of `deploy/demo.sh`: two local accounts, generated orders, a live workload, the real
//! bridge between them, real brokers if asked for, and the proof that all of them hold the same.

mod arrived;
mod bridge;
mod brokers;
mod compare;
mod configuration;
mod report;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bridge::{Bridge, not_within};
use brokers::Broker;
use clap::Parser;
use cosmos_bridge_emulator::setup::{NewContainer, SeedOrders, Setup};
use cosmos_bridge_emulator::{LocalAccounts, Options, StartError};
use report::{Report, say};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use workload::Workload;

/// The ports that `config.toml.example` names are this one and the next.
const PORT: u16 = 8081;
/// Where the orders are, and where the example's pipeline copies them.
const SOURCE: (&str, &str, &str) = ("source", "shop", "orders");
const TARGET: (&str, &str, &str) = ("target", "shop", "orders_by_customer");
/// The target's key, as the example's route remaps it.
const TARGET_KEY: &str = "/customer/region,/customerId";
/// Physical ranges of each container.
const PARTITIONS: u32 = 4;
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
    /// How it was built, for the report
    #[arg(long)]
    built: String,
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
    /// Also publish every change to Apache Kafka
    #[arg(long)]
    kafka: bool,
    #[arg(long, help = "Also publish every change to RabbitMQ")]
    rabbitmq: bool,
    /// Keep the accounts and brokers afterwards, until Ctrl-C
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
            say("FAILED: what arrived is not what the source has");
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("FAILED: {}", with_causes(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// An error, and what caused it.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether everything arrived. What was started is ended in any case.
async fn demo(arguments: &Arguments) -> Result<bool, Failure> {
    let accounts = start(arguments).await?;
    let mut brokers = Broker::start_all(arguments).await?;
    let folder = tempfile::tempdir()?;
    let config = configure(&accounts, &brokers, &arguments.config, folder.path())?;
    let mut report = Report::new(arguments.orders, &arguments.built);

    say(&format!(
        "cosmos-bridge run, and {:.0} inserts and updates per second in the source",
        arguments.rate
    ));
    let workload = Workload::start(&accounts, arguments.rate)?;
    let began = Instant::now();
    let mut bridge = Bridge::start(&arguments.bridge, &config, &[])?;
    let filled = async {
        until_filled(&accounts, arguments.orders, &mut bridge).await?;
        Ok(began.elapsed())
    };
    (report.filled, ()) = tokio::try_join!(filled, show_first(&mut brokers))?;
    sleep(Duration::from_secs(arguments.seconds).saturating_sub(began.elapsed())).await;
    bridge.stop().await?;
    report.first_run = began.elapsed();

    // Something is to be caught up with, from the positions that the first run stored.
    sleep(WITHOUT_BRIDGE).await;
    report.workload = workload.stop().await?;
    say("the bridge and the workload were stopped; cosmos-bridge run --until-caught-up");
    let began = Instant::now();
    Bridge::start(&arguments.bridge, &config, &["--until-caught-up"])?.ended().await?;
    report.second_run = began.elapsed();

    report.count(&accounts)?;
    say("reading every document of the source from the target, by its id and remapped key");
    compare::compare(&accounts, &mut report).await?;
    let documents = accounts.documents(SOURCE.0, SOURCE.1, SOURCE.2)?;
    for broker in &mut brokers {
        say(&format!("reading every event from {}", broker.name()));
        report.arrived.push((broker.name(), broker.tally(&documents).await?));
    }
    report.print();
    if arguments.keep {
        keep(&accounts, &brokers).await;
    }
    for broker in brokers {
        broker.stop().await;
    }
    Ok(report.is_complete())
}

/// Until the demo is interrupted.
async fn keep(accounts: &LocalAccounts, brokers: &[Broker]) {
    for broker in brokers {
        say(&format!("{} stays at {}", broker.name(), broker.address()));
    }
    say(&format!(
        "the accounts stay until Ctrl-C: {} and {}, management at {}",
        accounts.endpoint(SOURCE.0),
        accounts.endpoint(TARGET.0),
        accounts.management_url()
    ));
    std::future::pending::<()>().await;
}

async fn show_first(brokers: &mut [Broker]) -> Result<(), Failure> {
    for broker in brokers {
        broker.show_first().await?;
    }
    Ok(())
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

/// The example's pipeline and the brokers, next to the files that the configuration names.
fn configure(
    accounts: &LocalAccounts,
    brokers: &[Broker],
    example: &Path,
    folder: &Path,
) -> Result<PathBuf, Failure> {
    for account in [SOURCE.0, TARGET.0] {
        std::fs::write(folder.join(format!("{account}.key")), accounts.key(account))?;
    }
    let read = std::fs::read_to_string(example);
    let read = read.map_err(|error| format!("cannot read {}: {error}", example.display()))?;
    let mut text = configuration::without_event_sinks(&read);
    for broker in brokers {
        text = broker.configure(&text, folder)?;
    }
    let config = folder.join("config.toml");
    std::fs::write(&config, text)?;
    Ok(config)
}

/// Waits until the target has as many documents as the source had at first.
async fn until_filled(
    accounts: &LocalAccounts,
    orders: u64,
    bridge: &mut Bridge,
) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while (accounts.state(TARGET.0, TARGET.1, TARGET.2)?.documents as u64) < orders {
        if let Some(status) = bridge.has_ended()? {
            return Err(format!("the bridge ended by itself: {status}").into());
        }
        if Instant::now() >= deadline {
            return Err(not_within("copied", PATIENCE));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn interrupted() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}
