//! Arguments, exit codes and signals; nothing else.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cosmos_bridge::admin::{self, Admin};
use cosmos_bridge::app::{Bridge, Findings, Reloader, RunError, TargetChoices, Until};
use cosmos_bridge::config::{self, Config};
use cosmos_bridge::dlq::{self, DlqCommand};
use cosmos_bridge::exit_code;
use cosmos_bridge::observe::{Meter, log};
use cosmos_bridge::state::SqliteState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  cosmos-bridge check --config bridge.toml           validate the file
  cosmos-bridge check --config bridge.toml --live    also connect, without writing
  cosmos-bridge schema                               print a JSON Schema for editors
  cosmos-bridge run --config bridge.toml             replicate until stopped
  cosmos-bridge run --config bridge.toml --until-caught-up    for a migration
  cosmos-bridge status --config bridge.toml --watch  show the running bridge every 2 s
  cosmos-bridge dlq list --summary                   count dead letters by their cause

Exit codes:
   0  stopped by a signal, or caught up    69  an account or vault cannot be reached
   1  failed while running                 71  the admin address cannot be used
   2  invalid command line                 73  the state file cannot be used
   3  status: the bridge is not ready      75  the stop took longer than stop_within
   4  dlq replay: some letters are left    77  an account or vault refuses the credential
  65  parked: a container was recreated,   78  the configuration is invalid
      or there are too many dead letters
  66  a database, container or secret
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
    /// Replicate until stopped by SIGTERM or SIGINT. SIGHUP reloads budgets and secrets, SIGUSR1
    /// logs the progress.
    Run {
        /// The configuration file.
        #[arg(short, long, default_value = "config.toml")]
        config: PathBuf,
        /// Exit when all feed ranges are read to the end and everything is delivered.
        #[arg(long)]
        until_caught_up: bool,
        /// Forget the positions of a sink whose name refers to another target than before, and copy
        /// everything from the configured start.
        #[arg(long, value_name = "SINK")]
        start_over: Vec<String>,
        /// Keep the positions of a sink whose name refers to another target than before: that target
        /// has what was copied.
        #[arg(long, value_name = "SINK")]
        adopt: Vec<String>,
    },
    /// Validate the configuration. With --live, also connect to everything it names and route a sample
    /// of documents, without writing.
    Check {
        /// The configuration file.
        #[arg(short, long, default_value = "config.toml")]
        config: PathBuf,
        /// Also connect to every account, container and sink.
        #[arg(long)]
        live: bool,
    },
    /// List, show, export, replay and discard dead letters: changes that could not be written.
    Dlq {
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Show the status of the running bridge, read from its admin address.
    Status {
        /// The configuration file.
        #[arg(short, long, default_value = "config.toml")]
        config: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Repeat every 2 seconds until interrupted.
        #[arg(long)]
        watch: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_with(exit_code::FAILED, &error.to_string(), None),
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Run { config, until_caught_up, start_over, adopt } => {
                let until = if until_caught_up { Until::CaughtUp } else { Until::Stopped };
                let path = config.clone();
                with_config(&config, async |config| {
                    match TargetChoices::new(start_over, adopt, config) {
                        Ok(choices) => run(path, config, until, &choices).await,
                        Err(error) => fail(&error.into()),
                    }
                })
                .await
            }
            Command::Check { config, live } => {
                with_config(&config, async |config| check(config, live).await).await
            }
            Command::Dlq { command } => {
                with_config(command.config(), async |config| letters(config, &command).await).await
            }
            Command::Schema => schema(),
            Command::Status { config, json, watch } => {
                with_config(&config, async |config| status(config, json, watch).await).await
            }
        }
    });
    // Tasks that are still running after a stop timeout are not waited for.
    runtime.shutdown_background();
    code
}

async fn with_config(
    path: &std::path::Path,
    work: impl AsyncFnOnce(&Config) -> ExitCode,
) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return exit_with(exit_code::CONFIG, &problems.to_string(), None),
    };
    if let Err(problem) = log::init(&config.log) {
        return exit_with(exit_code::CONFIG, &format!("log.level: {problem}"), None);
    }
    work(&config).await
}

