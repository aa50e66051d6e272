//! Generates `docs/configuration.md` from the options that the readers ask for and the comments in the example.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use cosmos_bridge::config::{parse, parse_recording};

use super::{EXAMPLE, default_line, folder, uncommented, with_each_sample, with_table};

const WRITTEN: &str = include_str!("../../../docs/configuration.md");

const BEGINNING: &str = "\
# Configuration

Every option, what it may be, and what it is when it is not written. This page is made of the readers in
`src/config`, which know the types and ranges, and of `config.toml.example`, which says what each is for;
`tests/config/example.rs` fails when it is not what they say.

A name in capitals is yours to choose. `a.b` is `b` in the table that is written at `a`, and `a[]` an entry of a
list. Unknown keys are refused, and `cosmos-bridge check` lists every mistake at once.
";

/// A part of the example: a title, a table, or an option, each with the comment before it.
enum Part<'e> {
    Title { title: &'e str, about: Vec<&'e str> },
    Table { header: &'e str, about: String },
    Option { key: &'e str, default: Option<&'e str>, line: Option<usize>, about: String },
}

/// The example, part by part. Further samples of an option are left out.
fn parts() -> Vec<Part<'static>> {
    let mut parts = vec![Part::Table { header: "", about: String::new() }];
    let mut comment: Vec<&'static str> = Vec::new();
    let about = |comment: &mut Vec<&'static str>| {
        comment.drain(..).map(str::trim).collect::<Vec<_>>().join(" ")
    };
    for (at, line) in EXAMPLE.lines().enumerate() {
        let sample = line.strip_prefix("## ");
        let text = sample.unwrap_or(line);
        let prose = at < EXAMPLE.lines().take_while(|line| !line.is_empty()).count();
        if prose {
            // The comment about the whole file.
        } else if let Some(title) = line.strip_prefix("# ---- ") {
            let title = title.trim_end_matches('-').trim_end();
            parts.push(Part::Title { title, about: Vec::new() });
        } else if text.starts_with('[') {
            parts.push(Part::Table { header: text, about: about(&mut comment) });
        } else if let Some((key, value)) = option(line) {
            let written_already = parts.iter().rev();
            let mut in_table =
                written_already.take_while(|part| matches!(part, Part::Option { .. }));
            let known = in_table
                .any(|part| matches!(part, Part::Option { key: other, .. } if *other == key));
            let about = about(&mut comment);
            if !known {
                let default = (sample.is_none() && line.starts_with('#')).then_some(value);
                let line = (!line.starts_with('#')).then_some(at);
                parts.push(Part::Option { key, default, line, about });
            }
        } else if let Some(words) = line.strip_prefix('#') {
            comment.push(words);
        } else if let Some(Part::Title { about, .. }) = parts.last_mut() {
            // A comment that ends at an empty line belongs to no table.
            about.append(&mut comment);
        } else {
            comment.clear();
        }
    }
    parts
}

/// The key and value of a line that writes an option, states its default, or shows a sample of it.
fn option(line: &'static str) -> Option<(&'static str, &'static str)> {
    let text = line.strip_prefix("## ").or_else(|| {
        default_line(line)
            .map_or((!line.starts_with('#')).then_some(line), |_| line.strip_prefix("# "))
    })?;
    text.split_once(" = ").filter(|(key, _)| !key.starts_with('['))
}

/// `pipelines.*.routes[]` of `[[pipelines.orders.routes]]`, and the header with a name to choose.
fn place(header: &str) -> (String, String) {
    let list = header.starts_with("[[");
    let words: Vec<&str> = header.trim_matches(['[', ']']).split('.').collect();
    let chosen = match words[0] {
        "sinks" => 2,
        "accounts" | "pipelines" | "credentials" => 1,
        _ => usize::MAX,
    };
    let named = |name: &str| {
        let word = |(at, word): (usize, &&str)| if at == chosen { name } else { word }.to_owned();
        words.iter().enumerate().map(word).collect::<Vec<_>>().join(".")
    };
    let shown =
        if list { format!("[[{}]]", named("NAME")) } else { format!("[{}]", named("NAME")) };
    (named("*") + if list { "[]" } else { "" }, shown)
}

/// True if the example is invalid without a line.
fn must_be_written(line: usize) -> bool {
    let dir = folder();
    let without = uncommented(|at, _| (at == line).then(String::new));
    let without = without.replace("{ env = ", "{ file = ");
    parse("config.toml", &without, dir.path()).is_err()
}

/// Every option that a reader asks for, with its allowed values.
fn kinds() -> BTreeMap<String, BTreeSet<String>> {
    let dir = folder();
    let mut texts = vec![uncommented(|_, line| default_line(line)), with_table(&EXAMPLE)];
    texts.extend(with_each_sample());
    let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for text in texts {
        let (_, options) = parse_recording("config.toml", &text, dir.path());
        for shape in options.known {
            kinds.entry(shape).or_default();
        }
        for (shape, kind) in options.kinds {
            let (shape, kind) = match shape.strip_suffix("[]") {
                Some(list) => (list.to_owned(), format!("each of it {kind}")),
                None => (shape, kind),
            };
            if let Some(kinds) = kinds.get_mut(&shape) {
                kinds.insert(kind);
            }
        }
    }
    kinds
}

