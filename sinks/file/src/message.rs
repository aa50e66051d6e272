//! Lines of changes.

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Change, Outcome};

/// Room for a line of the usual size.
const USUAL_BYTES: usize = 1536;

/// The lines of these changes, and what became of each as far as that is known without writing.
pub(crate) fn lines(encoder: Encoder, changes: &[Change]) -> (Vec<u8>, Vec<Outcome>) {
    let mut text = Vec::with_capacity(changes.len() * USUAL_BYTES);
    let outcome = |change| match encoder.append_body(change, usize::MAX, &mut text) {
        // The configuration refuses a format in which a delete has no body.
        Ok(()) => {
            text.push(b'\n');
            Outcome::Delivered
        }
        Err(problem) => Outcome::Rejected { reason: problem.to_string() },
    };
    let outcomes = changes.iter().map(outcome).collect();
    (text, outcomes)
}
