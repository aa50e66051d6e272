//! jq expressions: compiled once, run over any number of documents, within limits.
//!
//! The interpreter is `jaq`. Where it differs from jq 1.6, [`functions`] and [`rewrite`] correct it; what
//! remains is in `docs/jq.md`, and `tests/differential.rs` compares the two.
//!
//! An expression only has access to its document: filters that depend on the clock, the environment or
//! other inputs are not defined, so that a change gives the same result when it is delivered again.

mod check;
mod depth;
mod functions;
mod limits;
mod paths;
mod patterns;
mod regex;
mod rewrite;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use jaq_core::load::{self, Arena, File, Loader, parse::Def};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::Val;

use self::check::{IMPURE, compile_problem, load_problem, pattern_problem};
use self::depth::depth;
use self::limits::{Limited, Run, STEPS_MAX};
use self::patterns::Regexes;
use self::rewrite::{Meaning, Rewriter};
pub(crate) use self::value::{of_document, to_json};

/// Filters and definitions of the interpreter that filters of ours replace, with their numbers of
/// arguments.
const REPLACED: [(&str, usize); 8] = [
    ("delpaths", 1),
    ("fromjson", 0),
    ("matches", 2),
    ("split_", 2),
    ("split_matches", 2),
    ("tojson", 0),
    ("tonumber", 0),
    ("type", 0),
];

/// Why the expression cannot be used, as a lower-case fragment; `None` when it can.
pub(crate) fn jq_problem(expression: &str) -> Option<String> {
    Expression::compile(expression).err()
}

/// The longest expression in bytes.
const BYTES_MAX: usize = 16 * 1024;

/// The deepest expression. The threads that run it have room for many times as many levels.
const DEPTH_MAX: usize = 500;

/// The stack of the thread that compiles: enough for an expression that nests with every byte. Only what
/// is used of it takes memory.
fn stack_bytes(expression: &str) -> usize {
    4 * 1024 * 1024 + expression.len() * 64 * 1024
}

/// An expression ready to run over any number of documents.
pub(crate) struct Expression {
    filter: Filter<Limited>,
    regexes: Regexes,
    text: String,
    steps_max: u32,
}

impl Expression {
    /// Compiles with the definitions of the interpreter and our own, less the impure ones.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, as a lower-case fragment.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("the jq is longer than {BYTES_MAX} bytes"));
        }
        let filter = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(stack_bytes(text));
            let compiled = thread.spawn_scoped(scope, || compile_on_a_large_stack(text));
            let compiled =
                compiled.map_err(|error| format!("no thread to compile the jq: {error}"))?;
            compiled.join().unwrap_or_else(|_| Err("the jq does not compile".to_owned()))
        })?;
        Ok(Self {
            filter,
            regexes: Regexes::default(),
            text: text.to_owned(),
            steps_max: STEPS_MAX,
        })
    }

    /// Runs over a value; `take` is given the outputs. The error has no content of the value.
    pub(crate) fn run<T>(
        &self,
        input: Val,
        take: impl FnOnce(&mut dyn Iterator<Item = Result<Val, String>>) -> Result<T, String>,
    ) -> Result<T, String> {
        let Self { filter, regexes, steps_max, .. } = self;
        let run = Run::new(&filter.lut, regexes, *steps_max);
        let context = Ctx::<Limited>::new(&run, Vars::new([]));
        // The interpreter is a library: if it panics, the document is rejected and the next one is
        // processed normally.
        let taken = catch_unwind(AssertUnwindSafe(|| {
            let mut outputs = filter.id.run((context, input)).map(|output| {
                output.map_err(|exception| match exception.get_err() {
                    Ok(error) => self.redacted(&beginning(&error)),
                    Err(_) => "the jq expression ends with an uncaught break".to_owned(),
                })
            });
            take(&mut outputs)
        }));
        match run.exceeded() {
            Some(limit) => Err(format!("the jq expression is stopped: {limit}")),
            None => taken
                .unwrap_or_else(|_| Err("the jq expression crashed the interpreter".to_owned())),
        }
    }

    /// The message without contents of the document: the kind of the error, and texts that are part
    /// of the expression.
    fn redacted(&self, error: &str) -> String {
        if error.starts_with('"') && error.len() > 2 && self.text.contains(error) {
            return format!("the jq expression raises {error}");
        }
        let end = |ends: &[&str]| {
            ends.iter()
                .find(|end| error.ends_with(*end))
                .map_or_else(String::new, |end| (*end).to_owned())
        };
        let message = if error.starts_with("cannot use ") {
            format!("cannot use a value{}", end(&USED_AS))
        } else if error.starts_with("cannot index ") {
            "cannot index a value of this type".to_owned()
        } else if error.starts_with("cannot calculate ") {
            "cannot calculate with values of these types".to_owned()
        } else if error.starts_with("cannot parse ") || error.starts_with("\"cannot parse ") {
            "cannot parse a string".to_owned()
        } else if error.starts_with("invalid path expression") {
            "invalid path expression".to_owned()
        } else {
            "it raises an error".to_owned()
        };
        format!("the jq expression fails: {message}")
    }
}

