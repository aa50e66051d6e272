//! The command line of `cosmos-bridge backfill`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::error::BackfillError;
use crate::app::BackfillRequest;
use crate::config::{Config, parse_filter};

/// What is sent again.
#[derive(Debug, Args)]
pub struct BackfillArguments {
    /// The configuration file.
    #[arg(short, long, default_value = "config.toml")]
    pub config: PathBuf,
    /// The pipeline whose source is read and whose routes are used. Not needed if there is only one.
    #[arg(long)]
    pub(super) pipeline: Option<String>,
    /// Send only to this sink; without it, to all sinks of the pipeline.
    #[arg(long)]
    pub(super) sink: Option<String>,
    /// Documents whose last change was committed at this time, 2026-01-31T00:00:00Z, or later; or within a
    /// duration, 2h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) from: Option<Timestamp>,
    /// Documents whose last change was committed before this time, 2026-01-31T00:00:00Z, or longer ago than a
    /// duration, 2h. What is committed after the command has begun is left to the running bridge.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) to: Option<Timestamp>,
    /// Documents that fulfil a condition, written like `where` of a route:
    /// '{ path = "/status", equals = "paid" }'.
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) condition: Option<String>,
    /// Count, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl BackfillArguments {
    /// # Errors
    ///
    /// What is asked for is not in the configuration, or cannot be done. It lists all problems.
    pub(super) fn request(&self, config: &Config) -> Result<BackfillRequest, BackfillError> {
        let mut problems = Vec::new();
        let pipeline = self.pipeline_of(config).map_err(|problem| problems.push(problem)).ok();
        if let (Some(sink), Some(pipeline)) = (&self.sink, &pipeline) {
            let routes = &config.pipelines[pipeline].routes;
            let mut sinks: Vec<_> = routes.iter().map(|route| route.to.as_str()).collect();
            sinks.dedup();
            if !sinks.contains(&sink.as_str()) {
                let sinks = names(&sinks);
                problems.push(format!(
                    "`--sink {sink}`: pipeline `{pipeline}` has no route to such a sink; it has routes to {sinks}"
                ));
            }
        }
        let (from, to) = (self.from, self.to);
        if let Some((from, to)) = from.zip(to).filter(|(from, to)| from >= to) {
            problems.push(format!("`--from {from}` is not before `--to {to}`"));
        }
        if let Some(from) = from.filter(|from| *from > Timestamp::now()) {
            problems.push(format!("`--from {from}` is in the future"));
        }
        let condition = self.condition.as_ref().map(|text| parse_filter("--where", text));
        let condition = condition.transpose().map_err(|error| {
            problems.push(error.to_string().trim_end().to_owned());
        });
        match (pipeline, condition) {
            (Some(pipeline), Ok(condition)) if problems.is_empty() => {
                Ok(BackfillRequest { pipeline, sink: self.sink.clone(), from, to, condition })
            }
            _ => Err(BackfillError::Usage(problems)),
        }
    }

    fn pipeline_of(&self, config: &Config) -> Result<String, String> {
        let known: Vec<_> = config.pipelines.keys().map(String::as_str).collect();
        match (&self.pipeline, known.as_slice()) {
            (Some(name), _) if config.pipelines.contains_key(name) => Ok(name.clone()),
            (None, [only]) => Ok((*only).to_owned()),
            (Some(name), _) => Err(format!(
                "`--pipeline {name}`: the configuration has no such pipeline; it has {}",
                names(&known)
            )),
            (None, _) => {
                Err(format!("`--pipeline` is missing; the configuration has {}", names(&known)))
            }
        }
    }
}

fn names(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        if time.subsec_nanosecond() != 0 {
            return Err("the service knows commit times in whole seconds".to_owned());
        }
        if time < Timestamp::UNIX_EPOCH {
            return Err("the time is before 1970".to_owned());
        }
        return Ok(time);
    }
    let within: Duration = humantime::parse_duration(text)
        .map_err(|_| "neither a time with its offset nor a duration".to_owned())?;
    let within = SignedDuration::try_from(within).map_err(|error| error.to_string())?;
    let at = Timestamp::now().checked_sub(within).map_err(|error| error.to_string())?;
    Timestamp::from_second(at.as_second().max(0)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use jiff::Timestamp;

    use super::{BackfillArguments, time};
    use crate::config::{self, Filter};

    const CONFIG: &str = r#"
[accounts.source]
endpoint = "http://127.0.0.1:1"
key = { file = "source.key" }
[sinks.file.lines]
path = "lines.jsonl"
[sinks.file.other]
path = "other.jsonl"
[pipelines.orders]
[pipelines.orders.source]
account = "source"
database = "shop"
container = "orders"
start = "beginning"
[[pipelines.orders.routes]]
to = "lines"
"#;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: BackfillArguments,
    }

    /// Of the configuration with one pipeline, or with two.
    fn configuration(both: bool) -> config::Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bridge.toml");
        let second = CONFIG.split_once("[pipelines.orders]").unwrap().1;
        let second = format!("[pipelines.orders]{second}").replace("orders", "second");
        let text = if both { format!("{CONFIG}{second}") } else { CONFIG.to_owned() };
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("source.key"), "a2V5").unwrap();
        config::load(&file).unwrap()
    }

    #[test]
    fn everything_that_is_wrong_is_told_together() {
        let asked = |both: bool, line: &str| {
            let words = std::iter::once("backfill").chain(line.split_terminator('|'));
            let line = Line::try_parse_from(words).unwrap();
            line.arguments.request(&configuration(both)).map_err(|error| error.to_string())
        };
        let all = asked(false, "").unwrap();
        assert_eq!((all.pipeline.as_str(), all.sink, all.from), ("orders", None, None));
        let line =
            "--sink|lines|--where|{ path = \"/a\", exists = true }|--from|2026-01-01T00:00:00Z";
        let some = asked(false, line).unwrap();
        assert!(matches!(some.condition, Some(Filter::Exists(_, true))));
        assert_eq!(some.from, "2026-01-01T00:00:00Z".parse().ok());
        let missing = asked(true, "").unwrap_err();
        assert!(
            missing.contains("it has") || missing.contains("has `orders`, `second`"),
            "{missing}"
        );
        assert_eq!(asked(true, "--pipeline|second").unwrap().pipeline, "second");
        assert!(asked(false, "--pipeline|order").unwrap_err().contains("no such pipeline"));
        // A sink of the configuration that the pipeline has no route to.
        let from = "--from|2026-01-02T00:00:00Z|--to|2026-01-01T00:00:00Z";
        let wrong = asked(false, &format!("--sink|other|{from}|--where|{{}}")).unwrap_err();
        for problem in ["routes to `lines`", "is not before `--to", "the condition is missing"] {
            assert!(wrong.contains(problem), "{wrong}");
        }
        assert!(asked(false, "--from|2999-01-01T00:00:00Z").unwrap_err().contains("in the future"));
    }

    #[test]
    fn a_time_has_whole_seconds_or_is_a_duration() {
        let at: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(time("2026-01-31T00:00:00Z"), Ok(at));
        assert_eq!(time("2026-01-31T01:00:00+01:00"), Ok(at));
        let ago = time("2h").unwrap();
        assert_eq!(ago.subsec_nanosecond(), 0);
        assert!((7199..7260).contains(&Timestamp::now().duration_since(ago).as_secs()));
        for text in
            ["", "yesterday", "2026-01-31", "2026-01-31T00:00:00.5Z", "1969-01-01T00:00:00Z"]
        {
            time(text).unwrap_err();
        }
    }
}
