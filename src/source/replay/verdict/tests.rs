use serde_json::{Value, json};

use super::*;

const AT: i64 = 1_700_000_000;
const LATER: i64 = AT + SETTLED_AFTER;

fn letter(stage: Stage, operation: &'static str, document: Option<&Value>) -> DeadLetter {
    DeadLetter {
        pipeline: "p".to_owned(),
        sink: "a".to_owned(),
        stage,
        cause: "no key".to_owned(),
        source: "a/d/c".to_owned(),
        source_id: "1".to_owned(),
        source_key: "[\"x\"]".to_owned(),
        range_min: String::new(),
        lsn: Some(7),
        nth: 0,
        target: "1".to_owned(),
        committed_at: Some(AT),
        operation,
        document: document.map(Value::to_string),
        previous: None,
        unparsed: None,
    }
}

fn document(value: Value) -> Document {
    let Value::Object(document) = value else { panic!("{value}") };
    document.into()
}

/// As a point read returns it.
fn held(content: i64, at: i64) -> Document {
    document(json!({"id": "1", "pk": "x", "n": content, "_ts": at, "_etag": "e", "_rid": "r"}))
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Write(Event::Upsert { .. }) => "upsert",
        Verdict::Write(Event::Delete { .. }) => "delete",
        Verdict::Superseded => "superseded",
        Verdict::Kept(NOT_SETTLED) => "not settled",
        Verdict::Kept(_) => "kept",
    }
}

#[test]
fn a_newer_version_is_never_overwritten_and_an_older_answer_not_believed() {
    let read = json!({"id": "1", "pk": "x", "n": 1});
    // Stage, operation, what the source holds, the time, and what follows.
    let table = [
        (Stage::Route, "upsert", vec![held(1, AT)], AT, "upsert"),
        (Stage::Route, "upsert", vec![held(1, AT + 5)], AT, "upsert"),
        (Stage::Route, "upsert", vec![held(2, AT + 5)], AT, "superseded"),
        (Stage::Route, "upsert", vec![held(2, AT)], AT, "superseded"),
        (Stage::Route, "upsert", vec![held(0, AT - 1)], AT, "not settled"),
        (Stage::Route, "upsert", vec![], LATER - 1, "not settled"),
        (Stage::Route, "upsert", vec![], LATER, "superseded"),
        (Stage::Sink, "upsert", vec![held(1, AT)], AT, "upsert"),
        (Stage::Sink, "upsert", vec![held(2, AT + 1)], AT, "superseded"),
        (Stage::Sink, "upsert", vec![held(0, AT - 1)], LATER, "not settled"),
        (Stage::Sink, "upsert", vec![], LATER, "superseded"),
        (Stage::Route, "delete", vec![], AT, "delete"),
        (Stage::Route, "expire", vec![], AT, "delete"),
        (Stage::Sink, "delete", vec![], AT, "delete"),
        (Stage::Route, "delete", vec![held(2, AT + 1)], AT, "superseded"),
        // The route decides: the document may hold a mark that counts as a delete.
        (Stage::Route, "delete", vec![held(2, AT)], AT, "upsert"),
        (Stage::Sink, "delete", vec![held(2, AT)], LATER, "upsert"),
        (Stage::Route, "delete", vec![held(0, AT - 9)], AT, "not settled"),
        (Stage::Route, "delete", vec![held(0, AT - 9)], LATER, "superseded"),
        (Stage::Read, "upsert", vec![held(1, AT), held(2, AT)], LATER, "kept"),
    ];
    for (stage, operation, current, now, expected) in table {
        let letter = letter(stage, operation, Some(&read));
        let verdict = judge(&letter, current.clone(), now);
        assert_eq!(word(&verdict), expected, "{stage:?} {operation} {current:?} {now}");
    }
}

#[test]
fn what_is_routed_is_what_the_source_holds() {
    let previous = json!({"id": "1", "n": 0});
    let mut route = letter(Stage::Route, "upsert", Some(&json!({"id": "1", "pk": "x", "n": 1})));
    route.previous = Some(previous.to_string());
    let with_previous = Some(document(previous));
    let current = held(1, AT);
    let expected =
        Event::Upsert { current: current.clone(), previous: with_previous, is_new: false };
    assert_eq!(judge(&route, vec![current.clone()], AT), Verdict::Write(expected));
    // A sink's letter has the document as it was to be written.
    let sink = DeadLetter { stage: Stage::Sink, ..route };
    let expected = Event::Upsert { current: current.clone(), previous: None, is_new: false };
    assert_eq!(judge(&sink, vec![current], AT), Verdict::Write(expected));
    let image = json!({"id": "1", "n": 1});
    let gone = letter(Stage::Route, "expire", Some(&image));
    let expected = Event::Delete { previous: Some(document(image)), expired: true };
    assert_eq!(judge(&gone, vec![], AT), Verdict::Write(expected));
}

