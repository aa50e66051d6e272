//! From the text of the file to the checked configuration.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path as FilePath;

use cosmos_bridge_options::{ConfigText, Kind, Problem, Problems, Value, table};
use toml::de::{DeTable, DeValue};

use super::{Config, rules};

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
    let text = String::from_utf8(bytes).map_err(|error| {
        let read = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let read = String::from_utf8_lossy(read);
        let line = 1 + read.matches('\n').count();
        let message = "the file is not text in UTF-8".to_owned();
        let mut problems = Problems::of_file(&name, message, "Save it in UTF-8.");
        problems.problems.iter_mut().for_each(|problem| problem.line = Some(line));
        problems
    })?;
    let base_dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => FilePath::new("."),
    };
    parse(&name, &text, base_dir)
}

/// Checks the text of a file that is called `name`; relative paths in it begin at `base_dir`.
pub fn parse(name: &str, text: &str, base_dir: &FilePath) -> Result<Config, Problems> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut problems = invalid_toml(text, &errors);
    // What follows a syntax error may have been read as something else. A duplicate is only left out.
    if errors.iter().any(|error| error.message() != DUPLICATE) {
        return Err(Problems { name: name.to_owned(), problems });
    }
    let root = DeValue::Table(root.into_inner());
    let file = ConfigText::new(text, base_dir, names(&root));
    let root = Value::root(&file, &root);
    let config = table::<Config>().read(&root);
    rules::check(&root, name);
    problems.extend(file.into_problems());
    problems.sort_by_key(|problem| problem.line);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems { name: name.to_owned(), problems }),
    }
}

/// What the parser says of a key that is written twice.
const DUPLICATE: &str = "duplicate key";

/// The errors of TOML, each with its line: of a line the first, because one mistake can have several errors.
/// The text of an error shows the line, which may hold a secret, and so is not used.
fn invalid_toml(text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    /// More than a person corrects before the next check; a file that is not TOML has an error in each line.
    const MOST: usize = 20;
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let problem = |error: &toml::de::Error| {
        let (span, message) = (error.span(), error.message());
        let line = match &span {
            Some(span) => Some(1 + ends.partition_point(|end| *end < span.start)),
            None => line_of(text, message),
        };
        let written = span.and_then(|span| text.get(span)).unwrap_or_default();
        let message = match message {
            DUPLICATE => format!("`{written}` is written twice"),
            message => format!("invalid TOML: {message}"),
        };
        Problem { line, message, ..Problem::default() }
    };
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map_or(usize::MAX, |span| span.start));
    // Those without a place are about the text as a whole.
    errors.dedup_by(|one, other| one.span().is_none() && other.span().is_none());
    let mut problems: Vec<_> = errors.into_iter().map(problem).collect();
    if problems.iter().any(|problem| problem.line.is_some()) {
        problems.retain(|problem| problem.line.is_some());
    }
    problems.sort_by_key(|problem| problem.line);
    problems.dedup_by_key(|problem| problem.line);
    problems.truncate(MOST);
    problems
}

/// The line of an error that has no place, such as that of text that nests too deep: the first one up to
/// which the text has the same error.
fn line_of(text: &str, message: &str) -> Option<usize> {
    let ends: Vec<usize> = text
        .split_inclusive('\n')
        .scan(0, |end, line| {
            *end += line.len();
            Some(*end)
        })
        .collect();
    let fails = |end: &usize| {
        let read = text.get(..*end).map(DeTable::parse_recoverable);
        read.is_some_and(|(_, errors)| errors.iter().any(|error| error.message() == message))
    };
    let before = ends.partition_point(|end| !fails(end));
    (before < ends.len()).then_some(before + 1)
}

/// The names that options refer to, whether or not their tables can be read.
fn names(root: &DeValue<'_>) -> BTreeMap<&'static str, Vec<String>> {
    let below = |value: &DeValue<'_>| -> Vec<String> {
        value.as_table().into_iter().flat_map(DeTable::keys).map(ToString::to_string).collect()
    };
    let table = |name: &str| root.as_table().and_then(|root| root.get(name));
    let named = |name: &str| table(name).map(|table| below(table.get_ref())).unwrap_or_default();
    let types = table("sinks").and_then(|sinks| sinks.get_ref().as_table());
    let sinks = types.into_iter().flat_map(DeTable::values);
    let sinks = sinks.flat_map(|sinks| below(sinks.get_ref())).collect();
    BTreeMap::from([
        ("account", named("accounts")),
        ("credential", named("credentials")),
        ("sink", sinks),
    ])
}
