//! Commands, exit codes and signals; nothing else.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use cosmos_bridge::admin::{self, Admin, StatusError};
use cosmos_bridge::app::{Bridge, End, Findings, Reloader, RunError, TargetChoices, Until};
use cosmos_bridge::arguments::{self, Arguments, Command};
use cosmos_bridge::backfill::{self, BackfillArguments};
use cosmos_bridge::config::{self, Config};
use cosmos_bridge::dlq::{self, DlqCommand};
use cosmos_bridge::exit_code;
use cosmos_bridge::ledger;
use cosmos_bridge::observe::{Meter, log, tenths};
use cosmos_bridge::state::SqliteState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of each thread: documents and jq expressions nest. Only what is used of it takes memory.
const STACK_BYTES: usize = 16 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Not on the main thread, whose stack has another size: `check --live` routes documents here.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, || execute(arguments)) {
            Ok(thread) => thread.join().unwrap_or(ExitCode::from(exit_code::FAILED)),
            Err(error) => exit_with(exit_code::FAILED, &error.to_string(), None),
        }
    })
}

fn execute(arguments: Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return exit_with(exit_code::FAILED, &error.to_string(), None),
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Run { config, until_caught_up, start_over, adopt } => {
                let until = if until_caught_up { Until::CaughtUp } else { Until::Stopped };
                run(config, until, (start_over, adopt)).await
            }
            Command::Check { config, live } => {
                with_config(&config, async |config| check(config, live).await).await
            }
            Command::Dlq { command } => {
                with_config(command.config(), async |config| letters(config, &command).await).await
            }
            Command::Ledger { config, json, accept } => {
                with_config(&config, async |config| ledger(config, json, &accept).await).await
            }
            Command::Backfill { arguments } => {
                with_config(&arguments.config, async |config| again(config, &arguments).await).await
            }
            Command::Schema => schema(),
            Command::Completions { shell } => completions(shell),
            Command::Man { folder } => man(&folder),
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
    match load(path).await {
        Ok(config) => work(&config).await,
        Err(code) => code,
    }
}

async fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    let path = path.to_owned();
    // A secret may be a pipe that nothing writes to: signals are served meanwhile.
    let loaded = spawn_blocking(move || config::load(&path)).await;
    let loaded = loaded.map_err(|error| exit_with(exit_code::FAILED, &error.to_string(), None))?;
    let config =
        loaded.map_err(|problems| exit_with(exit_code::CONFIG, &problems.to_string(), None))?;
    log::init(&config.log)
        .map_err(|problem| exit_with(exit_code::CONFIG, &format!("log.level: {problem}"), None))?;
    Ok(config)
}

/// What a run needs.
struct Started {
    config: Config,
    choices: TargetChoices,
    meter: Arc<Meter>,
    _admin: Option<Admin>,
    bridge: Bridge,
}

/// Connects everything. `choices` are the sinks to start over and to adopt.
async fn start(
    path: &std::path::Path,
    choices: (Vec<String>, Vec<String>),
) -> Result<Started, ExitCode> {
    let config = load(path).await?;
    let choices = TargetChoices::new(choices.0, choices.1, &config);
    let choices = choices.map_err(|error| fail(&error.into()))?;
    let meter: Arc<Meter> = Arc::default();
    // Before the accounts are connected, so that an orchestrator can see that the bridge starts.
    let admin = config.admin.as_ref().map(|admin| Admin::open(admin, Arc::clone(&meter)));
    let admin = admin.transpose().map_err(|error| {
        let (code, hint) = (error.exit_code(), error.hint());
        error!(%error, hint, exit_code = code, "failed");
        exit_with(code, &error.to_string(), hint)
    })?;
    let file = config.state.file.clone();
    let built = async {
        let state = spawn_blocking(move || SqliteState::open(&file)).await??;
        Bridge::build(&config, state, Arc::clone(&meter)).await
    };
    let bridge = built.await.map_err(|error| fail(&error))?;
    Ok(Started { config, choices, meter, _admin: admin, bridge })
}

