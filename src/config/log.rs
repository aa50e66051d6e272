//! `[log]`.

use std::time::Duration;

use cosmos_bridge_options::{Kind, choice, closest, duration, options, text_of};
use tracing_subscriber::EnvFilter;

options! {
    /// What is logged.
    pub struct Log {
        /// error, warn, info, debug or trace; also per module: "warn,cosmos_bridge=debug".
        // What an operator must know, and nothing per document.
        level: String = "info", level();
        /// "text" for people, "json" for collectors.
        format: LogFormat = "text", choice(vec![("text", LogFormat::Text), ("json", LogFormat::Json)]);
        /// Operations of an account that take longer are logged, with each attempt of the client library:
        /// one line at growing intervals.
        // Ten times what a request to a far region takes, and less than any time limit. Below 10 ms
        // everything is slow.
        slow: Duration = "3s", duration(Duration::from_millis(10)..=Duration::from_mins(10));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

fn level() -> impl Kind<Output = String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    text_of("a level, or a filter", |value, text| {
        for directive in text.split(',').map(str::trim) {
            // A filter takes a bare word for a module and shows everything of it, which is never meant.
            let level = directive.rsplit('=').next().unwrap_or_default();
            if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
                let hint = closest(level, &LEVELS).map_or_else(
                    || "The levels are error, warn, info, debug and trace.".to_owned(),
                    |level| format!("Did you mean `{level}`?"),
                );
                value.problem(format!("unknown level `{level}`"), hint);
                return None;
            }
        }
        if EnvFilter::builder().parse(&text).is_err() {
            value.problem("invalid filter", "Write it like \"warn,cosmos_bridge=debug\".");
            return None;
        }
        Some(text)
    })
}
