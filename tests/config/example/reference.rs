//! `docs/configuration.md`, generated from the definitions of the options.

use std::fmt::Write;

use cosmos_bridge_options::{Form, Need, OptionForm, TableForm};

use super::definitions::{Table, tables};

const WRITTEN: &str = include_str!("../../../docs/configuration.md");

const BEGINNING: &str = "\
# Configuration

Every option: its form, its default and its purpose. This page is generated from the definitions of the
options, in `src/config` and in `options.rs` of each sink; a test fails if it is out of date, and writes the
new one.

A name in capitals is yours to choose. `a.b` is `b` in the table that is written at `a`, and `a[]` an item of a
list. Unknown keys are rejected, and `cosmos-bridge check` lists all mistakes. `cosmos-bridge schema` prints the
same definitions as a JSON Schema, with which editors complete and check the file.
";

const HEAD: &str = "\n| Option | Form | Default | Purpose |\n| --- | --- | --- | --- |\n";

fn row(page: &mut String, name: &str, option: &OptionForm) {
    let cell = |text: &str| text.replace('|', "\\|");
    let default = match option.need {
        Need::Required => "must be written".to_owned(),
        Need::Default(text) => format!("`{text}`"),
        Need::Optional => String::new(),
    };
    let mut purpose = cell(&option.doc);
    if let Some(example) = option.example {
        write!(purpose, "{}Example: `{example}`", if purpose.is_empty() { "" } else { " " })
            .unwrap();
    }
    let form = cell(&option.form.words());
    writeln!(page, "| `{name}` | {form} | {} | {purpose} |", cell(&default)).unwrap();
}

/// A row for each option, followed by those of the tables inside it.
fn rows<'o>(page: &mut String, prefix: &str, options: impl IntoIterator<Item = &'o OptionForm>) {
    for option in options {
        let name = format!("{prefix}{}", option.name);
        row(page, &name, option);
        inner(page, &name, &option.form);
    }
}

fn inner(page: &mut String, name: &str, form: &Form) {
    match form {
        // A named form once: secrets and conditions have their own section.
        Form::Value { .. } | Form::Named { .. } => {}
        Form::Table(table) => {
            let variants = table.variants.iter().flat_map(|variants| &variants.tables);
            let mut known: Vec<&str> = Vec::new();
            for option in table.options.iter().chain(variants.flat_map(|(_, table)| &table.options))
            {
                if !known.contains(&option.name) {
                    known.push(option.name);
                    rows(page, &format!("{name}."), [option]);
                }
            }
        }
        Form::List { of, .. } => inner(page, &format!("{name}[]"), of),
        Form::Map { of, .. } => inner(page, &format!("{name}.NAME"), of),
        Form::Either(forms) => forms.iter().for_each(|form| inner(page, name, form)),
    }
}

fn table(page: &mut String, table: &Table) {
    let TableForm { doc, variants, .. } = &table.form;
    let is_top = table.path.is_empty();
    if is_top {
        page.push_str("\n## At the top of the file\n");
    } else {
        write!(page, "\n## `{}`\n", table.header()).unwrap();
        let title = if table.title == *doc { "" } else { &table.title };
        for text in [title, doc].iter().filter(|text| !text.is_empty()) {
            write!(page, "\n{text}\n").unwrap();
        }
    }
    page.push_str(HEAD);
    let Some(variants) = variants else { return rows(page, "", table.options()) };
    rows(page, "", &table.form.options);
    for (word, form) in &variants.tables {
        write!(page, "\n### {} = \"{word}\"\n\n{}\n", variants.tag, form.doc).unwrap();
        page.push_str(HEAD);
        rows(page, "", &form.options);
    }
}

/// The forms with a name that the options have, each once.
fn named(form: &Form, found: &mut Vec<(&'static str, Form)>) {
    let options = |table: &TableForm, found: &mut Vec<_>| {
        let variants = table.variants.iter().flat_map(|variants| &variants.tables);
        let options = table.options.iter().chain(variants.flat_map(|(_, table)| &table.options));
        options.for_each(|option| named(&option.form, found));
    };
    match form {
        Form::Value { .. } => {}
        Form::Table(table) => options(table, found),
        Form::List { of, .. } | Form::Map { of, .. } => named(of, found),
        Form::Either(forms) => forms.iter().for_each(|form| named(form, found)),
        Form::Named { name, make } => {
            if !found.iter().any(|(known, _)| known == name) {
                found.push((name, make()));
                named(&make(), found);
            }
        }
    }
}

fn reference() -> String {
    let mut page = BEGINNING.to_owned();
    let mut found = Vec::new();
    for one in tables() {
        table(&mut page, &one);
        named(&Form::Table(one.form), &mut found);
    }
    found.sort_by_key(|(name, _)| *name);
    for (name, form) in found {
        let title = if name == "secret" {
            "A reference to a secret".to_owned()
        } else {
            format!("A {name}")
        };
        write!(page, "\n## {title}\n").unwrap();
        if let Form::Table(table) = &form {
            if !table.doc.is_empty() {
                write!(page, "\n{}\n", table.doc).unwrap();
            }
            page.push_str(HEAD);
            rows(&mut page, "", &table.options);
        }
    }
    page
}

#[test]
fn the_reference_is_what_the_definitions_say() {
    let reference = reference();
    if reference != WRITTEN {
        let path = std::env::temp_dir().join("cosmos-bridge-configuration.md");
        std::fs::write(&path, &reference).unwrap();
        panic!("docs/configuration.md is out of date: replace it with {}", path.display());
    }
}

#[test]
fn every_option_says_what_it_is_for() {
    for table in tables() {
        for option in table.options() {
            assert!(
                !option.doc.is_empty(),
                "{} {} has no doc comment",
                table.header(),
                option.name
            );
        }
    }
}
