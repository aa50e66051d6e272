//! Arguments, exit codes and signals; nothing else.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cosmos_bridge::admin::{self, Admin};
use cosmos_bridge::app::{Bridge, Reloader, RunError, Until};
use cosmos_bridge::config::{self, Config};
use cosmos_bridge::exit_code;
use cosmos_bridge::observe::{Meter, log};
use cosmos_bridge::state::SqliteState;
use cosmos_bridge::stop::Stopper;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  cosmos-bridge check --config bridge.toml           is the file right?
  cosmos-bridge check --config bridge.toml --live    would it work, without writing?
  cosmos-bridge run --config bridge.toml             replicate until stopped
  cosmos-bridge run --config bridge.toml --until-caught-up    for a migration
  cosmos-bridge status --config bridge.toml --watch  how does the one that runs do?

Exit codes:
   0  stopped as asked, or caught up       69  an account or vault cannot be reached
   1  failed while running                 71  the admin address cannot be used
   2  wrong command line                   73  the state file cannot be used
   3  status: the bridge is not ready      75  the stop took longer than stop_within
  65  parked: a container was recreated    77  an account or vault refuses the credential
  66  a database, container or secret      78  the configuration is wrong
      is missing";

/// Replicates Azure Cosmos DB containers across accounts, tenants and regions.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replicate, until stopped by SIGTERM or SIGINT. SIGHUP takes the budgets over from the
    /// changed file, SIGUSR1 logs a line of progress.
    Run {
        /// The configuration file.
        #[arg(short, long, default_value = "config.toml")]
        config: PathBuf,
        /// End when every feed range has nothing newer and everything is delivered.
        #[arg(long)]
        until_caught_up: bool,
    },
    /// Check the configuration, and with --live everything it names, without writing.
    Check {
        /// The configuration file.
        #[arg(short, long, default_value = "config.toml")]
        config: PathBuf,
        /// Also connect: every account, container and sink must work.
        #[arg(long)]
        live: bool,
    },
    /// Ask the bridge that runs with this configuration how it does, at its admin address.
    Status {
        /// The configuration file.
        #[arg(short, long, default_value = "config.toml")]
        config: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Again and again, until interrupted.
        #[arg(long)]
        watch: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(exit_code::FAILED, &error.to_string(), None),
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Run { config, until_caught_up } => {
                let until = if until_caught_up { Until::CaughtUp } else { Until::Stopped };
                let path = config.clone();
                with_config(&config, async |config| run(path, config, until).await).await
            }
            Command::Check { config, live } => {
                with_config(&config, async |config| check(config, live).await).await
            }
            Command::Status { config, json, watch } => {
                with_config(&config, async |config| status(config, json, watch).await).await
            }
        }
    });
    // What is still under way after a stop that took too long is not waited for.
    runtime.shutdown_background();
    code
}

async fn with_config(
    path: &std::path::Path,
    work: impl AsyncFnOnce(&Config) -> ExitCode,
) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return complain(exit_code::CONFIG, &problems.to_string(), None),
    };
    if let Err(problem) = log::init(&config.log) {
        return complain(exit_code::CONFIG, &format!("log.level: {problem}"), None);
    }
    work(&config).await
}