async fn run(path: PathBuf, config: &Config, until: Until, choices: &TargetChoices) -> ExitCode {
    // First, so that a signal during the start does not kill the process.
    let (hangups, progress_requests) =
        (signal(SignalKind::hangup()), signal(SignalKind::user_defined1()));
    let meter: Arc<Meter> = Arc::default();
    // Before the accounts are connected, so that an orchestrator can see that the bridge starts.
    let admin = config.admin.as_ref().map(|admin| Admin::open(admin, Arc::clone(&meter)));
    let _admin = match admin.transpose() {
        Ok(admin) => admin,
        Err(error) => {
            let (code, hint) = (error.exit_code(), error.hint());
            error!(%error, hint, exit_code = code, "failed");
            return exit_with(code, &error.to_string(), hint);
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
    if let Err(error) = bridge.settle_targets(choices).await {
        return fail(&error);
    }
    let mut reloader =
        Reloader::new(path, config.clone(), bridge.budgets(), bridge.reloading_sinks());
    let stops = stops(bridge.stop(), config.stop_within);
    let reloads = on_each(hangups, async || {
        if let Err(error) = reloader.reload().await {
            error!(%error, "could not reload the configuration");
        }
    });
    let progress_lines =
        on_each(progress_requests, async || meter.progress_requested().notify_one());
    let ended = tokio::select! {
        ended = bridge.run(until) => ended,
        () = stops => {
            warn!("stopped immediately; work in flight is repeated at the next start");
            return ExitCode::from(exit_code::STOP_TIMEOUT);
        }
        never = reloads => match never {},
        never = progress_lines => match never {},
    };
    match ended {
        Ok(totals) => {
            info!(
                read = totals.read,
                delivered = totals.delivered,
                filtered = totals.filtered,
                dead_letters = totals.dead_letters,
                dead_letters_stored = totals.dead_letters_stored,
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
async fn stops(stop: CancellationToken, within: Duration) {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    for signals in 1.. {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        if signals > 1 {
            return; // A second signal does not wait for the ordered stop.
        }
        info!(within_seconds = within.as_secs(), "stopping");
        stop.cancel();
    }
}

/// Does its work at each signal; never on systems without signals.
async fn on_each(signals: std::io::Result<Signal>, mut work: impl AsyncFnMut()) -> Infallible {
    if let Ok(mut signals) = signals {
        while signals.recv().await.is_some() {
            work().await;
        }
    }
    std::future::pending().await
}

async fn check(config: &Config, live: bool) -> ExitCode {
    if live {
        match check_live(config).await {
            Ok(Findings { images, rejecting }) => {
                for notice in images {
                    let kind = if notice.is_warning() { "warning" } else { "note" };
                    print(&format!("{kind}: {notice}"));
                }
                for sample in rejecting {
                    print(&format!("warning: {sample}"));
                }
            }
            Err(error) => return fail(&error),
        }
    }
    print(if live {
        "everything works; nothing was written"
    } else {
        "the configuration is valid"
    });
    ExitCode::from(exit_code::OK)
}

async fn check_live(config: &Config) -> Result<Findings, RunError> {
    // Nothing is written to the state file: it may be in use, and a check must not create it.
    let bridge = Bridge::build(config, SqliteState::in_memory()?, Arc::default()).await?;
    bridge.check(&config.state.file).await
}

async fn letters(config: &Config, command: &DlqCommand) -> ExitCode {
    let stops = async |stop: CancellationToken| stops(stop, config.stop_within).await;
    match Box::pin(dlq::run(config, command, stops)).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => exit_with(error.exit_code(), &error.to_string(), error.hint()),
    }
}

/// Time between two outputs of `status --watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

async fn status(config: &Config, json: bool, watch: bool) -> ExitCode {
    let Some(admin) = &config.admin else {
        let hint = "Add [admin] to the configuration and restart the bridge.";
        let message = "the configuration has no admin address";
        return exit_with(exit_code::CONFIG, message, Some(hint.to_owned()));
    };
    loop {
        let answer = match admin::fetch_status(admin).await {
            Ok(answer) => answer,
            Err(error) => {
                let hint = Some(error.hint().to_owned());
                return exit_with(error.exit_code(), &error.to_string(), hint);
            }
        };
        let text = if json { answer.json } else { admin::status_text(&answer.report) };
        // On a terminal, each status replaces the previous one.
        let clear = watch && !json && std::io::stdout().is_terminal();
        print(&format!("{}{}", if clear { "\x1b[2J\x1b[H" } else { "" }, text.trim_end()));
        if !watch {
            let code = if answer.report.ready { exit_code::OK } else { exit_code::NOT_READY };
            return ExitCode::from(code);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn fail(error: &RunError) -> ExitCode {
    error!(error = %error, hint = error.hint(), exit_code = error.exit_code(), "failed");
    exit_with(error.exit_code(), &error.to_string(), error.hint())
}

fn schema() -> ExitCode {
    print(&format!("{:#}", config::schema()));
    ExitCode::from(exit_code::OK)
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the last message before the exit")]
fn exit_with(code: u8, message: &str, hint: Option<String>) -> ExitCode {
    eprintln!("{message}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}
