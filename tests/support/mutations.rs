//! Random mistakes in a configuration, the same for one seed.

use cosmos_bridge_corpus::Seed;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// What is put in place of a piece of the text.
pub(crate) const PIECES: [&str; 44] = [
    "",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "[[",
    "]]",
    ".",
    "=",
    "\n",
    "#",
    "0",
    "-1",
    "true",
    "/",
    "{{",
    "\\",
    "é",
    "1e999",
    "nan",
    "9999999999999999999999",
    "[a]\n",
    "x = 1\n",
    "'",
    "\"\"\"",
    "{/",
    "}}",
    "1979-05-27",
    "jq = '(((('\n",
    ",",
    "where = { not = {} }\n",
    "\u{feff}",
    "\0",
    "\r",
    "\u{202e}",
    "\"{/a}{/b}\"",
    "{ file = \"/dev/null\" }",
    "{ env = \"PATH\" }",
    "100000 weeks",
    "jq = \"def f: [f]; f\"\n",
    "*",
    "[sinks.kafka.x]\n",
    "\"\\u0000\"",
];

/// What is nested, with how it opens and closes.
const NESTED: [(&str, &str); 6] =
    [("[", "]"), ("{a=", "}"), ("{ not = ", " }"), ("a.", ""), ("jq = \"(", ")\""), ("[[", "]]")];

pub(crate) struct Mutations(TestRng);

impl Mutations {
    pub(crate) fn new(seed: &Seed) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.0.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.0.next_u64() % limit.max(1) as u64).unwrap()
    }

    /// The text with one to five mistakes.
    pub(crate) fn of(&mut self, text: &str) -> String {
        let mut text: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(5) {
            match self.below(8) {
                0..=3 => self.replace(&mut text),
                4 => self.nest(&mut text),
                _ => self.move_lines(&mut text),
            }
        }
        text.into_iter().collect()
    }

    fn replace(&mut self, text: &mut Vec<char>) {
        let at = self.below(text.len() + 1);
        let end = text.len().min(at + self.below(12));
        let piece = PIECES[self.below(PIECES.len())];
        text.splice(at..end, piece.chars());
    }

    fn nest(&mut self, text: &mut Vec<char>) {
        let (open, close) = NESTED[self.below(NESTED.len())];
        let times = [3, 50, 300, 5_000][self.below(4)];
        let piece = format!("{}1{}", open.repeat(times), close.repeat(times));
        let at = self.below(text.len() + 1);
        text.splice(at..at, piece.chars());
    }

    /// Deletes, repeats or moves one line.
    fn move_lines(&mut self, text: &mut Vec<char>) {
        let whole: String = text.iter().collect();
        let mut lines: Vec<&str> = whole.split('\n').collect();
        let from = self.below(lines.len());
        let line = lines[from];
        match self.below(3) {
            0 => drop(lines.remove(from)),
            1 => lines.insert(from, line),
            _ => {
                lines.remove(from);
                let to = self.below(lines.len() + 1);
                lines.insert(to, line);
            }
        }
        *text = lines.join("\n").chars().collect();
    }
}

/// How many there are in a run of the tests, or as `COSMOS_BRIDGE_MUTATIONS` says.
pub(crate) fn count() -> u64 {
    cosmos_bridge_corpus::count(4_000)
}