async fn run(path: PathBuf, until: Until, choices: (Vec<String>, Vec<String>)) -> ExitCode {
    // First, so that no signal during the start is ignored or kills the process.
    let (hangups, progress_requests) =
        (signal(SignalKind::hangup()), signal(SignalKind::user_defined1()));
    let mut stop_signals = StopSignals::listen();
    let started = tokio::select! {
        started = start(&path, choices) => started,
        () = stop_signals.next() => {
            info!("stopped before the start was complete");
            return ExitCode::from(stopped(until));
        }
    };
    let Started { config, choices, meter, _admin, bridge } = match started {
        Ok(started) => started,
        Err(code) => return code,
    };
    // Not stopped in the middle: what was chosen is done and logged.
    if let Err(error) = bridge.settle_targets(&choices).await {
        return fail(&error);
    }
    let mut reloader =
        Reloader::new(path, config.clone(), bridge.budgets(), bridge.reloading_sinks());
    let stops = stops(stop_signals, bridge.stop(), config.stop_within);
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
        Ok(End { totals, caught_up }) => {
            info!(
                read = totals.read,
                delivered = totals.delivered,
                filtered = totals.filtered,
                dead_letters = totals.dead_letters,
                dead_letters_stored = totals.dead_letters_stored,
                source_ru = tenths(totals.source_charge),
                target_ru = tenths(totals.target_charge),
                "stopped"
            );
            ExitCode::from(if caught_up { exit_code::OK } else { stopped(until) })
        }
        Err(error) => fail(&error),
    }
}

/// SIGTERM and SIGINT.
struct StopSignals(Option<[Signal; 2]>);

impl StopSignals {
    /// Takes the signals from now on; none on systems without signals.
    fn listen() -> Self {
        let [term, int] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        Self(term.ok().zip(int.ok()).map(Into::into))
    }

    async fn next(&mut self) {
        let Some([term, int]) = &mut self.0 else { return std::future::pending().await };
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    }
}

/// The exit code of a stop by a signal: a migration that is stopped is not over.
fn stopped(until: Until) -> u8 {
    match until {
        Until::Stopped => exit_code::OK,
        Until::CaughtUp => exit_code::STOPPED_EARLY,
    }
}

/// Stops in order at the first signal; returns at the second.
async fn stops(mut signals: StopSignals, stop: CancellationToken, within: Duration) {
    signals.next().await;
    info!(within_seconds = within.as_secs(), "stopping");
    stop.cancel();
    // A second signal does not wait for the ordered stop.
    signals.next().await;
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
    let stops = async |stop: CancellationToken| {
        stops(StopSignals::listen(), stop, config.stop_within).await;
    };
    match Box::pin(dlq::run(config, command, stops)).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => exit_with(error.exit_code(), &error.to_string(), error.hint()),
    }
}

async fn ledger(config: &Config, json: bool, accept: &[String]) -> ExitCode {
    let shown = if accept.is_empty() {
        ledger::show(config, json)
    } else {
        ledger::accept(config, accept).await
    };
    match shown {
        Ok(shown) => {
            print(shown.text.trim_end());
            ExitCode::from(shown.exit_code)
        }
        Err(error) => exit_with(error.exit_code(), &error.to_string(), Some(error.hint())),
    }
}

async fn again(config: &Config, arguments: &BackfillArguments) -> ExitCode {
    let signals = StopSignals::listen();
    let stops = async |stop: CancellationToken| stops(signals, stop, config.stop_within).await;
    match Box::pin(backfill::run(config, arguments, stops)).await {
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
    let mut has_answered = false;
    loop {
        let answer = match admin::fetch_status(admin).await {
            Ok(answer) => answer,
            // A bridge that is watched may be restarted.
            Err(error @ StatusError::Silent(_)) if watch && has_answered => {
                note(&error.to_string());
                tokio::time::sleep(WATCH_EVERY).await;
                continue;
            }
            Err(error) => {
                let hint = Some(error.hint().to_owned());
                return exit_with(error.exit_code(), &error.to_string(), hint);
            }
        };
        has_answered = true;
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

fn completions(shell: arguments::Shell) -> ExitCode {
    print(&arguments::completions(shell));
    ExitCode::from(exit_code::OK)
}

fn man(folder: &std::path::Path) -> ExitCode {
    match arguments::write_man_pages(folder) {
        Ok(()) => ExitCode::from(exit_code::OK),
        Err(error) => {
            let message = format!("cannot write to {}: {error}", folder.display());
            let hint = "The folder must exist and be writable.";
            exit_with(exit_code::FAILED, &message, Some(hint.to_owned()))
        }
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the messages of a command, apart from its output")]
fn note(text: &str) {
    eprintln!("{text}");
}

fn exit_with(code: u8, message: &str, hint: Option<String>) -> ExitCode {
    note(message);
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
    ExitCode::from(code)
}
