//! The problems of a configuration file, each with its place and a hint.

use std::fmt;

/// Every problem of one file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The file's name, as given on the command line.
    pub name: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing to correct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// Counted from one; `None` if the problem has no position in the file.
    pub line: Option<usize>,
    /// The dotted path, `pipelines.orders.routes[0].to`; empty for the file as a whole.
    pub key: String,
    /// The value as written; `None` if there is no value to show.
    pub value: Option<String>,
    /// A lower-case fragment without a final period.
    pub message: String,
    /// Whole sentences.
    pub hint: Option<String>,
}

impl Problems {
    /// A problem of the file as a whole.
    pub fn of_file(name: &str, message: String, hint: &str) -> Self {
        let problem = Problem { message, hint: Some(hint.to_owned()), ..Problem::default() };
        Self { name: name.to_owned(), problems: vec![problem] }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.problems.len() == 1 { "" } else { "s" };
        writeln!(f, "{}: {} problem{plural}", self.name, self.problems.len())?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match (self.line, self.key.as_str()) {
            (Some(line), "") => format!("line {line}"),
            (Some(line), key) => format!("line {line}: {key}"),
            (None, key) => key.to_owned(),
        };
        match &self.value {
            _ if place.is_empty() => {}
            Some(value) => writeln!(f, "  {place} = {value}")?,
            None => writeln!(f, "  {place}")?,
        }
        writeln!(f, "    {}", self.message)?;
        match &self.hint {
            Some(hint) => writeln!(f, "    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A hint for an unknown name: a similar known name, or all known names.
pub fn meant(written: &str, names: &[&str], what: &str) -> String {
    match (closest(written, names), names) {
        (Some(name), _) => format!("Did you mean `{name}`?"),
        (None, []) => format!("There are no {what}s."),
        (None, [name]) => format!("The only {what} is `{name}`."),
        (None, [first @ .., last]) => {
            let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
            format!("The {what}s are {} and `{last}`.", first.join(", "))
        }
    }
}

/// The known name that is similar enough to be what was meant.
pub fn closest<'n>(written: &str, names: &[&'n str]) -> Option<&'n str> {
    /// Lets `evnts` find `events` and keeps `orders` from finding `folders_old`.
    const ALIKE: f64 = 0.7;
    names
        .iter()
        .map(|name| {
            let alike = strsim::normalized_damerau_levenshtein(
                &written.to_ascii_lowercase(),
                &name.to_ascii_lowercase(),
            );
            (alike, *name)
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
