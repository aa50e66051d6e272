use lapin::types::ShortString;

use super::*;
use crate::classify::answered;

fn message(id: &str) -> Message {
    Message {
        exchange: ShortString::default(),
        routing_key: ShortString::default(),
        body: Vec::new(),
        properties: lapin::BasicProperties::default(),
        id: id.to_owned(),
    }
}

#[test]
fn a_name_that_holds_parts_of_a_document_is_not_shown() {
    let returned = BasicReturnMessage {
        delivery: lapin::message::Delivery::mock(
            0,
            "planted-exchange".into(),
            "planted-key".into(),
            false,
            Vec::new(),
        ),
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
    };
    let refused = |text: &str| answered(Stage::Publishing, "publishing", 403, text);
    let topic = refused("ACCESS_REFUSED - access to topic 'planted-key' in exchange 'x' refused");
    let missing = answered(Stage::Publishing, "publishing", 404, "no exchange 'planted-exchange'");
    for (exchange, key) in [(true, true), (false, true), (true, false), (false, false)] {
        let hides = Hides { exchange, key };
        let returned = unroutable(&returned, hides);
        assert_eq!(returned.contains("planted-exchange"), !exchange, "{returned}");
        assert_eq!(returned.contains("planted-key"), !key, "{returned}");
        let refused = hides.of_failure("publishing", topic.clone()).reason;
        assert_eq!(refused.contains("planted-key"), !exchange && !key, "{refused}");
        let missing = hides.of_failure("publishing", missing.clone()).reason;
        assert_eq!(missing.contains("planted-exchange"), !exchange, "{missing}");
    }
}

#[test]
fn an_error_is_the_result_of_its_message_and_of_no_other() {
    let messages = [message("a"), message("b"), message("c")];
    let answers = [
        Ok(Confirmation::Ack(None)),
        Err(Error::from(ErrorKind::MissingHeartbeatError)),
        Ok(Confirmation::Nack(None)),
    ];
    let lost = PublishResult::Lost(Failure::busy("gone"));
    let expected = [PublishResult::Confirmed, lost.clone(), PublishResult::Nacked];
    assert_eq!(results(&messages, &answers, Some(&lost), Hides::default()), expected);
}

/// It may be any of them, so none counts as delivered, and all wait.
#[test]
fn a_message_that_is_returned_without_its_id_leaves_the_result_of_all_unknown() {
    let returned = |id: Option<&str>| {
        let mut delivery =
            lapin::message::Delivery::mock(0, "changes".into(), "key".into(), false, Vec::new());
        if let Some(id) = id {
            delivery.properties = lapin::BasicProperties::default().with_message_id(id.into());
        }
        BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
    };
    let of = |id| {
        let messages = [message("a"), message("b")];
        // The client may attach a returned message to the confirmation of another one.
        let answers = [Ok(Confirmation::Ack(None)), Ok(Confirmation::Ack(Some(returned(id))))];
        results(&messages, &answers, None, Hides::default())
    };
    let reason = "no queue is bound for exchange `changes`, routing key `key` (312 NO_ROUTE)";
    let no_queue = PublishResult::Returned(reason.to_owned());
    assert_eq!(of(Some("a")), [no_queue, PublishResult::Confirmed]);
    let unknown = of(None);
    assert_eq!(unknown.len(), 2);
    for result in unknown {
        let PublishResult::Lost(failure) = result else { panic!("{result:?}") };
        assert_eq!(failure.class, Class::FAULT, "an operator has to find out");
        assert!(!failure.is_silence);
    }
}