#[test]
fn the_number_that_the_feed_adds_is_no_difference() {
    let flat = json!({"id": "1", "pk": "x", "n": 1, "_lsn": 7});
    let verdict = judge(&letter(Stage::Route, "upsert", Some(&flat)), vec![held(1, AT)], AT);
    assert_eq!(word(&verdict), "upsert");
    // Of the document itself.
    let own = json!({"id": "1", "pk": "x", "n": 1, "_lsn": 8});
    let verdict = judge(&letter(Stage::Route, "upsert", Some(&own)), vec![held(1, AT)], AT);
    assert_eq!(word(&verdict), "superseded");
}

#[test]
fn a_letter_names_its_document_as_far_as_the_feed_did() {
    let of = |id: &str, key: &str| {
        let letter = DeadLetter {
            source_id: id.to_owned(),
            source_key: key.to_owned(),
            ..letter(Stage::Read, "upsert", None)
        };
        document_of(&letter).map(|(id, key)| (id.to_owned(), key))
    };
    let key = |values: Vec<KeyValue>| Some(PartitionKey(values));
    let text = KeyValue::String("x".to_owned());
    assert_eq!(of("", "[]"), Err(UNKNOWN));
    assert_eq!(of("1", "[]"), Ok(("1".to_owned(), None)));
    let several = "[\"x\",1.5,true,null,{}]";
    let values = vec![
        text,
        KeyValue::Number(1.5),
        KeyValue::Bool(true),
        KeyValue::Null,
        KeyValue::Undefined,
    ];
    assert_eq!(of("1", several), Ok(("1".to_owned(), key(values))));
}

/// What cannot be parsed as a whole is compared and used as well.
#[test]
fn the_bytes_of_a_letter_are_its_document() {
    let parsed = |text: &[u8]| Document::parse(text).unwrap();
    let of = |operation, text: &[u8]| DeadLetter {
        unparsed: Some(text.to_vec()),
        ..letter(Stage::Route, operation, None)
    };
    let read = br#"{"id":"1","pk":"x","t":"\ud83d"}"#;
    let now = |value: &str| {
        let text = format!(r#"{{"id":"1","pk":"x","_ts":{},"t":{value}}}"#, AT + 5);
        Document::parse(text.as_bytes()).unwrap()
    };
    for (value, expected) in [(r#""\ud83d""#, "upsert"), (r#""\ud83e""#, "superseded")] {
        let verdict = judge(&of("upsert", read), vec![now(value)], AT);
        assert_eq!(word(&verdict), expected, "{value}");
    }
    let expected = Event::Delete { previous: Some(parsed(read)), expired: false };
    assert_eq!(judge(&of("delete", read), vec![], AT), Verdict::Write(expected));
    // The version before has its text.
    let mut moved = of("upsert", read);
    moved.previous = Some(r#"{"id":"1","t":1e400}"#.to_owned());
    let Verdict::Write(Event::Upsert { previous, .. }) =
        judge(&moved, vec![now(r#""\ud83d""#)], AT)
    else {
        panic!("it is written")
    };
    assert_eq!(previous, Some(parsed(br#"{"id":"1","t":1e400}"#)));
}

/// A mirrored sink gets documents as they were read, and needs what a change has replaced.
#[test]
fn a_delete_of_a_mirrored_sink_has_the_image_that_was_read() {
    let as_read = json!({"id": "1", "pk": "x", "n": 1, "_etag": "e", "_ts": AT});
    let as_sent = json!({"id": "1", "pk": "x", "n": 1});
    for (stage, document, previous, expected) in [
        (Stage::Sink, Some(&as_read), None, Some(&as_read)),
        (Stage::Sink, None, Some(&as_read), Some(&as_read)),
        (Stage::Sink, Some(&as_sent), Some(&as_sent), None),
        (Stage::Route, Some(&as_sent), None, Some(&as_sent)),
    ] {
        let previous = previous.map(Value::to_string);
        let letter = DeadLetter { previous, ..letter(stage, "delete", document) };
        let Verdict::Write(Event::Delete { previous: found, .. }) = judge(&letter, vec![], AT)
        else {
            panic!("{letter:?}");
        };
        let expected = expected.map(|expected| self::document(expected.clone()));
        assert_eq!(found, expected, "{letter:?}");
    }
}
