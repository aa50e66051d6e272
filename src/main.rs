//! Arguments, exit codes and signals; nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cosmos_bridge::config::{self, Config};
use cosmos_bridge::exit;
use cosmos_bridge::observe::log;
use cosmos_bridge::run::{Bridge, RunError, Until};
use cosmos_bridge::state::SqliteState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  cosmos-bridge check --config bridge.toml           is the file right?
  cosmos-bridge check --config bridge.toml --live    would it work, without writing?
  cosmos-bridge run --config bridge.toml             replicate until stopped
  cosmos-bridge run --config bridge.toml --until-caught-up    for a migration

Exit codes:
   0  stopped as asked, or caught up       66  a database or container is missing
   1  failed while running                 69  an account cannot be reached
   2  wrong command line                   73  the state file cannot be used
  65  parked: a container was recreated    75  the stop took longer than stop_within
                                           77  an account refuses the credential
                                           78  the configuration is wrong";

/// Replicates Azure Cosmos DB containers across accounts, tenants and regions.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replicate, until stopped by SIGTERM or SIGINT.
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(exit::FAILED, &error.to_string(), None),
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Run { config, until_caught_up } => {
                let until = if until_caught_up { Until::CaughtUp } else { Until::Stopped };
                with_config(&config, async |config| run(config, until).await).await
            }
            Command::Check { config, live } => {
                with_config(&config, async |config| check(config, live).await).await
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
        Err(problems) => return complain(exit::CONFIG, &problems.to_string(), None),
    };
    if let Err(problem) = log::init(&config.log) {
        return complain(exit::CONFIG, &format!("log.level: {problem}"), None);
    }
    work(&config).await
}

async fn run(config: &Config, until: Until) -> ExitCode {
    let built = match SqliteState::open(&config.state.file) {
        Ok(state) => Bridge::build(config, state).await,
        Err(error) => Err(error.into()),
    };
    let bridge = match built {
        Ok(bridge) => bridge,
        Err(error) => return fail(&error),
    };
    let stopper = bridge.stopper();
    let signals = async {
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
            info!(within_seconds = config.stop_within.as_secs(), "stopping");
            stopper.stop();
        }
    };
    let ended = tokio::select! {
        ended = bridge.run(until) => ended,
        () = signals => {
            warn!("stopped at once; work under way is repeated at the next start");
            return ExitCode::from(exit::STOP_TIMEOUT);
        }
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
            ExitCode::from(exit::OK)
        }
        Err(error) => fail(&error),
    }
}

async fn check(config: &Config, live: bool) -> ExitCode {
    if live && let Err(error) = check_live(config).await {
        return fail(&error);
    }
    say(if live { "everything works; nothing was written" } else { "the configuration is right" });
    ExitCode::from(exit::OK)
}

async fn check_live(config: &Config) -> Result<(), RunError> {
    // Not the state file: it may be in use, and a check leaves nothing behind.
    Bridge::build(config, SqliteState::in_memory()?).await?.check().await
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
