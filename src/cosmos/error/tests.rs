use cosmos_bridge_cosmos::{Answer, Class, INTERMEDIARY};

use super::{CosmosError, CosmosErrorKind};
use crate::exit_code;
use crate::model::{FeedRange, Position};

fn answered(status: u16, sub_status: u32) -> CosmosError {
    let answer = Answer { status, sub_status, ..Answer::default() };
    CosmosError { attempt: "reading".to_owned(), answer }
}

#[test]
fn hint_and_exit_code_fit_the_status() {
    let (denied, missing) = (CosmosErrorKind::Denied, CosmosErrorKind::Missing);
    for (error, kind, code, hint) in [
        (answered(401, 0), denied, exit_code::DENIED, "key"),
        (answered(401, 20_402), denied, exit_code::DENIED, "[credentials]"),
        (answered(403, 5301), denied, exit_code::DENIED, "readMetadata"),
        (answered(403, 5302), denied, exit_code::DENIED, "Cosmos DB Built-in Data Reader"),
        (answered(404, 0), missing, exit_code::MISSING, "Create"),
        (answered(404, 1003), missing, exit_code::MISSING, "Create"),
        (answered(408, 20_008), CosmosErrorKind::Unreachable, exit_code::UNREACHABLE, "endpoint"),
        (answered(503, 20_010), CosmosErrorKind::Unreachable, exit_code::UNREACHABLE, "endpoint"),
        (answered(503, 0), CosmosErrorKind::Unreachable, exit_code::UNREACHABLE, "endpoint"),
        (answered(503, 20_311), CosmosErrorKind::Unready, exit_code::UNREACHABLE, ""),
        (answered(429, 3200), CosmosErrorKind::Throttled, exit_code::UNREACHABLE, ""),
        (answered(400, 0), CosmosErrorKind::Other, exit_code::FAILED, ""),
        (
            answered(400, INTERMEDIARY),
            CosmosErrorKind::Intermediary,
            exit_code::UNREACHABLE,
            "proxy",
        ),
        (
            answered(403, INTERMEDIARY),
            CosmosErrorKind::Intermediary,
            exit_code::UNREACHABLE,
            "proxy",
        ),
        (answered(500, 20_203), CosmosErrorKind::Other, exit_code::FAILED, "bug"),
        (CosmosError::internal("", ""), CosmosErrorKind::Other, exit_code::FAILED, "bug"),
        (CosmosError::invalid("", ""), CosmosErrorKind::Other, exit_code::FAILED, ""),
        (CosmosError::ended(""), CosmosErrorKind::Other, exit_code::FAILED, ""),
        (CosmosError::replaced(""), CosmosErrorKind::Other, exit_code::FAILED, "new name"),
    ] {
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.exit_code(), code, "{error:?}");
        let text = error.hint().unwrap_or_default();
        assert_eq!(text.is_empty(), hint.is_empty(), "{error:?}: {text}");
        assert!(text.contains(hint), "{error:?}: {text}");
    }
}

/// In all-versions mode a refusal means that the position has left the retention window.
#[test]
fn a_bug_is_not_a_refusal_and_an_ended_feed_is_neither() {
    assert_eq!(CosmosError::internal("", "").class(), Class::Defect);
    assert_eq!(CosmosError::ended("").class(), Class::Busy);
    assert_eq!(answered(400, 0).class(), Class::Refused);
}

#[test]
fn a_position_that_is_of_no_use_is_told_with_a_remedy() {
    let position = Position::of(FeedRange::whole(), Some("\"99\"".to_owned()));
    let ahead = CosmosError::ahead(&position, 50);
    let expected = "reading feed range [,FF): the stored position \"99\" is ahead of the feed, \
                    whose newest log sequence number is 50";
    assert_eq!(ahead.to_string(), expected);
    let refused = answered(400, 0).refused_position(&position);
    let lost = answered(400, 0).lost_position(&position);
    assert!(lost.is_lost_position() && !refused.is_lost_position() && !ahead.is_lost_position());
    for error in [ahead, refused, lost] {
        // Others of the range may have a position that the service takes.
        assert!(error.is_about_position() && error.class() == Class::Refused);
        assert!(error.hint().unwrap().contains("new name"), "{error}");
    }
    assert!(!answered(400, 0).is_about_position());
    let without = answered(400, 0).without_history();
    assert_eq!((without.class(), without.exit_code()), (Class::Refused, exit_code::CONFIG));
    assert!(without.hint().unwrap().contains("continuous backup"));
}
