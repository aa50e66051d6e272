//! Kept inputs, and random mutations of them, for tests of what reads bytes of others.
//!
//! A folder has one file for each kept input: `.hex` has the bytes as hexadecimal digits, with comments
//! after `#`, and `00*5000` for a byte that is repeated; any other file is the input itself. An input
//! that once failed is added to the folder.
//!
//! A test runs all files, and then mutations with the seeds from 0 on. If it fails, the file or the seed
//! is printed. `COSMOS_BRIDGE_SEED=17` runs the mutation with seed 17 alone, and
//! `COSMOS_BRIDGE_MUTATIONS=100000` that number of them.

mod peer;
mod random;
mod seeds;

use std::path::Path;

pub use peer::{Peer, count_panics, peak_memory};
pub use random::Random;
pub use seeds::{Seed, count, seeds};

/// The kept inputs of one parser.
#[derive(Debug)]
pub struct Corpus {
    /// With their file names, in the order of those.
    kept: Vec<(String, Vec<u8>)>,
}

/// One input of a test. Its file or seed is printed if the test panics while it exists.
#[derive(Debug)]
pub struct Input {
    pub bytes: Vec<u8>,
    pub origin: Origin,
}

/// Where an input is from.
#[derive(Debug)]
pub enum Origin {
    File(String),
    Mutation(Seed),
}

impl Corpus {
    /// Reads a folder.
    ///
    /// # Panics
    ///
    /// The folder cannot be read, has no file, or a `.hex` file has something else than digits.
    pub fn read(folder: &Path) -> Self {
        let files = std::fs::read_dir(folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let file = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.map(|entry| entry.path()).unwrap_or_default();
            let bytes = std::fs::read(&path);
            let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let is_hex = path.extension().is_some_and(|extension| extension == "hex");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = if is_hex { from_hex(&name, &bytes) } else { bytes };
            (name, bytes)
        };
        let mut kept: Vec<_> = files.map(file).collect();
        assert!(!kept.is_empty(), "{} has no file", folder.display());
        kept.sort();
        Self { kept }
    }

    /// Every file, and then `mutations` mutations, or as the environment says.
    pub fn inputs(&self, mutations: u64) -> impl Iterator<Item = Input> {
        let seeds = seeds(count(mutations));
        let kept = self.kept.iter().filter({
            let is_replay = seeds::replayed().is_some();
            move |_| !is_replay
        });
        let kept = kept.map(|(name, bytes)| Input {
            bytes: bytes.clone(),
            origin: Origin::File(name.clone()),
        });
        let mutation =
            |seed: Seed| Input { bytes: self.mutation(seed.0), origin: Origin::Mutation(seed) };
        kept.chain(seeds.map(mutation))
    }

    /// A file with one to four mistakes. The same for the same seed and files.
    fn mutation(&self, seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        let (_, bytes) = &self.kept[random.below(self.kept.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(4) {
            self.mutate(&mut bytes, &mut random);
        }
        bytes
    }

    fn mutate(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        /// Lengths, counts and signs are wrong at their limits.
        const LIMITS: [u8; 6] = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];
        let at = random.below(bytes.len() + 1);
        let end = bytes.len().min(at + random.below(9));
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at..end].fill(LIMITS[random.below(LIMITS.len())]),
            2 => drop(bytes.splice(at..end, (0..random.below(9)).map(|_| random.byte()))),
            3 => bytes.truncate(at),
            // A piece twice, or many times.
            4 => {
                let piece = bytes[at..end].repeat([1, 2, 300][random.below(3)]);
                bytes.splice(at..at, piece);
            }
            // The rest of another file.
            _ => {
                let (_, other) = &self.kept[random.below(self.kept.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
        }
    }
}

impl Drop for Input {
    #[expect(clippy::print_stderr, reason = "shown by the test runner when the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Origin::File(name) = &self.origin {
                eprintln!("failed with the file {name}");
            }
            eprintln!("the input was {}", self.bytes.escape_ascii());
        }
    }
}

fn from_hex(name: &str, text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let words = code.flat_map(str::split_whitespace);
    let word = |word: &str| {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        let pair = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).unwrap_or_default();
            u8::from_str_radix(text, 16).ok().filter(|_| pair.len() == 2)
        };
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
        let bytes = bytes.zip(times.parse().ok());
        let (bytes, times) = bytes.unwrap_or_else(|| panic!("{name}: {word} is not hexadecimal"));
        bytes.repeat(times)
    };
    words.flat_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::{Corpus, Input, Origin, from_hex};

    fn corpus() -> Corpus {
        let kept = [("a", "one two three"), ("b", "{\"four\":5}")];
        Corpus { kept: kept.map(|(name, text)| (name.to_owned(), text.into())).into() }
    }

    #[test]
    fn files_come_first_and_mutations_are_the_same_each_time() {
        let corpus = corpus();
        let all = || corpus.inputs(100).collect::<Vec<Input>>();
        let (files, mutations): (Vec<_>, Vec<_>) =
            all().into_iter().partition(|input| matches!(input.origin, Origin::File(_)));
        let files: Vec<_> = files.iter().map(|file| file.bytes.clone()).collect();
        assert_eq!(files, corpus.kept.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>());
        for (at, input) in mutations.iter().enumerate() {
            assert!(
                matches!(input.origin, Origin::Mutation(super::Seed(seed)) if seed == at as u64)
            );
            assert_eq!(input.bytes, corpus.mutation(at as u64));
        }
        let mut bytes: Vec<_> = mutations.iter().map(|input| &input.bytes).collect();
        bytes.sort();
        bytes.dedup();
        assert!(bytes.len() > mutations.len() * 4 / 5, "{} differ", bytes.len());
    }

    #[test]
    fn hexadecimal_files_have_comments_and_repetitions() {
        let text = b"41 4d\n51  # the end\n# nothing\n50*3 0001*2\n";
        assert_eq!(from_hex("a.hex", text), b"AMQPPP\x00\x01\x00\x01");
    }
}
