//! The command line, and what is made of its definition: completions for shells, and pages for `man`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand};
pub use clap_complete::Shell;

use crate::backfill::BackfillArguments;
use crate::dlq::DlqCommand;

const NAME: &str = "cosmos-bridge";

const EXAMPLES: &str = "\
Examples:
  cosmos-bridge check --config bridge.toml           validate the file
  cosmos-bridge check --config bridge.toml --live    also connect, without writing
  cosmos-bridge schema                               print a JSON Schema for editors
  cosmos-bridge run --config bridge.toml             replicate until stopped
  cosmos-bridge run --config bridge.toml --until-caught-up    for a migration
  cosmos-bridge status --config bridge.toml --watch  show the running bridge every 2 s
  cosmos-bridge dlq list --summary                   count dead letters by their cause
  cosmos-bridge ledger                               show what became of every change
  cosmos-bridge backfill --sink NAME --dry-run       count what would be sent to a sink again
  cosmos-bridge completions bash > FILE              for a shell; `man FOLDER` writes pages for man

Exit codes:
   0  stopped by a signal, or caught up    69  an account or vault cannot be reached
   1  failed while running                 71  the admin address cannot be used
   2  invalid command line                 73  the state file cannot be used
   3  status: the bridge is not ready      75  the stop took longer than stop_within
   4  dlq replay: some letters are left    77  an account or vault refuses the credential
   5  run --until-caught-up or backfill    78  the configuration is invalid
      was stopped
   6  the ledger does not balance
   7  backfill: some documents cannot be
      written
  65  parked: a container was recreated,
      or there are too many dead letters
  66  a database, container or secret
      is missing";

/// Replicates Azure Cosmos DB containers across accounts, tenants and regions.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Show what became of the changes that were read: filtered, delivered, superseded, dead letter, or in
    /// flight. Works while the bridge runs. Exits with 6 if changes are missing.
    Ledger {
        /// The configuration file.
        #[arg(short, long, default_value = "config.toml")]
        config: PathBuf,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        /// Take note of the changes that are missing in a sink, so that they are not reported again. The
        /// bridge must be stopped.
        #[arg(long, value_name = "SINK")]
        accept: Vec<String>,
    },
    /// Send what exists in the source again: all of it, an interval of commit times, or what a condition
    /// selects. Counts first. Works while the bridge runs, and neither reads nor moves its positions.
    Backfill {
        #[command(flatten)]
        arguments: BackfillArguments,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Print completions of this command line for a shell.
    Completions { shell: Shell },
    /// Write a page for `man` for each command into a folder.
    Man { folder: PathBuf },
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

/// The completions for a shell, as the text that it loads.
pub fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut text);
    // clap_complete 4.6 writes a name with a hyphen in two ways, so that subcommands are not found.
    String::from_utf8_lossy(&text).replace("cosmos__subcmd__bridge", "cosmos__bridge")
}

/// Writes the page of each command into a folder, such as `cosmos-bridge-run.1`.
pub fn write_man_pages(folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Arguments::command(), folder)
}