async fn run(path: PathBuf, config: &Config, until: Until) -> ExitCode {
    // Before anything else, so that a signal during the start does not end it.
    let (hangups, looks) = (signal(SignalKind::hangup()), signal(SignalKind::user_defined1()));
    let meter: Arc<Meter> = Arc::default();
    // Before the accounts are connected: whoever waits for it can see that it starts.
    let admin = config.admin.as_ref().map(|admin| Admin::open(admin, Arc::clone(&meter)));
    let _admin = match admin.transpose() {
        Ok(admin) => admin,
        Err(error) => {
            let (code, hint) = (error.exit_code(), error.hint());
            error!(%error, hint, exit_code = code, "failed");
            return complain(code, &error.to_string(), hint);
        }
    };
    let built = match SqliteState::open(&config.state.file) {
        Ok(state) => Bridge::build(config, state, Arc::clone(&meter)).await,
        Err(error) => Err(error.into()),
    };
    let bridge = match built {
        Ok(bridge) => bridge,
        Err(error) => return fail(&error),
    };
    let mut reloader = Reloader::new(path, config.clone(), bridge.keeper(), bridge.rotating());
    let stops = stops(bridge.stopper(), config.stop_within);
    let reloads = on_each(hangups, async || {
        if let Err(error) = reloader.reload().await {
            error!(%error, "could not read the configuration again");
        }
    });
    let looks = on_each(looks, async || meter.look_now().notify_one());
    let ended = tokio::select! {
        ended = bridge.run(until) => ended,
        () = stops => {
            warn!("stopped at once; work under way is repeated at the next start");
            return ExitCode::from(exit_code::STOP_TIMEOUT);
        }
        never = reloads => match never {},
        never = looks => match never {},
    };
    match ended {
        Ok(totals) => {
            info!(
                read = totals.read,
                delivered = totals.delivered,
                filtered = totals.filtered,
                dead_letters = totals.dead_letters,
                source_ru = totals.source_charge,
                target_ru = totals.target_charge,
                "stopped"
            );
            ExitCode::from(exit_code::OK)
        }
        Err(error) => fail(&error),
    }
}

/// Stops in order at the first SIGTERM or SIGINT; returns at the second.
async fn stops(stopper: Arc<Stopper>, within: Duration) {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    for asked in 1.. {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        if asked > 1 {
            return; // A second signal does not wait for the first one's order.
        }
        info!(within_seconds = within.as_secs(), "stopping");
        stopper.stop();
    }
}

/// Does its work each time a signal comes. Where there are no signals, never.
async fn on_each(signals: std::io::Result<Signal>, mut work: impl AsyncFnMut()) -> Infallible {
    if let Ok(mut signals) = signals {
        while signals.recv().await.is_some() {
            work().await;
        }
    }
    std::future::pending().await
}

async fn check(config: &Config, live: bool) -> ExitCode {
    if live && let Err(error) = check_live(config).await {
        return fail(&error);
    }
    say(if live { "everything works; nothing was written" } else { "the configuration is right" });
    ExitCode::from(exit_code::OK)
}

async fn check_live(config: &Config) -> Result<(), RunError> {
    // Not the state file: it may be in use, and a check leaves nothing behind.
    Bridge::build(config, SqliteState::in_memory()?, Arc::default()).await?.check().await
}

/// How often a status is shown anew.
const WATCH_EVERY: Duration = Duration::from_secs(2);

async fn status(config: &Config, json: bool, watch: bool) -> ExitCode {
    let Some(admin) = &config.admin else {
        let hint = "Write [admin] into it and start the bridge again.";
        let message = "the configuration has no admin address";
        return complain(exit_code::CONFIG, message, Some(hint.to_owned()));
    };
    loop {
        let asked = match admin::ask(admin).await {
            Ok(asked) => asked,
            Err(error) => {
                let hint = Some(error.hint().to_owned());
                return complain(error.exit_code(), &error.to_string(), hint);
            }
        };
        let text = if json { asked.json } else { admin::text(&asked.report) };
        // On a terminal each status takes the place of the one before.
        let clear = watch && !json && std::io::stdout().is_terminal();
        say(&format!("{}{}", if clear { "\x1b[2J\x1b[H" } else { "" }, text.trim_end()));
        if !watch {
            let code = if asked.report.ready { exit_code::OK } else { exit_code::NOT_READY };
            return ExitCode::from(code);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn fail(error: &RunError) -> ExitCode {
    error!(error = %error, hint = error.hint(), exit_code = error.exit_code(), "failed");
    complain(error.exit_code(), &error.to_string(), error.hint())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the last word before the exit code")]
fn complain(code: u8, message: &str, hint: Option<String>) -> ExitCode {
    eprintln!("{message}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}
