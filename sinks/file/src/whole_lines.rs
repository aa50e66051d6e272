//! Lines on an output that cannot be cut back, such as a pipe.

use std::io::{self, ErrorKind, Write};

/// What is missing of the line that a failed write began.
#[derive(Debug, Default)]
pub(crate) struct WholeLines {
    rest: Vec<u8>,
}

impl WholeLines {
    /// Writes whole lines. After an error none of them counts, and they are to be written again: the next
    /// call completes the line that is on the output in part, and then writes its own. So the reader gets a
    /// line twice, and never a part of one.
    ///
    /// `output` must not buffer.
    pub(crate) fn write(&mut self, output: &mut impl Write, lines: &[u8]) -> io::Result<()> {
        let mut written = 0;
        let completed = write(output, &self.rest, &mut written);
        self.rest.drain(..written);
        completed?;
        written = 0;
        let result = write(output, lines, &mut written);
        if result.is_err() && written > 0 && lines[written - 1] != b'\n' {
            let rest = &lines[written..];
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            self.rest.extend(&rest[..end]);
        }
        result
    }
}

/// Writes bytes, and counts those that the output took.
fn write(output: &mut impl Write, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match output.write(&bytes[*written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::{self, ErrorKind, Write};

    use super::WholeLines;

    /// Takes as many bytes as the script says for each call; `None` fails. After the script it takes all.
    struct Pipe {
        script: VecDeque<Option<usize>>,
        taken: Vec<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = match self.script.pop_front() {
                Some(None) => return Err(ErrorKind::WouldBlock.into()),
                Some(Some(count)) => count.min(bytes.len()),
                None => bytes.len(),
            };
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_that_fails_in_a_line_is_followed_by_the_rest_of_the_line() {
        // What each call takes, whether each write succeeds, and the output.
        type Case<'c> = (&'c [Option<usize>], &'c [bool], &'c str);
        let cases: [Case<'_>; 8] = [
            (&[], &[true], "one\ntwo\n"),
            (&[Some(1), Some(2), Some(3)], &[true], "one\ntwo\n"),
            // Nothing was taken.
            (&[None], &[false, true], "one\ntwo\n"),
            // In the first line, at its end, and in the second one.
            (&[Some(2), None], &[false, true], "one\none\ntwo\n"),
            (&[Some(3), None], &[false, true], "one\none\ntwo\n"),
            (&[Some(4), None], &[false, true], "one\none\ntwo\n"),
            (&[Some(6), None], &[false, true], "one\ntwo\none\ntwo\n"),
            // The rest of the line fails too, and the write after it.
            (
                &[Some(5), None, None, Some(1), None, Some(2), Some(1), None],
                &[false, false, false, false, true],
                "one\ntwo\none\none\ntwo\n",
            ),
        ];
        for (script, results, output) in cases {
            let mut pipe = Pipe { script: script.iter().copied().collect(), taken: Vec::new() };
            let mut lines = WholeLines::default();
            for result in results {
                let written = lines.write(&mut pipe, b"one\ntwo\n");
                assert_eq!(written.is_ok(), *result, "{script:?}");
            }
            assert_eq!(String::from_utf8_lossy(&pipe.taken), output, "{script:?}");
        }
    }

    /// A signal, such as the one of a terminal that is resized.
    #[test]
    fn an_interrupted_write_goes_on_and_repeats_nothing() {
        struct Interrupted(Vec<u8>, bool);

        impl Write for Interrupted {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(ErrorKind::Interrupted.into());
                }
                self.0.push(bytes[0]);
                Ok(1)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let mut output = Interrupted(Vec::new(), false);
        WholeLines::default().write(&mut output, b"one\ntwo\n").unwrap();
        assert_eq!(output.0, b"one\ntwo\n");
    }
}
