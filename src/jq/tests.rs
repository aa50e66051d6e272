mod differential;

use serde_json::{Value, json};

use super::{BYTES_MAX, Expression, jq_problem, of_document, to_json};

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

/// Fewer than in a run of the bridge, so that the tests take seconds.
const STEPS: u32 = 300_000;

/// Runs an expression to its end over one document; the last output.
fn last_output(expression: &str) -> Result<Value, String> {
    let document = json!({"n": 5, "l": (0..100).collect::<Vec<_>>()});
    let compiled = Expression { steps_max: STEPS, ..Expression::compile(expression).unwrap() };
    compiled.run(of_document(document.as_object().unwrap()).unwrap(), |outputs| {
        let mut last = Value::Null;
        for output in outputs {
            last = to_json(&output?)?;
        }
        Ok(last)
    })
}

/// Debian's jq has none of them, so nothing else tells their values; these are those of jq 1.7 and 1.8.
#[test]
fn what_later_versions_of_jq_define_has_their_values() {
    for (expression, expected) in [
        ("\"x\" | @base32", json!("PA======")),
        ("\"fooba\" | @base32", json!("MZXW6YTB")),
        ("[1, \"a\"] | @base32", json!("LMYSYITBEJOQ====")),
        ("@base32 \"<\\(\"x\")>\"", json!("<PA======>")),
        ("\"MZXW6YTB\" | @base32d", json!("fooba")),
        ("\"äö\" | @base32 | @base32d", json!("äö")),
        ("65 | ascii", json!("A")),
        ("[10 | ascii, (122 | ascii)]", json!(["\n", "z"])),
        ("1425599621 | date", json!("2015-03-05T23:53:41Z")),
        ("1425599621 | dateadd(\"seconds\"; 3600)", json!(1_425_603_221)),
        ("1425599621 | datesub(\"seconds\"; 3600)", json!(1_425_596_021)),
        ("1 | toarray", json!([1])),
        ("null | toarray", json!([null])),
        ("[1] | toarray", json!([1])),
        ("{\"a\": 1} | toarray", json!([{"a": 1}])),
        ("{\"a\": 1, \"b\": {\"c\": 2, \"d\": 3}} | pick(.b.c)", json!({"b": {"c": 2}})),
        ("{\"a\": 1} | pick(.x)", json!({"x": null})),
        ("[1, 2, 3] | pick(.[1])", json!([null, 2])),
    ] {
        assert_eq!(last_output(expression), Ok(expected), "{expression}");
    }
    for expression in ["1 | @base32d", "\"?\" | @base32d", "\"77777777\" | @base32d"] {
        assert!(last_output(expression).is_err(), "{expression}");
    }
}

/// Runs a test with the stack of the bridge's own threads.
fn on_a_large_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(16 * 1024 * 1024).spawn(test).unwrap();
    thread.join().unwrap();
}

