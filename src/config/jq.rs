//! Compiles jq expressions, for the rules here and for the routes that run them.

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader, lex, parse};
use jaq_core::{Compiler, compile};
use jaq_json::Val;

use super::jq_depth::depth;

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

/// The longest expression in bytes.
const BYTES_MAX: usize = 16 * 1024;

/// The deepest expression. The threads that run it have room for many times as many levels.
const DEPTH_MAX: usize = 500;

/// The stack of the thread that compiles: enough for an expression that nests with every byte. Only what
/// is used of it takes memory.
fn stack_bytes(expression: &str) -> usize {
    2 * 1024 * 1024 + expression.len() * 32 * 1024
}

/// Compiles with the full `jaq_core`, `jaq_std` and `jaq_json` definitions, less the impure ones.
///
/// # Errors
///
/// Why it cannot be used, as a lower-case fragment.
pub(crate) fn compile(expression: &str) -> Result<Compiled, String> {
    if expression.len() > BYTES_MAX {
        return Err(format!("the jq is longer than {BYTES_MAX} bytes"));
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(stack_bytes(expression));
        let compiled = thread.spawn_scoped(scope, || compile_on_a_large_stack(expression));
        let compiled = compiled.map_err(|error| format!("no thread to compile the jq: {error}"))?;
        compiled.join().unwrap_or_else(|_| Err("the jq does not compile".to_owned()))
    })
}

fn compile_on_a_large_stack(expression: &str) -> Result<Compiled, String> {
    let parsed = parse(expression, |parser| parser.term());
    if parsed.as_ref().is_some_and(|term| depth(term) > DEPTH_MAX) {
        return Err(format!("the jq has more than {DEPTH_MAX} levels, where each operator is one"));
    }
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs::<JustLut<Val>>().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let loader = Loader::new(definitions.filter(|definition| !IMPURE.contains(&definition.name)));
    let modules = loader
        .load(&arena, File { code: expression, path: () })
        .map_err(|errors| load_problem(&errors))?;
    if parsed.is_none() {
        return Err("the jq describes a module, and a route has none".to_owned());
    }
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

    /// Each of these ended the process when it recursed on the stack of the thread that read the file.
    #[test]
    fn an_expression_that_nests_deep_is_refused() {
        let long = "the jq is longer than 16384 bytes";
        let deep = "the jq has more than 500 levels, where each operator is one";
        // Brackets around a term are no level of it.
        assert_eq!(jq_problem(&format!("{}1{}", "(".repeat(8000), ")".repeat(8000))), None);
        let nested = |open: &str, inner: &str, close: &str, times: usize| {
            format!("{}{inner}{}", open.repeat(times), close.repeat(times))
        };
        for times in [100, 600, 20_000] {
            for expression in [
                nested("[", "1", "]", times),
                nested("{a:", "1", "}", times),
                nested("-", "1", "", times),
                nested("if . then ", "1", " else 2 end", times),
                nested("try ", "1", "", times),
                nested(".|", ".", "", times),
                nested(".,", ".", "", times),
                nested("1+", "1", "", times),
                nested("1 as $x|", ".", "", times),
                nested("def f: ", ".", "; .", times),
                nested("f(", ".", ")", times).replace('f', "map"),
                nested("reduce . as $x (0; ", "1", ")", times),
                nested("\"\\(", "1", ")\"", times),
                nested(".[", "0", "]", times),
                format!("{{{}b: 1}}", "a:1,".repeat(times)),
                format!("\"{}\"", "\\(1)".repeat(times)),
                nested(".a", "", "", times),
                format!("if 1 then 2 {} end", "elif 1 then 2 ".repeat(times)),
                format!("def w(x): {{{}a:x}}; w(w(w(w(w(w(1))))))", "a:1,".repeat(times / 6)),
            ] {
                let head: String = expression.chars().take(30).collect();
                let problem = jq_problem(&expression);
                let expected = match times {
                    _ if expression.len() > BYTES_MAX => Some(long),
                    100 => None,
                    _ => Some(deep),
                };
                assert_eq!(problem.as_deref(), expected, "{times} times {head}");
            }
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
            ("module {}; .", "the jq describes a module, and a route has none"),
        ];
        for (expression, problem) in cases {
            assert_eq!(jq_problem(expression).as_deref(), Some(problem), "{expression}");
        }
    }
}
