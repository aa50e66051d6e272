//! Compiles jq expressions, for the rules here and for the routes that run them.

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader, lex};
use jaq_core::{Compiler, compile};
use jaq_json::Val;

/// Filters that depend on more than the document: an answer that depends on the clock or the environment
/// is not repeatable, and a route neither prints nor ends the process. `localtime` depends on the
/// machine's time zone.
const IMPURE: [&str; 14] = [
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

/// An expression ready to run over any number of documents.
pub(crate) type Compiled = jaq_core::Filter<JustLut<Val>>;

/// Why the expression cannot be used, as a lower-case fragment; `None` when it can.
pub(crate) fn jq_problem(expression: &str) -> Option<String> {
    compile(expression).err()
}

/// Compiles with the full `jaq_core`, `jaq_std` and `jaq_json` definitions, less the impure ones.
///
/// # Errors
///
/// Why it cannot be used, as a lower-case fragment.
pub(crate) fn compile(expression: &str) -> Result<Compiled, String> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs::<JustLut<Val>>().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let loader = Loader::new(definitions.filter(|definition| !IMPURE.contains(&definition.name)));
    let modules = loader
        .load(&arena, File { code: expression, path: () })
        .map_err(|errors| load_problem(&errors))?;
    Compiler::default()
        .with_funs(functions.filter(|(name, ..)| !IMPURE.contains(name)))
        .compile(modules)
        .map_err(|errors| compile_problem(&errors))
}

fn load_problem(errors: &load::Errors<&str, ()>) -> String {
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

fn compile_problem(errors: &compile::Errors<&str, ()>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compiles_is_no_problem() {
        for expression in [
            ".",
            ".total > 10 and (.status | ascii_downcase) == \"paid\"",
            "del(.secret) | .lines |= map(select(.price > 0))",
            "@base64",
            ".createdAt | fromdateiso8601",
            "def double: . * 2; .total |= double",
            "[.tags[]?] | unique | join(\",\")",
            "test(\"^a\")",
        ] {
            assert_eq!(jq_problem(expression), None, "{expression}");
        }
    }

    #[test]
    fn what_does_not_compile_is_explained() {
        let cases = [
            ("", "the jq does not compile: expected term at the end"),
            (".total >", "the jq does not compile: expected term at the end"),
            ("(.total", "the jq opens `(` and does not close it"),
            (".a & .b", "the jq does not compile: expected token before `& .b`"),
            (".total | nonsense", "the jq does not compile: there is no filter `nonsense`"),
            ("nope(1; 2)", "the jq does not compile: there is no filter `nope` with 2 arguments"),
            (".a == $x", "the jq does not compile: there is no variable `$x`"),
            ("env.HOME", "the jq uses `env`, and a route may depend on the document alone"),
            ("$ENV.HOME", "the jq uses `$ENV`, and a route may depend on the document alone"),
            ("now", "the jq uses `now`, and a route may depend on the document alone"),
            ("debug", "the jq uses `debug`, and a route may depend on the document alone"),
            ("halt", "the jq uses `halt`, and a route may depend on the document alone"),
            ("include \"a\"; .", "the jq includes a module, and a route has none"),
        ];
        for (expression, problem) in cases {
            assert_eq!(jq_problem(expression).as_deref(), Some(problem), "{expression}");
        }
    }
}