#[test]
fn an_expression_without_end_is_stopped() {
    on_a_large_stack(|| {
        let steps = format!("it takes more than {STEPS} steps");
        let (depth, levels) = ("it recurses too deep", "a value nests deeper than 300 levels");
        let size = "a value is larger than 32 MiB";
        let mut wrong = Vec::new();
        for (expression, limit) in [
            ("repeat(.)", steps.as_str()),
            ("def f: f; f", &steps),
            ("def f: ., f; f", &steps),
            ("def f: def g: f; g; f", &steps),
            ("def f(g): f(g); f(.)", depth),
            ("try repeat(.) catch 1", &steps),
            ("def f: try f catch f; f", depth),
            ("[range(1e9)]", &steps),
            ("[range(0; infinite)]", &steps),
            ("[range(0; 1; 0)]", &steps),
            ("last(repeat(1))", &steps),
            ("[limit(1e9; repeat(1))]", &steps),
            ("nth(1e9; repeat(1))", &steps),
            ("any(repeat(false); .)", &steps),
            ("isempty(empty | repeat(1))", ""),
            ("until(false; .)", &steps),
            ("[while(true; .)]", &steps),
            ("[recurse(.)]", &steps),
            ("reduce repeat(1) as $x (0; . + 1)", &steps),
            ("[foreach repeat(1) as $x (0; . + 1)]", &steps),
            ("label $out | repeat(1)", &steps),
            ("[.l[] as $a | .l[] as $b | .l[] as $c | .l[] | 1]", &steps),
            ("[.l[] + .l[] + .l[] + .l[]]", &steps),
            ("[{a: .l[], b: .l[], c: .l[], d: .l[]}]", &steps),
            ("[\"\\(.l[])\\(.l[])\\(.l[])\\(.l[])\"]", &steps),
            ("[[.l[], .l[]] | .[] as $x | .[] as $y | .[] as $z | .[]]", &steps),
            (".l[] |= repeat(.)", ""),
            (".l[] |= last(repeat(.))", &steps),
            ("[paths | paths | paths | paths]", ""),
            ("[.l | combinations(5)]", &steps),
            ("def f: [f]; f", depth),
            ("def f: {a: f}; f", depth),
            ("def f: 1 + f; f", depth),
            ("def f: f | .; f", depth),
            ("def f(g): f(g | g); f(.)", depth),
            ("def f(g): def h: f(g); h; f(.)", depth),
            ("def f(g): .n, f(.n); f(.)", depth),
            ("def f($x): f($x + 1); f(0)", &steps),
            ("def f: . |= f; f", depth),
            ("def f: \"\\(f)\"; f", depth),
            ("def f: first(f); f", depth),
            ("def f: if f then 1 else 2 end; f", depth),
            ("def f: f as $x | $x; f", depth),
            ("def f: reduce f as $x (0; 1); f", depth),
            ("def f: -f; f", depth),
            ("def f: .[f]; f", depth),
            ("reduce range(1e9) as $x (0; [.])", levels),
            ("reduce range(1e9) as $x (0; {a: ., b: 1})", levels),
            ("reduce range(1e9) as $x (0; [1, ., 1])", levels),
            ("[recurse([.])]", levels),
            ("def f($v): f([$v]); f(1)", levels),
            ("reduce range(1e9) as $x (0; [1, 1, 1, 1, 1, 1, 1, 1, 1, ., 1, 1, 1])", levels),
            (". as $d | reduce range(1e9) as $x (0; {next: ., line: $d, more: $d})", levels),
            ("null | path(def f: .a | f; f)", levels),
            ("reduce range(60) as $x (1; [., .]) | error", "raises an error"),
            ("reduce range(60) as $x (1; [., .]) | .a", "cannot index"),
            ("reduce range(60) as $x (1; [., .]) | tobytes", size),
            ("reduce range(60) as $x (1; [., .]) | . == .", size),
            ("reduce range(60) as $x (1; [., .]) | sort", size),
            ("reduce range(60) as $x (1; [., .]) | contains([1])", size),
            ("reduce range(60) as $x (\"x\"; . + .)", size),
            ("reduce range(60) as $x ([1]; . + .)", size),
            ("\"x\" * 1e10", size),
            ("1e10 * \"x\"", size),
            ("reduce range(30) as $x (\"x\"; . *= 10)", size),
            ("reduce range(60) as $x (1; [., .]) | tojson", size),
            ("reduce range(60) as $x (1; [., .]) | tostring", size),
            ("reduce range(60) as $x (1; {a: ., b: .}) | \"\\(.)\"", size),
            ("reduce range(60) as $x (1; [., .]) | [..]", &steps),
            ("reduce range(60) as $x (1; [., .])", "returns more than 4194304 values"),
        ] {
            let is_stopped = match last_output(expression) {
                Ok(_) => limit.is_empty(),
                Err(error) => !limit.is_empty() && error.contains(limit),
            };
            if !is_stopped {
                wrong.push(expression);
            }
        }
        assert_eq!(wrong, [""; 0]);
    });
}

/// Documents of the largest size and common expressions stay far from the limits.
#[test]
fn large_documents_stay_within_the_limits() {
    on_a_large_stack(|| {
        let line = |n| json!({"sku": format!("sku-{n}"), "price": n, "qty": 2, "tags": ["a", "b"]});
        let document = json!({"id": "1", "lines": (0..20_000).map(line).collect::<Vec<_>>()});
        let text = document.to_string();
        assert!(text.len() > 1_100_000, "{}", text.len());
        for expression in [
            ".",
            ".lines |= map(select(.price > 5) | del(.tags) | .total = .price * .qty)",
            ".total = ([.lines[] | .price * .qty] | add)",
            ".lines[].price |= . + 1",
            "walk(if type == \"string\" then ascii_upcase else . end)",
            ".tags = ([.lines[].tags[]] | unique)",
            ".by = (.lines | group_by(.qty) | map({(.[0].qty | tostring): length}) | add)",
            ".text = tojson",
            "[..] | length",
            ".lines | map(.sku) | join(\",\") | gsub(\"sku-\"; \"\")",
            "del(.lines[] | select(.price % 2 == 0))",
            ".text = (tojson | gsub(\"[0-9]+\"; \"#\"))",
        ] {
            let compiled = Expression::compile(expression).unwrap();
            let input = of_document(document.as_object().unwrap()).unwrap();
            let output = compiled.run(input, |outputs| outputs.next().unwrap());
            assert!(output.is_ok(), "{expression}: {output:?}");
        }
    });
}

/// The text is a document's: comments and the like are no JSON, and no nesting may end the process.
#[test]
fn a_text_that_is_no_json_fails() {
    let from = |text: &str| {
        let document = json!({"t": text});
        let compiled = Expression::compile(".t | fromjson").unwrap();
        let input = of_document(document.as_object().unwrap()).unwrap();
        compiled.run(input, |outputs| outputs.next().unwrap().and_then(|value| to_json(&value)))
    };
    let deep = "[".repeat(1_000_000);
    let commented = format!("# \"\n{deep}");
    for text in ["", " ", "# c\n1", "NaN", "+1", "1 2", "{1:2}", "'a'", &deep, &commented] {
        let head: String = text.chars().take(10).collect();
        assert_eq!(
            from(text).unwrap_err(),
            "the jq expression fails: cannot parse a string",
            "{head}"
        );
    }
    assert_eq!(from(" {\"a\": [1, \"#\"]} "), Ok(json!({"a": [1, "#"]})));
}
