//! What the names of sinks refer to: stored at the start, and refused if it has changed.

use tracing::{info, warn};

use crate::config::Config;
use crate::state::{Settled, TargetChoice, TargetUse};

/// What the operator chose for sinks whose names refer to another target, from the command line.
#[derive(Clone, Debug, Default)]
pub struct TargetChoices(Vec<(String, TargetChoice)>);

/// Why choices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    #[error("`{flag} {sink}`: the configuration has no such sink")]
    Unknown { flag: &'static str, sink: String, known: Vec<String> },
    #[error("`--start-over {sink}` and `--adopt {sink}` exclude each other")]
    Both { sink: String },
}

impl ChoiceError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unknown { known, .. } => format!("The sinks are {}.", known.join(", ")),
            Self::Both { .. } => {
                "Keep one of them: start over copies everything again, adopt keeps the positions."
                    .to_owned()
            }
        }
    }
}

fn flag(choice: TargetChoice) -> &'static str {
    match choice {
        TargetChoice::StartOver => "--start-over",
        TargetChoice::Adopt => "--adopt",
    }
}

impl TargetChoices {
    /// # Errors
    ///
    /// A name is not that of a sink, or has both choices.
    pub fn new(
        start_over: Vec<String>,
        adopt: Vec<String>,
        config: &Config,
    ) -> Result<Self, ChoiceError> {
        if let Some(sink) = start_over.iter().find(|sink| adopt.contains(sink)) {
            return Err(ChoiceError::Both { sink: sink.clone() });
        }
        let with = |choice| move |sink| (sink, choice);
        let choices = start_over.into_iter().map(with(TargetChoice::StartOver));
        let choices: Vec<_> =
            choices.chain(adopt.into_iter().map(with(TargetChoice::Adopt))).collect();
        match choices.iter().find(|(sink, _)| !config.sinks.contains_key(sink)) {
            Some((sink, choice)) => {
                let known = config.sinks.keys().map(|name| format!("`{name}`")).collect();
                Err(ChoiceError::Unknown { flag: flag(*choice), sink: sink.clone(), known })
            }
            None => Ok(Self(choices)),
        }
    }

    pub(super) fn of(&self, sink: &str) -> Option<TargetChoice> {
        self.0.iter().find(|(name, _)| name == sink).map(|(_, choice)| *choice)
    }
}

/// Logs what was done about a sink at the start.
pub(super) fn report(target_use: &TargetUse, choice: Option<TargetChoice>, settled: Settled) {
    let TargetUse { pipeline, sink, target } = target_use;
    match settled {
        Settled::New | Settled::Unchanged(_) | Settled::Refused(_) => {}
        Settled::Recorded => {
            info!(pipeline, sink, %target, "took note of what the sink's name refers to");
        }
        Settled::Changed(TargetChoice::StartOver) => {
            warn!(pipeline, sink, %target, "the sink starts over: its positions are forgotten");
        }
        Settled::Changed(TargetChoice::Adopt) => {
            warn!(pipeline, sink, %target, "the sink keeps its positions for another target");
        }
    }
    if let Some(choice) = choice
        && !matches!(settled, Settled::Changed(_))
    {
        let flag = flag(choice);
        info!(pipeline, sink, flag, "not needed: the sink has no positions for another target");
    }
}

#[cfg(test)]
mod tests {
    use super::{ChoiceError, TargetChoices};
    use crate::config;
    use crate::state::TargetChoice;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn choices_are_for_sinks_of_the_configuration_and_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bridge.toml");
        std::fs::write(&file, CONFIG).unwrap();
        std::fs::write(folder.path().join("source.key"), "a2V5").unwrap();
        let config = config::load(&file).unwrap();
        let choices = |start_over: &[&str], adopt: &[&str]| {
            TargetChoices::new(names(start_over), names(adopt), &config)
        };
        let one = choices(&["lines"], &[]).unwrap();
        assert_eq!(one.of("lines"), Some(TargetChoice::StartOver));
        assert_eq!(one.of("other"), None);
        assert_eq!(choices(&[], &["lines"]).unwrap().of("lines"), Some(TargetChoice::Adopt));
        let both = choices(&["lines"], &["lines"]).unwrap_err();
        assert!(matches!(both, ChoiceError::Both { .. }), "{both}");
        let unknown = choices(&[], &["lines", "line"]).unwrap_err();
        assert_eq!(unknown.to_string(), "`--adopt line`: the configuration has no such sink");
        assert_eq!(unknown.hint(), "The sinks are `lines`.");
    }

    const CONFIG: &str = r#"
[accounts.source]
endpoint = "http://127.0.0.1:1"
key = { file = "source.key" }
[sinks.file.lines]
path = "lines.jsonl"
[pipelines.orders]
[pipelines.orders.source]
account = "source"
database = "shop"
container = "orders"
mode = "latest-version"
start = "beginning"
[[pipelines.orders.routes]]
to = "lines"
"#;
}
