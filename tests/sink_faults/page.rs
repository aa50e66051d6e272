//! The table in the documentation is the table of the test.

use crate::rows::{Check, Does, Row, table};

const HEAD: &str = "| Fault | `check --live` | A run |";

fn line(row: &Row) -> String {
    let check = match row.check {
        Check::Passes => "passes".to_owned(),
        Check::Fails(code, message, "") => format!("{code}: {}", code_of(message)),
        Check::Fails(code, message, hint) => format!("{code}: {} *{hint}*", code_of(message)),
    };
    let does = match row.does {
        Does::Waits(message) => format!("waits: {}", code_of(message)),
        Does::Letter(cause) => format!("dead letter: {}", code_of(cause)),
        Does::Claim(reference) => format!("sends the reference {}", code_of(reference)),
    };
    format!("| {} | {check} | {does} |", row.fault)
}

/// Escapes the quotes in messages.
fn code_of(text: &str) -> String {
    format!("``{}{text}{}``", pad(text.starts_with('`')), pad(text.ends_with('`')))
}

fn pad(is_needed: bool) -> &'static str {
    if is_needed { " " } else { "" }
}

#[test]
fn the_page_tells_of_every_row_and_of_no_other() {
    let text = include_str!("../../docs/sinks-faults.md");
    let lines = text.lines().skip_while(|line| *line != HEAD).skip(2);
    let actual: Vec<&str> = lines.take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> = table().iter().map(line).collect();
    assert_eq!(actual, expected, "docs/sinks-faults.md is to have:\n{}", expected.join("\n"));
}
