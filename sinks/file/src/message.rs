//! Lines of changes.

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Change, Outcome};

/// The lines of these changes, and what became of each as far as that is known without writing.
pub(crate) fn lines(encoder: Encoder, changes: &[Change]) -> (Vec<u8>, Vec<Outcome>) {
    let mut text = Vec::new();
    let outcome = |change| match encoder.encode(change, usize::MAX) {
        Ok(event) => {
            // The configuration refuses a format in which a delete has no body.
            text.extend_from_slice(&event.body.unwrap_or_default());
            text.push(b'\n');
            Outcome::Delivered
        }
        Err(problem) => Outcome::Rejected { reason: problem.to_string() },
    };
    let outcomes = changes.iter().map(outcome).collect();
    (text, outcomes)
}
