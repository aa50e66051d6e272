//! What the SDK and its driver tell, as answers.

use std::time::Duration;

use azure_data_cosmos::diagnostics::DiagnosticsContext;
use azure_data_cosmos_driver::models::CosmosResponse;
use cosmos_bridge_cosmos::{Answer, Class, classify};

use crate::cosmos::error::NO_ANSWER;

/// The answer to a request of the driver, with the charge of all attempts.
pub(super) fn answer_to(response: &CosmosResponse) -> Answer {
    let (attempts, headers) = (response.diagnostics(), response.headers());
    Answer {
        status: u16::from(response.status().status_code()),
        sub_status: headers.substatus.map_or(0, |sub| u32::from(sub.value())),
        charge: attempts.total_request_charge().value(),
        retry_after: headers.retry_after_ms.map(Duration::from_millis),
        message: String::new(),
        etag: headers.etag.as_ref().map(ToString::to_string),
        is_unanswered: is_unanswered(&attempts),
    }
}

/// True if an attempt may have been sent and no answer came: the service may still execute it.
pub(super) fn is_unanswered(attempts: &DiagnosticsContext) -> bool {
    attempts.requests().iter().any(|attempt| {
        let sub_status = attempt.status().sub_status().map_or(0, |sub| u32::from(sub.value()));
        let lost = NO_ANSWER.contains(&sub_status) && attempt.request_sent().may_have_been_sent();
        let mut connections = attempt.failed_transport_shards().iter();
        attempt.timed_out()
            || lost
            || connections.any(|one| one.request_sent().may_have_been_sent())
    })
}

/// The substatuses of a 410 after which the driver sends a request once more.
const SENT_AGAIN: [u32; 3] = [1002, 1007, 1008];

/// True if an error tells of the last attempts only. The driver repeats a request after such a 410 as a new
/// one; if that meets a 410 too, the error does not tell whether an attempt before the first 410 was lost.
pub(super) fn hides_attempts(answer: &Answer) -> bool {
    answer.status == 410 && SENT_AGAIN.contains(&answer.sub_status)
}

/// The status of an answer that broke off: the service may have executed the request.
pub(super) const INCOMPLETE: (u16, u32) = (500, 20_020);

/// An answer that broke off.
pub(super) fn broken_off(whole: Answer) -> Answer {
    let (status, sub_status) = INCOMPLETE;
    Answer { status, sub_status, message: "the answer broke off".to_owned(), ..whole }
}

pub(super) fn is_moved(answer: &Answer) -> bool {
    classify(answer.status, answer.sub_status) == Class::RangeMoved
}