/// The place of a key in a table.
fn below(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

fn row(page: &mut String, name: &str, kinds: &BTreeSet<String>, default: &str, about: &str) {
    let cell = |text: &str| text.replace('|', "\\|");
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let kinds = cell(&kinds.join("; "));
    writeln!(page, "| `{name}` | {kinds} | {} | {} |", cell(default), cell(about)).unwrap();
}

/// The rows of a table's options, each followed by the rows of its subtable.
fn options(
    page: &mut String,
    shape: &str,
    parts: &[&Part<'_>],
    kinds: &BTreeMap<String, BTreeSet<String>>,
) {
    let own: Vec<String> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Option { key, .. } => Some(below(shape, key)),
            _ => None,
        })
        .collect();
    for part in parts {
        let Part::Option { key, default, line, about } = part else { continue };
        let place = below(shape, key);
        let default = match (default, line) {
            (Some(default), _) => format!("`{default}`"),
            (None, Some(line)) if must_be_written(*line) => "must be written".to_owned(),
            (None, _) => String::new(),
        };
        let none = BTreeSet::new();
        row(page, key, kinds.get(&place).unwrap_or(&none), &default, about);
        let inner = kinds.iter().filter(|(inner, _)| {
            let rest = inner.strip_prefix(&place).unwrap_or_default();
            rest.starts_with(['.', '[']) && !own.contains(inner)
        });
        for (inner, kinds) in inner {
            row(page, inner.trim_start_matches(&below(shape, "")), kinds, "", "");
        }
    }
}

/// The options of a table, and those of further samples of it.
fn of_table<'p>(parts: &'p [Part<'static>], at: usize) -> Vec<&'p Part<'static>> {
    let Part::Table { header, .. } = &parts[at] else { return Vec::new() };
    let (mut here, mut own) = (false, Vec::<&Part<'static>>::new());
    for part in &parts[at..] {
        match part {
            Part::Table { header: other, .. } => here = place(other) == place(header),
            Part::Option { key, .. } if here => {
                let is_known = own
                    .iter()
                    .any(|one| matches!(one, Part::Option { key: known, .. } if known == key));
                if !is_known {
                    own.push(part);
                }
            }
            Part::Option { .. } | Part::Title { .. } => {}
        }
    }
    own
}

fn reference() -> String {
    let (parts, kinds) = (parts(), kinds());
    let mut page = BEGINNING.to_owned();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Title { title, about } => {
                writeln!(page, "\n## {title}").unwrap();
                let about: Vec<&str> =
                    about.iter().copied().skip_while(|line| line.is_empty()).collect();
                if !about.is_empty() {
                    writeln!(page, "\n```text\n{}\n```", about.join("\n")).unwrap();
                }
            }
            Part::Table { header, about } => {
                let (shape, shown) = place(header);
                let heading = match *header {
                    "" => "\n## At the top of the file\n".to_owned(),
                    _ => format!("\n### `{shown}`\n"),
                };
                if page.contains(&heading) {
                    continue; // A further sample of a table; its options stand with the first.
                }
                page += &heading;
                if !about.is_empty() {
                    writeln!(page, "\n{about}").unwrap();
                }
                page += "\n| Option | May be | When not written | |\n| --- | --- | --- | --- |\n";
                options(&mut page, &shape, &of_table(&parts, at), &kinds);
            }
            Part::Option { .. } => {}
        }
    }
    page += "\n## References to secrets\n\n| Option | May be |\n| --- | --- |\n";
    for (shape, kinds) in kinds.iter().filter(|(shape, _)| shape.starts_with("secret.")) {
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        writeln!(page, "| `{}` | {} |", shape.trim_start_matches("secret."), kinds.join("; "))
            .unwrap();
    }
    page
}

#[test]
fn the_reference_is_what_the_readers_and_the_example_say() {
    let reference = reference();
    if reference != WRITTEN {
        let path = std::env::temp_dir().join("cosmos-bridge-configuration.md");
        std::fs::write(&path, &reference).unwrap();
        panic!("docs/configuration.md is out of date: replace it with {}", path.display());
    }
}

#[test]
fn the_reference_names_every_option() {
    let reference = reference();
    for (shape, kinds) in kinds() {
        let name = shape.rsplit('.').next().unwrap();
        let named = reference.lines().any(|line| {
            line.split('`')
                .nth(1)
                .is_some_and(|option| option == name || option.ends_with(&format!(".{name}")))
        });
        let table = ["*", "state", "log", "accounts", "sinks", "pipelines"].contains(&name)
            || !shape.contains('.')
            || ["source", "routes"].contains(&name)
            || shape.matches('.').count() == 1 && shape.starts_with("sinks.");
        assert!(named || table, "not in the reference: {shape}, {kinds:?}");
    }
}
