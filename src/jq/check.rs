//! Why an expression cannot be used, in words.

use jaq_core::compile;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::Term;
use jaq_core::load::{self, lex};

use super::depth::children;
use super::patterns::Pattern;

/// Filters that depend on more than the document: an answer that depends on the clock or the environment
/// is not repeatable, and a route neither prints nor ends the process. `localtime` depends on the
/// machine's time zone.
pub(super) const IMPURE: [&str; 14] = [
    "debug",
    "debug_empty",
    "env",
    "halt",
    "halt_error",
    "input",
    "input_filename",
    "inputs",
    "localtime",
    "now",
    "stderr",
    "stderr_empty",
    "strflocaltime",
    "$ENV",
];

/// Filters whose first argument is a regular expression.
const WITH_PATTERN: [&str; 8] =
    ["test", "match", "capture", "scan", "split", "splits", "sub", "gsub"];

/// A regular expression that is written out and cannot be used. Others are found when they are run.
pub(super) fn pattern_problem(term: &Term<&str>) -> Option<String> {
    problem_in(term, &mut Vec::new())
}

/// `defined`: names that the expression itself defines around this term.
fn problem_in<'s>(term: &Term<&'s str>, defined: &mut Vec<&'s str>) -> Option<String> {
    if let Term::Def(definitions, _) = term {
        defined.extend(definitions.iter().map(|definition| definition.name));
    }
    let own = match term {
        // `split` with one argument splits at a text.
        Term::Call(name, arguments) if (*name, arguments.len()) != ("split", 1) => {
            let is_ours = WITH_PATTERN.contains(name) && !defined.contains(name);
            let pattern = arguments.first().filter(|_| is_ours);
            let flags = arguments.get(if matches!(*name, "sub" | "gsub") { 2 } else { 1 });
            let flags = flags.map_or(Some(String::new()), text_of).unwrap_or_default();
            pattern.and_then(text_of).and_then(|pattern| {
                let error = Pattern::new(&pattern, &flags).err()?;
                Some(format!("the regular expression `{pattern}` cannot be used: {error}"))
            })
        }
        _ => None,
    };
    if own.is_some() {
        return own;
    }
    let bodies = match term {
        Term::Def(definitions, _) => definitions.iter().map(|one| &one.body).collect(),
        _ => Vec::new(),
    };
    bodies.into_iter().chain(children(term)).find_map(|inner| problem_in(inner, defined))
}

/// The text of a string without anything to compute in it.
fn text_of(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else { return None };
    let part = |part: &StrPart<&str, Term<&str>>| match part {
        StrPart::Str(text) => Some((*text).to_owned()),
        StrPart::Char(c) => Some(c.to_string()),
        StrPart::Term(_) => None,
    };
    parts.iter().map(part).collect()
}

pub(super) fn load_problem(errors: &load::Errors<&str, ()>) -> String {
    let Some((_, error)) = errors.first() else { return "the jq does not compile".to_owned() };
    match error {
        load::Error::Lex(errors) => match errors.first() {
            Some((lex::Expect::Delim(open), _)) => {
                format!("the jq opens `{open}` and does not close it")
            }
            Some((expected, found)) => {
                format!("the jq does not compile: expected {} {}", expected.as_str(), before(found))
            }
            None => "the jq does not compile".to_owned(),
        },
        load::Error::Parse(errors) => match errors.first() {
            Some((expected, found)) => {
                format!("the jq does not compile: expected {} {}", expected.as_str(), before(found))
            }
            None => "the jq does not compile".to_owned(),
        },
        load::Error::Io(_) => "the jq includes a module, and a route has none".to_owned(),
    }
}

fn before(found: &str) -> String {
    match found.chars().take(20).collect::<String>() {
        rest if rest.is_empty() => "at the end".to_owned(),
        rest => format!("before `{rest}`"),
    }
}

pub(super) fn compile_problem(errors: &compile::Errors<&str, ()>) -> String {
    let Some((name, kind)) = errors.first().and_then(|(_, errors)| errors.first()) else {
        return "the jq does not compile".to_owned();
    };
    if IMPURE.contains(name) {
        return format!("the jq uses `{name}`, and a route may depend on the document alone");
    }
    let arguments = match kind {
        compile::Undefined::Filter(0) | compile::Undefined::Var | compile::Undefined::Mod => {
            String::new()
        }
        compile::Undefined::Filter(1) => " with one argument".to_owned(),
        compile::Undefined::Filter(count) => format!(" with {count} arguments"),
        _ => String::new(),
    };
    format!("the jq does not compile: there is no {} `{name}`{arguments}", kind.as_str())
}
