use std::io;

use super::*;

#[test]
fn an_internal_exchange_is_named_as_such() {
    let text = "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'";
    assert_eq!(answered(Stage::Publishing, "asking", 403, text).hint, Some(INTERNAL));
    let text = "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'u'";
    assert_eq!(answered(Stage::Publishing, "asking", 403, text).hint, Some(PERMISSION));
}

#[test]
fn a_message_that_is_too_large_has_the_hint_of_its_limit() {
    let (code, size) = (406, "PRECONDITION_FAILED - message size 9 is larger than configured max");
    let table = [
        (code, format!("{size} size 8"), Some(LARGE)),
        (code, "PRECONDITION_FAILED - other".to_owned(), None),
        (311, "CONTENT_TOO_LARGE".to_owned(), Some(LARGE)),
    ];
    for (code, text, hint) in table {
        let failure = answered(Stage::Publishing, "publishing", code, &text);
        assert_eq!(failure.into_sink_error().hint.as_deref(), hint, "{text}");
    }
}

#[test]
fn only_a_broker_that_says_nothing_may_still_receive_messages() {
    let table = [
        (Error::from(ErrorKind::MissingHeartbeatError), true),
        (Error::from(io::Error::from(io::ErrorKind::ConnectionReset)), false),
        (Error::from(ErrorKind::ChannelsLimitReached), false),
    ];
    for (error, is_silence) in table {
        let failure = classify(Stage::Publishing, "publishing", &error);
        assert_eq!(failure.is_silence, is_silence, "{error}");
    }
}

#[test]
fn a_code_has_the_class_of_its_row() {
    let table = [
        (Stage::Connecting, 403, "ACCESS_REFUSED", Class::FAULT),
        (Stage::Connecting, 530, "NOT_ALLOWED - vhost x not found", Class::FAULT),
        (Stage::Connecting, 320, "CONNECTION_FORCED", Class::BUSY),
        (Stage::Publishing, 320, "CONNECTION_FORCED", Class::BUSY),
        (Stage::Publishing, 403, "ACCESS_REFUSED", Class::FAULT),
        (Stage::Publishing, 404, "NOT_FOUND", Class::FAULT),
        (
            Stage::Publishing,
            406,
            "PRECONDITION_FAILED - message size 9 is larger than \
          configured max size 8",
            Class::TooLarge,
        ),
        (Stage::Publishing, 406, "PRECONDITION_FAILED - other", Class::FAULT),
        (Stage::Publishing, 541, "INTERNAL_ERROR", Class::BUSY),
        (Stage::Publishing, 504, "CHANNEL_ERROR", Class::FAULT),
    ];
    for (stage, code, text, class) in table {
        let failure = answered(stage, "publishing", code, text);
        assert_eq!(failure.class, class, "{code} {text}");
        assert_eq!(failure.reason, format!("publishing: the broker answered {code} {text}"));
    }
}

#[test]
fn a_code_tells_what_is_wrong_with_the_target() {
    let table = [
        (320, "CONNECTION_FORCED", SinkErrorKind::Unreachable),
        (403, "ACCESS_REFUSED", SinkErrorKind::Denied),
        (404, "NOT_FOUND - no exchange 'x'", SinkErrorKind::Missing),
        (530, "NOT_ALLOWED - vhost x not found", SinkErrorKind::Missing),
        (530, "NOT_ALLOWED - access to vhost 'x' refused", SinkErrorKind::Denied),
        (504, "CHANNEL_ERROR", SinkErrorKind::Other),
    ];
    for (code, text, kind) in table {
        let failure = answered(Stage::Connecting, "connecting", code, text);
        assert_eq!(failure.into_sink_error().kind, kind, "{code} {text}");
    }
}

#[test]
fn every_row_is_reached() {
    for (at, row) in TABLE.iter().enumerate() {
        let first = TABLE.iter().position(|r| (r.stage, r.code) == (row.stage, row.code));
        assert_eq!(first, Some(at), "{row:?}");
    }
}

#[test]
fn the_largest_message_is_read_from_the_brokers_text() {
    let text = "PRECONDITION_FAILED - message size 134217729 is larger than configured max \
                size 134217728";
    let table = [
        (406, text, Some(134_217_728)),
        (406, "PRECONDITION_FAILED - message size is odd", None),
        (406, "PRECONDITION_FAILED - 12 apples", None),
        (404, text, None),
    ];
    for (code, text, expected) in table {
        assert_eq!(largest(code, text), expected, "{text}");
    }
}

#[test]
fn an_error_of_the_network_is_transient_and_one_of_certificates_is_not() {
    let table = [
        (io::ErrorKind::ConnectionRefused, "refused", Class::BUSY),
        (io::ErrorKind::ConnectionReset, "reset", Class::BUSY),
        (io::ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer", Class::FAULT),
        (io::ErrorKind::InvalidData, "received corrupt message", Class::BUSY),
    ];
    for (kind, text, class) in table {
        let error = Error::from(io::Error::new(kind, text));
        let failure = classify(Stage::Connecting, "connecting", &error);
        assert_eq!((failure.class, failure.reason), (class, format!("connecting: {text}")));
    }
}
