//! Builds the lines of changes.

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Answers, Change};

/// The capacity for a line of the usual size.
const USUAL_BYTES: usize = 1536;

/// The lines of the changes. Rejects those that have no line.
pub(crate) fn lines(encoder: Encoder, changes: &[Change], answers: &mut Answers<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(changes.len() * USUAL_BYTES);
    for (index, change) in changes.iter().enumerate() {
        let begin = text.len();
        match encoder.append_body(change, usize::MAX, &mut text) {
            // The configuration does not allow a format in which a delete has no body.
            Ok(()) => {
                join_lines(&mut text, begin);
                text.push(b'\n');
            }
            Err(too_large) => answers.reject(index, too_large.to_string()),
        }
    }
    text
}

/// Replaces the line breaks of JSON, which are between its tokens, by spaces. A document is written as it was read.
fn join_lines(text: &mut [u8], begin: usize) {
    for byte in text.iter_mut().skip(begin).filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}