/// The ends of jq's type errors.
const USED_AS: [&str; 8] = [
    " as array",
    " as integer",
    " as iterable (array or object)",
    " as number",
    " as object",
    " as rangeable (array or string)",
    " as string",
    " as floating-point number",
];

/// The beginning of an error's text: the whole of it may be of a value that stands for far more than
/// memory holds.
fn beginning(error: &jaq_core::Error<Val>) -> String {
    const BYTES: usize = 1024;
    struct Beginning(String);
    impl std::fmt::Write for Beginning {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.push_str(text);
            if self.0.len() < BYTES { Ok(()) } else { Err(std::fmt::Error) }
        }
    }
    let mut text = Beginning(String::new());
    // It ends with an error where the text is longer.
    std::fmt::Write::write_fmt(&mut text, format_args!("{error}")).ok();
    text.0
}

/// A name that no expression can use for the expression itself.
const MAIN: &str = "@main";

fn compile_on_a_large_stack(text: &str) -> Result<Filter<Limited>, String> {
    let parsed = load::parse(text, |parser| parser.term());
    if parsed.as_ref().is_some_and(|term| depth(term) > DEPTH_MAX) {
        return Err(format!("the jq has more than {DEPTH_MAX} levels, where each operator is one"));
    }
    let arena = Arena::default();
    let Some(term) = parsed else {
        // The loader tells what is wrong.
        let file = File { code: text, path: () };
        return Err(match Loader::new(Vec::new()).load(&arena, file) {
            Err(errors) => load_problem(&errors),
            Ok(_) => "the jq describes a module, and a route has none".to_owned(),
        });
    };
    if let Some(problem) = pattern_problem(&term) {
        return Err(problem);
    }
    let main = Def { name: MAIN, args: Vec::new(), body: Rewriter::new(Meaning::OfJq).term(term) };
    let loader = Loader::new(definitions().chain([main]));
    let file = File { code: MAIN, path: () };
    let modules = loader.load(&arena, file).map_err(|errors| load_problem(&errors))?;
    let replaced = |name: &str, arguments: usize| REPLACED.contains(&(name, arguments));
    let theirs = jaq_core::funs::<Limited>().chain(jaq_std::funs()).chain(jaq_json::funs());
    let theirs = theirs
        .filter(|(name, arguments, _)| !IMPURE.contains(name) && !replaced(name, arguments.len()));
    Compiler::default()
        .with_funs(theirs.chain(functions::filters()))
        .compile(modules)
        .map_err(|errors| compile_problem(&errors))
}

/// The definitions that expressions may use, with steps in them. Ours come last, where they hide those
/// of the interpreter, except that ones which its own definitions use take their place.
fn definitions<'s>() -> impl Iterator<Item = Def<&'s str>> {
    const IN_PLACE: [(&str, usize); 3] = [("capture_of_match", 0), ("scan_", 2), ("sub", 3)];
    fn name<'d>(definition: &Def<&'d str>) -> (&'d str, usize) {
        (definition.name, definition.args.len())
    }
    let ours = load::parse(functions::DEFINITIONS, |parser| parser.defs()).unwrap_or_default();
    let (in_place, last): (Vec<_>, Vec<_>) =
        ours.into_iter().partition(|ours| IN_PLACE.contains(&name(ours)));
    let theirs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let theirs = theirs.filter_map(move |theirs| {
        let is_replaced = REPLACED.contains(&name(&theirs));
        if is_replaced || IMPURE.contains(&theirs.name) {
            return None;
        }
        Some(match in_place.iter().find(|ours| name(ours) == name(&theirs)) {
            Some(ours) => Rewriter::new(Meaning::Kept).definition(ours.clone()),
            None => Rewriter::new(Meaning::Kept).definition(theirs),
        })
    });
    theirs.chain(last.into_iter().map(|ours| Rewriter::new(Meaning::OfJq).definition(ours)))
}

#[cfg(test)]
mod tests;
