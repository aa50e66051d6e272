//! From the text of the file to the checked configuration.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path as FilePath, PathBuf};

use toml::de::{DeTable, DeValue};
use tracing_subscriber::EnvFilter;

use super::problem::{Problem, Problems, closest};
use super::reader::{Options, Page, Value};
use super::rules::{Known, state_file};
use super::table::Table;
use super::{
    Config, Log, LogFormat, Mask, Pipeline, State, accounts, admin, credentials, defaults,
    pipelines, sinks, traces,
};

/// Reads and checks the file, secrets included.
pub fn load(path: &FilePath) -> Result<Config, Problems> {
    /// Far more than any person writes; a device that never ends must.
    const MOST_BYTES: u64 = 1024 * 1024;
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let message = format!("the file cannot be read: {error}");
        return Err(Problems::of_file(&name, message, "Start from config.toml.example."));
    }
    if bytes.len() as u64 > MOST_BYTES {
        let hint = "A configuration has at most 1 MiB.";
        return Err(Problems::of_file(&name, "the file is too long".to_owned(), hint));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        let message = "the file is not text in UTF-8".to_owned();
        return Err(Problems::of_file(&name, message, "Save it in UTF-8."));
    };
    let base_dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => FilePath::new("."),
    };
    parse(&name, &text, base_dir)
}

/// Checks the text of a file that is called `name`; relative paths in it begin at `base_dir`.
pub fn parse(name: &str, text: &str, base_dir: &FilePath) -> Result<Config, Problems> {
    parse_recording(name, text, base_dir).0
}

/// [`parse`], and which options there are and which were written.
pub fn parse_recording(
    name: &str,
    text: &str,
    base_dir: &FilePath,
) -> (Result<Config, Problems>, Options) {
    let page = Page {
        text,
        base_dir,
        problems: RefCell::default(),
        options: RefCell::default(),
        credentials: RefCell::default(),
    };
    let config = match DeTable::parse(text) {
        Ok(table) => file(&Value::root(&page, &DeValue::Table(table.into_inner())), name),
        Err(error) => {
            // The error's own display shows the line, which may hold a secret.
            let line = error.span().map(|span| page.line(span.start));
            let written = error.span().and_then(|span| text.get(span)).unwrap_or_default();
            let message = match error.message() {
                "duplicate key" => format!("`{written}` is written twice"),
                message => format!("this is no TOML: {message}"),
            };
            page.report(Problem { line, message, ..Problem::default() });
            None
        }
    };
    let mut problems = page.problems.into_inner();
    problems.sort_by_key(|problem| problem.line);
    let result = match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems { name: name.to_owned(), problems }),
    };
    (result, page.options.into_inner())
}

fn file(root: &Value<'_>, name: &str) -> Option<Config> {
    let table = root.table("a table", "")?;
    let credentials =
        table.get("credentials").map(|value| accounts::names(&value)).unwrap_or_default();
    accounts::distinct(credentials.iter(), "");
    let credential_names: Vec<&str> = credentials.iter().map(|(name, _)| *name).collect();
    root.page.credentials.replace(credential_names.iter().map(|&name| name.to_owned()).collect());
    let credentials: Vec<_> =
        credentials.iter().map(|(name, value)| (*name, credentials::credential(value))).collect();
    let accounts = table.get("accounts").map(|value| accounts::names(&value)).unwrap_or_default();
    accounts::distinct(accounts.iter(), "");
    let sinks = table.get("sinks").map(|value| sinks::entries(&value)).unwrap_or_default();
    let named: Vec<_> = sinks.iter().map(|entry| (entry.name, entry.value.clone())).collect();
    accounts::distinct(named.iter(), ": positions are kept by the name of the sink");
    let pipelines = pipelines_of(&table);
    accounts::distinct(pipelines.iter(), ": positions are kept by the name of the pipeline");
    let account_names: Vec<&str> = accounts.iter().map(|(name, _)| *name).collect();
    let sink_names: Vec<&str> = sinks.iter().map(|entry| entry.name).collect();

    let accounts: Vec<_> = accounts
        .iter()
        .map(|(name, value)| (*name, accounts::account(value, &credential_names)))
        .collect();
    let sinks: Vec<_> = sinks
        .iter()
        .map(|entry| (entry.name, sinks::sink(entry, &account_names, &credential_names)))
        .collect();
    let known = Known {
        addresses: accounts.iter().map(|(name, read)| (*name, read.address.clone())).collect(),
        sinks: sinks.iter().map(|(name, read)| (*name, read.place.clone())).collect(),
    };
    let pipelines: Vec<_> = pipelines
        .iter()
        .map(|(name, value)| {
            let read = pipelines::pipeline(value, &account_names, &sink_names);
            known.containers(&read);
            (*name, read)
        })
        .collect();
    let sources = pipelines.iter().map(|(_, read)| (read.from.as_ref(), read.spending.as_ref()));
    known.shared(sources, "read");
    let targets = sinks.iter().map(|(_, read)| (read.place.as_ref(), read.spending.as_ref()));
    known.shared(targets, "write to");
    let log = log(&table);
    let stop_within =
        table.or("stop_within", defaults::STOP_WITHIN, |value| value.duration(&defaults::STOPS));
    let admin = admin::admin(&table);
    let traces = traces::traces(&table);
    let state = state(&table);
    if let Some((state, written)) = &state {
        let name = FilePath::new(name).file_name().unwrap_or_default();
        let mut needed = vec![(root.page.base_dir.join(name), "the configuration itself")];
        needed.extend(accounts.iter().filter_map(|(_, read)| {
            Some((read.secret_file.clone()?, "the file of an account's secret"))
        }));
        let secrets = credentials.iter().filter_map(|(_, read)| read.as_ref()?.secret()?.file());
        needed.extend(secrets.map(|file| (file.clone(), "the file of a credential's secret")));
        let secrets = sinks.iter().flat_map(|(_, read)| &read.secrets);
        needed
            .extend(secrets.filter_map(|secret| {
                Some((secret.file()?.clone(), "the file of a sink's secret"))
            }));
        let token = admin.iter().flatten().filter_map(|admin| admin.token.as_ref()?.file());
        needed.extend(token.map(|file| (file.clone(), "the file of the admin address's token")));
        let headers = traces.iter().flatten().flat_map(traces::Traces::secrets);
        needed.extend(headers.filter_map(|secret| {
            Some((secret.file()?.clone(), "the file of a secret of the traces"))
        }));
        needed.extend(
            pipelines.iter().filter_map(|(_, read)| read.pipeline.as_ref()).flat_map(salt_files),
        );
        let default = root.keyed("state.file".to_owned());
        state_file(&state.file, written.as_ref().unwrap_or(&default), &needed);
    }
    table.finish();
    Some(Config {
        state: state?.0,
        credentials: all(credentials.into_iter())?,
        accounts: all(accounts.into_iter().map(|(name, read)| (name, read.account)))?,
        sinks: all(sinks.into_iter().map(|(name, read)| (name, read.sink)))?,
        pipelines: all(pipelines.into_iter().map(|(name, read)| (name, read.pipeline)))?,
        log: log?,
        admin: admin?,
        traces: traces?,
        stop_within: stop_within?,
    })
}

