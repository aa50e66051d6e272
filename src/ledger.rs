//! `cosmos-bridge ledger`: what became of the changes that were read, as the state file has it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;

use crate::config::Config;
use crate::exit_code;
use crate::model::{Ledger, LedgerEntry};
use crate::state::{SqliteState, StateError, stored_ledgers};

/// Why a ledger cannot be shown or corrected.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("no ledger is stored of a sink `{0}`")]
    Unknown(String),
}

impl LedgerError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::State(error) => error.exit_code(),
            Self::Unknown(_) => exit_code::USAGE,
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        match self {
            Self::State(StateError::Busy { .. }) => {
                "Stop the bridge first: --accept changes its state file.".to_owned()
            }
            Self::State(error) => error.hint(),
            Self::Unknown(_) => "`cosmos-bridge ledger` shows the sinks.".to_owned(),
        }
    }
}

/// The text to print, and the exit code.
pub struct Shown {
    pub text: String,
    pub exit_code: u8,
}

/// The ledger of each sink of each pipeline of the configuration.
pub fn show(config: &Config, is_json: bool) -> Result<Shown, LedgerError> {
    let mut sinks: BTreeMap<(String, String), Ledger> = BTreeMap::new();
    for (pipeline, LedgerEntry { sink, ledger, .. }) in
        stored_ledgers(&config.state.file, &pipelines(config))?
    {
        sinks.entry((pipeline, sink)).or_default().add(&ledger);
    }
    let is_balanced = sinks.values().all(|ledger| ledger.open() == 0);
    let text = if is_json { lines(&sinks) } else { table(&sinks) };
    let exit_code = if is_balanced { exit_code::OK } else { exit_code::UNBALANCED };
    Ok(Shown { text, exit_code })
}

/// Takes note of what is missing in these sinks.
pub async fn accept(config: &Config, sinks: &[String]) -> Result<Shown, LedgerError> {
    // Also those that are not configured any more.
    let stored = stored_ledgers(&config.state.file, &pipelines(config))?;
    let is_known = |sink: &&String| stored.iter().any(|(_, entry)| entry.sink == **sink);
    if let Some(unknown) = sinks.iter().find(|sink| !is_known(sink)) {
        return Err(LedgerError::Unknown(unknown.clone()));
    }
    let state = SqliteState::open(&config.state.file)?;
    let pipelines = pipelines(config).into_iter().map(str::to_owned).collect();
    let missing = state.accept_missing(pipelines, sinks.to_vec()).await?;
    let text = format!("{missing} missing changes are taken note of, and not reported again");
    Ok(Shown { text, exit_code: exit_code::OK })
}

fn pipelines(config: &Config) -> Vec<&str> {
    config.pipelines.keys().map(String::as_str).collect()
}

type Sinks = BTreeMap<(String, String), Ledger>;

fn lines(sinks: &Sinks) -> String {
    let line = |((pipeline, sink), ledger): (&(String, String), &Ledger)| {
        let Ledger { read, filtered, delivered, superseded, dead_letters } = ledger;
        let missing = ledger.open();
        json!({
            "pipeline": pipeline, "sink": sink, "read": read, "filtered": filtered,
            "delivered": delivered, "superseded": superseded, "dead_letters": dead_letters,
            "missing": missing,
        })
        .to_string()
    };
    sinks.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn table(sinks: &Sinks) -> String {
    let heads = ["READ", "FILTERED", "DELIVERED", "SUPERSEDED", "LETTERS", "MISSING"];
    let mut out = String::new();
    let mut row = |pipeline: &str, sink: &str, cells: [String; 6]| {
        // Writing to a string never fails.
        write!(out, "{pipeline:16}  {sink:16}").ok();
        for cell in &cells {
            write!(out, "  {cell:>12}").ok();
        }
        out.push('\n');
    };
    row("PIPELINE", "SINK", heads.map(str::to_owned));
    for ((pipeline, sink), ledger) in sinks {
        let Ledger { read, filtered, delivered, superseded, dead_letters } = ledger;
        let cells = [read, filtered, delivered, superseded, dead_letters].map(u64::to_string);
        let [read, filtered, delivered, superseded, letters] = cells;
        let missing = ledger.open().to_string();
        row(pipeline, sink, [read, filtered, delivered, superseded, letters, missing]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Ledger, lines, table};

    #[test]
    fn each_sink_is_a_row() {
        let ledger =
            Ledger { read: 1000, filtered: 1, delivered: 990, superseded: 5, dead_letters: 3 };
        let sinks = [(("orders".to_owned(), "copies".to_owned()), ledger)].into();
        insta::assert_snapshot!(table(&sinks), @r"
        PIPELINE          SINK                      READ      FILTERED     DELIVERED    SUPERSEDED       LETTERS       MISSING
        orders            copies                    1000             1           990             5             3             1
        ");
        insta::assert_snapshot!(lines(&sinks), @r#"{"dead_letters":3,"delivered":990,"filtered":1,"missing":1,"pipeline":"orders","read":1000,"sink":"copies","superseded":5}"#);
    }
}
