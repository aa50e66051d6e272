//! What is drawn on the terminal below the log lines, and how it is erased.

use super::text::{Size, columns};

/// The display as it was last drawn.
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: Vec<String>,
}

impl Screen {
    pub(super) const fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// What to send to a terminal that has this size now, so that it shows these lines in place of those drawn
    /// before.
    pub(super) fn draw(&mut self, lines: Vec<String>, size: Size) -> String {
        let erased = self.erase(size);
        self.lines = lines;
        erased + &self.drawn()
    }

    /// What to send before a log line, and after it.
    pub(super) fn around(&self, size: Size) -> (String, String) {
        (self.erase(size), self.drawn())
    }

    /// The cursor stays at the start of the last line: what the terminal echoes (`^C`) does not wrap there.
    fn drawn(&self) -> String {
        match self.lines.as_slice() {
            [] => String::new(),
            lines => lines.join("\n") + "\r",
        }
    }

    /// Moves from the start of the last line to the start of the first, and erases everything from there. A
    /// terminal that became narrower has wrapped the lines.
    fn erase(&self, size: Size) -> String {
        let Some((_, above)) = self.lines.split_last() else { return String::new() };
        let width = size.columns.max(1);
        let rows: usize = above.iter().map(|line| columns(line).div_ceil(width).max(1)).sum();
        let up = rows.min(size.rows.saturating_sub(1));
        let up = if up > 0 { format!("\u{1b}[{up}A") } else { String::new() };
        format!("\r{up}\u{1b}[J")
    }
}

#[cfg(test)]
mod tests {
    use super::{Screen, Size};

    /// A terminal that wraps long lines, and wraps what it shows again when its width changes.
    struct Terminal {
        size: Size,
        /// Lines of any length, of which each takes one row or more.
        text: Vec<String>,
        /// The line of the cursor, and the character in it.
        line: usize,
        character: usize,
    }

    impl Terminal {
        fn rows_of(&self, line: usize) -> usize {
            self.text[line].len().div_ceil(self.size.columns).max(1)
        }

        /// The cursor is at the start of a line.
        fn up(&mut self, mut rows: usize) {
            while rows > 0 {
                self.line -= 1;
                let taken = self.rows_of(self.line);
                assert!(taken <= rows, "the cursor is in the middle of {:?}", self.text[self.line]);
                rows -= taken;
            }
        }

        fn send(&mut self, sent: &str) {
            let mut rest = sent;
            while let Some(c) = rest.chars().next() {
                if let Some(command) = rest.strip_prefix("\u{1b}[") {
                    let end = command.find(['A', 'J']).unwrap();
                    let (number, after) = command.split_at(end);
                    if after.starts_with('A') {
                        self.up(number.parse().unwrap());
                    } else {
                        assert_eq!(self.character, 0, "a part of a line stays");
                        self.text.truncate(self.line);
                        self.text.push(String::new());
                    }
                    rest = after.strip_prefix(['A', 'J']).unwrap();
                    continue;
                }
                match c {
                    '\r' => {
                        assert!(self.character <= self.size.columns, "it wrapped");
                        self.character = 0;
                    }
                    '\n' => {
                        self.text.push(String::new());
                        (self.line, self.character) = (self.text.len() - 1, 0);
                    }
                    c => {
                        let line = &mut self.text[self.line];
                        let end = line.len().min(self.character + 1);
                        line.replace_range(self.character..end, &c.to_string());
                        self.character += 1;
                    }
                }
                rest = rest.strip_prefix(c).unwrap();
            }
        }
    }

    #[test]
    fn nothing_stays_behind_when_the_size_or_the_number_of_lines_changes() {
        let size = |columns| Size { columns, rows: 24 };
        let text = vec!["$ run".to_owned(), String::new()];
        let mut terminal = Terminal { size: size(80), text, line: 1, character: 0 };
        let mut screen = Screen::new();
        let mut expected = vec!["$ run".to_owned()];
        for (n, (columns, widths)) in [
            (80, vec![79, 60]),
            (80, vec![79, 60]),
            (40, vec![39, 39, 20]),
            (20, vec![19]),
            (200, vec![199, 3]),
            (66, vec![0, 65]),
            (21, vec![20, 20]),
            (80, vec![]),
            (80, vec![50]),
        ]
        .into_iter()
        .enumerate()
        {
            terminal.size = size(columns);
            let lines: Vec<_> = widths.iter().map(|width| "=".repeat(*width)).collect();
            terminal.send(&screen.draw(lines.clone(), terminal.size));
            // What the terminal echoes.
            terminal.send("^C");
            if widths.is_empty() {
                terminal.send("\n");
                expected.push("^C".to_owned());
            }
            let (before, after) = screen.around(terminal.size);
            terminal.send(&before);
            terminal.send(&format!("log {n}\n"));
            terminal.send(&after);
            expected.push(format!("log {n}"));
            let shown = if lines.is_empty() { vec![String::new()] } else { lines };
            assert_eq!(terminal.text, [expected.clone(), shown].concat(), "{columns} columns");
        }
    }
}