fn salt_files(pipeline: &Pipeline) -> impl Iterator<Item = (PathBuf, &'static str)> {
    let masks = pipeline.routes.iter().flat_map(|route| &route.mask);
    masks.filter_map(|(_, mask)| match mask {
        Mask::Sha256 { salt } => Some((salt.file()?.clone(), "the file of a salt")),
        Mask::Text(_) => None,
    })
}

fn all<'n, T>(entries: impl Iterator<Item = (&'n str, Option<T>)>) -> Option<BTreeMap<String, T>> {
    entries.map(|(name, entry)| Some((name.to_owned(), entry?))).collect()
}

fn pipelines_of<'d>(table: &Table<'d>) -> Vec<(&'d str, Value<'d>)> {
    const HINT: &str = "Write [pipelines.NAME.source] and [[pipelines.NAME.routes]].";
    let Some(value) = table.required("pipelines", HINT) else { return Vec::new() };
    let pipelines = accounts::names(&value);
    if pipelines.is_empty() && value.node.is_table() {
        value.problem_unshown("there is no pipeline", HINT);
    }
    pipelines
}

fn state<'d>(root: &Table<'d>) -> Option<(State, Option<Value<'d>>)> {
    let default = root.value().page.base_dir.join(defaults::STATE_FILE);
    let Some(value) = root.get("state") else { return Some((State { file: default }, None)) };
    let table = value.table("a table", "Write [state] and in it file = \"PATH\".")?;
    let written = table.get("file");
    let file = written.as_ref().map_or(Some(default), Value::file);
    table.finish();
    Some((State { file: file? }, written))
}

fn log(root: &Table<'_>) -> Option<Log> {
    let level = || defaults::LOG_LEVEL.to_owned();
    let Some(value) = root.get("log") else {
        let slow = defaults::SLOW;
        return Some(Log { level: level(), format: LogFormat::Text, slow });
    };
    let table = value.table("a table", "Write [log] and in it level = \"info\".")?;
    let level = table.or("level", level(), log_level);
    let format = table.or("format", LogFormat::Text, |format| {
        format.choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    let slow = table.or("slow", defaults::SLOW, |slow| slow.duration(&defaults::SLOWNESS));
    table.finish();
    Some(Log { level: level?, format: format?, slow: slow? })
}

fn log_level(value: &Value<'_>) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = value.filled()?;
    for directive in text.split(',').map(str::trim) {
        // A filter takes a bare word for a module and shows everything of it; nobody means that.
        let level = directive.rsplit('=').next().unwrap_or_default();
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            let hint = closest(level, &LEVELS).map_or_else(
                || "The levels are error, warn, info, debug and trace.".to_owned(),
                |level| format!("Did you mean `{level}`?"),
            );
            value.problem(format!("there is no level `{level}`"), hint);
            return None;
        }
    }
    if EnvFilter::builder().parse(&text).is_err() {
        value.problem("this is no filter", "Write it like \"warn,cosmos_bridge=debug\".");
        return None;
    }
    Some(text)
}
