//! Fields of log lines as text.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::{RecordFields, VisitOutput};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};

/// `name=value`, with quotes around each value that holds blanks, so that a line can be taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut quoting = Quoting(DefaultVisitor::new(writer, true));
        fields.record(&mut quoting);
        quoting.0.finish()
    }
}

struct Quoting<'w>(DefaultVisitor<'w>);

impl Visit for Quoting<'_> {
    /// Texts have quotes already.
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.record_str(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            return self.0.record_debug(field, value);
        }
        let text = format!("{value:?}");
        if !is_quoted(&text) && text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '='))
        {
            self.0.record_debug(field, &text);
        } else {
            self.0.record_debug(field, &format_args!("{text}"));
        }
    }
}

/// True for a text in quotes, with a backslash before each quote and backslash in it.
fn is_quoted(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return false;
    };
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return false,
            '\\' if characters.next().is_none() => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_text_is_quoted_as_a_whole_or_not_at_all() {
        for (text, expected) in [
            ("\"\"", true),
            (r#""a b""#, true),
            (r#""a \"b\" c""#, true),
            (r#""a\\""#, true),
            ("\"", false),
            ("a", false),
            (r#""a" is not "b""#, false),
            (r#""a\""#, false),
        ] {
            assert_eq!(is_quoted(text), expected, "{text}");
        }
    }

    #[test]
    fn values_with_blanks_are_quoted() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(TextFields)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "orders of ann";
            tracing::info!(name, rate = %"20000 RU/s", range = %"[,FF)", "the \"budget\" is new");
            tracing::info!(error = %"no \"x\"", pair = %"a=b", debug = ?"c d", missing = ?None::<u8>);
            tracing::info!(whole = 3, part = 0.5, is = true, empty = "", list = ?[1, 2], "numbers");
        });
        let lines = String::from_utf8(written.0.lock().clone()).unwrap();
        let expected = [
            r#" INFO the "budget" is new name="orders of ann" rate="20000 RU/s" range=[,FF)"#,
            r#" INFO error="no \"x\"" pair="a=b" debug="c d" missing=None"#,
            r#" INFO numbers whole=3 part=0.5 is=true empty="" list="[1, 2]""#,
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }
}
