//! The command line of `cosmos-bridge dlq`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::model::{HASH_DIGITS, Stage};
use crate::state::LetterFilter;

/// A subcommand of `dlq`.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// List dead letters, without their documents. Works while the bridge runs.
    List {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        filter: FilterArguments,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        /// Count the letters of each cause instead.
        #[arg(long)]
        summary: bool,
    },
    /// Show one dead letter with its document. Works while the bridge runs.
    Show {
        /// The number of the letter, as `list` shows it, or the hash of its document, as the log has it.
        #[arg(value_parser = letter)]
        letter: LetterName,
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// Write dead letters again, with the routes of the current configuration. The bridge must be
    /// stopped. Letters of which the source holds a newer version are removed, because the feed
    /// delivers that.
    Replay {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        filter: FilterArguments,
    },
    /// Remove dead letters without writing them. The bridge must be stopped.
    Discard {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        filter: FilterArguments,
        /// Remove all dead letters; required without a filter.
        #[arg(long)]
        all: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Write dead letters with their documents as JSON, one per line. Works while the bridge runs.
    Export {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        filter: FilterArguments,
        /// The file, which must not exist; standard output if it is not given.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct ConfigArgument {
    /// The configuration file.
    #[arg(short, long, default_value = "config.toml")]
    pub config: PathBuf,
}

impl DlqCommand {
    /// The configuration file.
    pub fn config(&self) -> &PathBuf {
        match self {
            Self::List { config, .. }
            | Self::Show { config, .. }
            | Self::Replay { config, .. }
            | Self::Discard { config, .. }
            | Self::Export { config, .. } => &config.config,
        }
    }
}

/// What `show` is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterName {
    Number(i64),
    /// All letters of one document.
    Document(String),
}

impl fmt::Display for LetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "with the number {number}"),
            Self::Document(hash) => write!(f, "of a document with the hash {hash}"),
        }
    }
}

/// Which dead letters are meant: those that all given filters hold for.
#[derive(Debug, Args)]
pub struct FilterArguments {
    /// Of this pipeline.
    #[arg(long)]
    pipeline: Option<String>,
    /// For this sink.
    #[arg(long)]
    sink: Option<String>,
    /// That failed at this stage.
    #[arg(long)]
    stage: Option<StageArgument>,
    /// Of documents with this id in the source.
    #[arg(long)]
    id: Option<String>,
    /// Of the document with this hash, as the log has it.
    #[arg(long, value_name = "HASH", value_parser = hash)]
    document: Option<String>,
    /// Whose cause contains this text.
    #[arg(long)]
    cause: Option<String>,
    /// Stored since a time, 2026-01-31T00:00:00Z, or within a duration, 2h.
    #[arg(long, value_parser = since)]
    since: Option<Timestamp>,
    /// The largest number of letters, the first that were stored.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StageArgument {
    Read,
    Route,
    Sink,
}

impl FilterArguments {
    pub(super) fn filter(&self) -> LetterFilter {
        let stage = self.stage.map(|stage| match stage {
            StageArgument::Read => Stage::Read,
            StageArgument::Route => Stage::Route,
            StageArgument::Sink => Stage::Sink,
        });
        LetterFilter {
            number: None,
            pipeline: self.pipeline.clone(),
            sink: self.sink.clone(),
            stage,
            id: self.id.clone(),
            document: self.document.clone(),
            cause: self.cause.clone(),
            since: self.since.map(|since| since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            after: None,
            up_to: None,
            limit: self.limit,
        }
    }
}

fn letter(text: &str) -> Result<LetterName, String> {
    let number = text.parse().ok().filter(|_| text.len() < HASH_DIGITS).map(LetterName::Number);
    let document = || hash(text).ok().map(LetterName::Document);
    number.or_else(document).ok_or_else(|| {
        format!("neither the number of a letter nor a hash of {HASH_DIGITS} hexadecimal digits")
    })
}

fn hash(text: &str) -> Result<String, String> {
    let is_hash = text.len() == HASH_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash
        .then(|| text.to_ascii_lowercase())
        .ok_or_else(|| format!("no hash: {HASH_DIGITS} hexadecimal digits are expected"))
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let within: Duration = humantime::parse_duration(text)
        .map_err(|_| "neither a time with its offset nor a duration".to_owned())?;
    let within = jiff::SignedDuration::try_from(within).map_err(|error| error.to_string())?;
    Timestamp::now().checked_sub(within).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{LetterName, letter, since};

    #[test]
    fn a_letter_is_named_by_its_number_or_by_the_hash_of_its_document() {
        let document = |hash: &str| LetterName::Document(hash.to_owned());
        assert_eq!(letter("77"), Ok(LetterName::Number(77)));
        assert_eq!(letter("0123456789ab"), Ok(document("0123456789ab")));
        assert_eq!(letter("0123456789AB"), Ok(document("0123456789ab")));
        assert_eq!(letter("123456789012"), Ok(document("123456789012")));
        for text in ["", "x", "0123456789a", "0123456789abc", "1.5"] {
            letter(text).unwrap_err();
        }
    }

    #[test]
    fn since_is_a_time_or_a_duration() {
        let time: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(since("2026-01-31T00:00:00Z"), Ok(time));
        assert_eq!(since("2026-01-31T01:00:00+01:00"), Ok(time));
        let ago = Timestamp::now().duration_since(since("2h").unwrap()).as_secs();
        assert!((7199..7260).contains(&ago), "{ago}");
        for text in ["", "yesterday", "2026-01-31", "2"] {
            since(text).unwrap_err();
        }
    }
}
