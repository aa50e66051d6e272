//! The documents name what exists: links, headings, files, exit codes, log messages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{ItemMod, LitStr, Macro};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files with this extension, without build artefacts and hidden folders.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.append(&mut files(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of a document that are not in a code block.
fn prose(text: &str) -> String {
    let mut in_code = false;
    let kept = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Splits prose into text and `code spans`.
fn spans(prose: &str) -> (String, Vec<&str>) {
    let (mut text, mut code) = (String::new(), Vec::new());
    for line in prose.lines() {
        for (number, part) in line.split('`').enumerate() {
            if number % 2 == 0 { text.push_str(part) } else { code.push(part) }
        }
        text.push('\n');
    }
    (text, code)
}

/// The targets of the links of a document.
fn links(text: &str) -> Vec<&str> {
    let parts = text.split("](").skip(1);
    parts.filter_map(|part| part.split_once(')')).map(|(target, _)| target).collect()
}

/// The anchors of the headings, as a Git host makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let slug = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

/// What is wrong with a link in a document of `folder`; `text` is the document itself.
fn broken(folder: &Path, text: &str, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = folder.join(file);
    if !file.is_empty() && !target.exists() {
        return Some(format!("{link}: no such file"));
    }
    let is_known = anchor.is_empty()
        || if file.is_empty() {
            anchors(text).contains(anchor)
        } else {
            anchors(&fs::read_to_string(target).unwrap()).contains(anchor)
        };
    (!is_known).then(|| format!("{link}: no such heading"))
}

/// `a/{b,c}/d` is two paths.
fn expanded(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("a brace is closed");
    choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
}

/// The paths from the root among code spans. `<type>` stands for any name.
fn paths(code: &[&str]) -> Vec<String> {
    const FOLDERS: [&str; 7] =
        ["src/", "sinks/", "testing/", "tests/", "benches/", "deploy/", "docs/"];
    let is_path = |span: &&&str| {
        FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains(['<', ' ', '*'])
    };
    code.iter().filter(is_path).flat_map(|span| expanded(span)).collect()
}

#[test]
fn links_and_paths_in_documents_exist() {
    let mut problems = Vec::new();
    for file in files(root(), "md") {
        let text = fs::read_to_string(&file).unwrap();
        let prose = prose(&text);
        let (plain, code) = spans(&prose);
        let folder = file.parent().unwrap();
        let name = file.strip_prefix(root()).unwrap().display();
        let wrong = links(&plain).into_iter().filter_map(|link| broken(folder, &text, link));
        problems.extend(wrong.map(|problem| format!("{name}: {problem}")));
        // A path is from the root, or from the folder of the document.
        let absent = |path: &String| !root().join(path).exists() && !folder.join(path).exists();
        let absent = paths(&code).into_iter().filter(absent);
        problems.extend(absent.map(|path| format!("{name}: {path}: no such file")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn documents_that_code_names_exist() {
    let mut problems = Vec::new();
    for extension in ["rs", "toml", "py", "sh", "yaml"] {
        for file in files(root(), extension) {
            let text = fs::read_to_string(&file).unwrap();
            let words = text.split(|c: char| c.is_whitespace() || "`\"'()<>,;:".contains(c));
            let documents = words
                .filter(|word| word.strip_prefix("docs/").is_some_and(|rest| rest.contains(".md")));
            for document in documents {
                let document = document.trim_end_matches('.');
                if let Some(problem) = broken(root(), "", document) {
                    problems.push(format!("{}: {problem}", file.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_exit_code_is_documented() {
    let code = read("src/exit_code.rs");
    let constants = code.lines().filter_map(|line| line.strip_prefix("pub const "));
    let defined: BTreeSet<&str> =
        constants.filter_map(|line| line.split_once("= ")?.1.strip_suffix(';')).collect();
    let page = read("docs/exit-codes.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let documented: BTreeSet<&str> =
        rows.map(|(code, _)| code).filter(|code| code.parse::<u8>().is_ok()).collect();
    assert_eq!(documented, defined);
}

/// The messages and the fields of each row.
fn log_rows(page: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let (_, table) = page.split_once("| Level | Message |").expect("the table of messages");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (spans(cells[2]).1, spans(cells[3]).1)
    })
    .collect()
}

#[test]
fn documented_log_messages_and_fields_are_in_the_code() {
    // A text may continue on the next line of the source.
    let source: String = files(&root().join("src"), "rs")
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect::<Vec<_>>()
        .join("\n");
    let joined = source.split("\\\n").map(str::trim_start).collect::<String>();
    let page = read("docs/logs.md");
    let rows = log_rows(&page);
    assert!(rows.len() > 10, "the table was read");
    for (messages, fields) in rows {
        for message in messages {
            for part in message.split("...").map(str::trim).filter(|part| !part.is_empty()) {
                assert!(joined.contains(part), "docs/logs.md: no message `{part}` in src");
            }
        }
        for field in fields {
            assert!(joined.contains(field), "docs/logs.md: no field `{field}` in src");
        }
    }
}

/// The lines of the blocks of shell code.
fn shell(text: &str) -> String {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block).collect()
}

/// Variables that are used, and neither set by a line before nor by every shell.
fn unset_variables(shell: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let text = text.trim_start_matches('{');
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut set = BTreeSet::from(["HOME".to_owned(), "PWD".to_owned(), "PATH".to_owned()]);
    let mut unset = Vec::new();
    for line in shell.lines() {
        let used = line.split('$').skip(1).map(name).filter(|name| !name.is_empty());
        unset.extend(used.filter(|name| !set.contains(name)));
        set.extend(line.split_once('=').map(|(before, _)| before.trim().to_owned()));
        if line.starts_with("read ") {
            set.extend(line.split_whitespace().last().map(str::to_owned));
        }
    }
    unset
}

#[test]
fn the_commands_of_the_readme_set_every_variable_that_they_use() {
    let shell = shell(&read("README.md"));
    assert!(shell.contains('$'), "the blocks were read");
    assert_eq!(unset_variables(&shell), Vec::<String>::new());
}

#[test]
fn unset_variables_are_found() {
    let text = "text $A\n```sh\nB=1\nread -rsp 'x: ' C\necho \"$B\" ${C} '$D'\nE=\"$E\" $F\n```\n";
    assert_eq!(unset_variables(&shell(text)), ["D", "E", "F"]);
}

/// The messages of the log lines of level INFO and above.
#[derive(Default)]
struct Messages(Vec<String>);

impl<'a> Visit<'a> for Messages {
    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        if !module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_macro(&mut self, found: &'a Macro) {
        let name = found.path.segments.last().map(|segment| segment.ident.to_string());
        if matches!(name.as_deref(), Some("info" | "warn" | "error")) {
            let tokens = found.tokens.clone().into_iter();
            let texts = tokens.filter_map(|token| syn::parse_str(&token.to_string()).ok());
            self.0.extend(texts.last().map(|text: LitStr| text.value()));
        }
    }
}

#[test]
fn every_log_message_has_its_limit_in_the_documents() {
    let mut messages = Messages::default();
    for folder in ["src", "sinks"] {
        for file in files(&root().join(folder), "rs") {
            let is_test = file.iter().any(|part| part == "tests")
                || file.file_stem().is_some_and(|stem| stem == "tests");
            if !is_test {
                messages.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
            }
        }
    }
    assert!(messages.0.len() > 60, "{} messages were found", messages.0.len());
    let page = read("docs/logs.md");
    let (_, table) = page.split_once("| How often | Lines |").expect("the table of limits");
    let limited: Vec<&str> = table.lines().flat_map(|row| spans(row).1).collect();
    for message in messages.0 {
        // What is in braces differs from line to line.
        let pieces = message.split('{').map(|piece| piece.rsplit('}').next().unwrap_or_default());
        let pieces: Vec<_> =
            pieces.map(str::trim).filter(|piece| !piece.is_empty() && *piece != "{").collect();
        // The lines of Kafka's client and the mistakes of a file, which the page describes in words.
        if pieces.is_empty() {
            assert!(["{text}", "{message}"].contains(&message.as_str()), "{message}");
            continue;
        }
        let is_it = |span: &&str| {
            *span == message
                || (message.contains('{') && pieces.iter().all(|piece| span.contains(piece)))
        };
        assert!(limited.iter().any(is_it), "docs/logs.md: how often `{message}`?");
    }
}

#[test]
fn broken_links_and_paths_are_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), "# One `two`, three\n```\n# no heading\n```\n").unwrap();
    let text = "## Here\n[a](a.md#one-two-three) [b](a.md#no-heading) [c](b.md) `[d](e.md)` \
                [f](#here) [g](#there) [h](https://example.com/x)";
    let (plain, _) = spans(text);
    let found: Vec<_> =
        links(&plain).iter().filter_map(|link| broken(folder.path(), text, link)).collect();
    let expected =
        ["a.md#no-heading: no such heading", "b.md: no such file", "#there: no such heading"];
    assert_eq!(found, expected);
    let code = ["src/{a,b}.rs", "sinks/<type>", "cargo test", "docs/logs.md"];
    assert_eq!(paths(&code), ["src/a.rs", "src/b.rs", "docs/logs.md"]);
}
