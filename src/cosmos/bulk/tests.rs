use std::time::Duration;

use azure_data_cosmos::feed::FeedRange;
use azure_data_cosmos_driver::models::partition_key_range::PartitionKeyRange;
use cosmos_bridge_cosmos::{Answer, Operation, OperationKind};
use cosmos_bridge_sink::{KeyValue, PartitionKey};
use serde_json::value::RawValue;

use super::{BYTES_MAX, OPERATIONS_MAX, body, encode, range_of, requests, results};

fn operation(kind: OperationKind, key: Vec<KeyValue>, if_match: Option<&str>) -> Operation {
    let text = r#"{"id":"1","n":1.50}"#.to_owned();
    let document = (kind != OperationKind::Delete).then(|| RawValue::from_string(text).unwrap());
    let if_match = if_match.map(str::to_owned);
    Operation { kind, partition_key: PartitionKey(key), id: "1".to_owned(), document, if_match }
}

#[test]
fn an_operation_is_text_as_the_service_reads_it() {
    let text = |text: &str| KeyValue::String(text.to_owned());
    for (operation, expected) in [
        (
            operation(OperationKind::Create, vec![text("a\"é")], None),
            r#"{"operationType":"Create","partitionKey":"[\"a\\\"é\"]","resourceBody":{"id":"1","n":1.50}}"#,
        ),
        (
            operation(OperationKind::Upsert, vec![text("a"), KeyValue::Number(2.5)], None),
            r#"{"operationType":"Upsert","partitionKey":"[\"a\",2.5]","resourceBody":{"id":"1","n":1.50}}"#,
        ),
        (
            operation(OperationKind::Replace, vec![KeyValue::Null], Some("\"e\"")),
            r#"{"operationType":"Replace","partitionKey":"[null]","id":"1","ifMatch":"\"e\"","resourceBody":{"id":"1","n":1.50}}"#,
        ),
        (
            operation(OperationKind::Delete, vec![KeyValue::Undefined], None),
            r#"{"operationType":"Delete","partitionKey":"[{}]","id":"1"}"#,
        ),
        (
            operation(OperationKind::Delete, vec![KeyValue::Bool(true)], Some("e")),
            r#"{"operationType":"Delete","partitionKey":"[true]","id":"1","ifMatch":"e"}"#,
        ),
    ] {
        assert_eq!(String::from_utf8(encode(&operation).unwrap()).unwrap(), expected);
    }
}

#[test]
fn a_body_is_an_array_of_operations() {
    for (operations, expected) in
        [(vec![], "[]"), (vec!["{}"], "[{}]"), (vec!["{1}", "{2}", "{3}"], "[{1},{2},{3}]")]
    {
        let body = body(operations.iter().map(|operation| operation.as_bytes()));
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}

#[test]
fn a_request_has_at_most_what_the_service_accepts() {
    let half = BYTES_MAX / 2;
    for (bytes, expected) in [
        (vec![], vec![]),
        (vec![10; 3], vec![3]),
        (vec![10; OPERATIONS_MAX], vec![OPERATIONS_MAX]),
        (vec![10; OPERATIONS_MAX + 1], vec![OPERATIONS_MAX, 1]),
        (vec![10; 2 * OPERATIONS_MAX + 7], vec![OPERATIONS_MAX, OPERATIONS_MAX, 7]),
        // With two brackets and a comma.
        (vec![half - 2, half - 1], vec![2]),
        (vec![half - 1, half - 1], vec![1, 1]),
        (vec![BYTES_MAX - 2], vec![1]),
        (vec![BYTES_MAX - 2, 1, 1], vec![1, 2]),
    ] {
        let requests = requests(&bytes);
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        let positions: Vec<_> = requests.concat();
        assert_eq!(positions, (0..bytes.len()).collect::<Vec<_>>());
        for request in requests {
            let texts: Vec<_> = request.iter().map(|at| vec![b'x'; bytes[*at]]).collect();
            assert!(body(texts.iter().map(Vec::as_slice)).len() <= BYTES_MAX);
        }
    }
}

#[test]
fn an_operation_that_is_too_large_is_in_no_request() {
    assert_eq!(requests(&[BYTES_MAX - 1]), Vec::<Vec<usize>>::new());
    assert_eq!(requests(&[5, BYTES_MAX - 1, 5]), [vec![0, 2]]);
}

#[test]
fn a_key_is_in_the_partition_whose_range_holds_it() {
    let range = |id: &str, min: &str, max: &str| {
        let bound = |hex: &str| hex.try_into().unwrap();
        PartitionKeyRange::new(id.to_owned(), bound(min), bound(max))
    };
    let ranges = [range("3", "", "40"), range("1", "40", "C0"), range("2", "C0", "FF")];
    for (min, max, expected) in [
        ("00", "00", Some("3")),
        ("3FFF", "3FFF", Some("3")),
        ("40", "40", Some("1")),
        ("4000", "4000", Some("1")),
        ("BFFF", "BFFF", Some("1")),
        ("C0", "C0", Some("2")),
        ("FF", "FF", None),
        // Several keys: only a part of a key is known.
        ("40", "41", None),
    ] {
        let key = FeedRange::new(min.try_into().unwrap(), max.try_into().unwrap());
        let Ok(key) = key else { panic!("{min} to {max}") };
        assert_eq!(range_of(&ranges, &key), expected, "{min}");
        assert_eq!(range_of(&[], &key), None);
    }
    // A gap: the range was divided while the ranges were read.
    let gap = [range("3", "", "40"), range("2", "C0", "FF")];
    let key = FeedRange::new("50".try_into().unwrap(), "50".try_into().unwrap()).unwrap();
    assert_eq!(range_of(&gap, &key), None);
}

#[test]
fn an_answer_has_a_result_for_each_operation() {
    let text =
        br#"[{"statusCode":201,"requestCharge":5.29,"eTag":"\"e\"","resourceBody":{"id":"1"}},
        {"statusCode":429,"subStatusCode":3200,"requestCharge":0.38,"retryAfterMilliseconds":41},
        {"statusCode":424,"future":true}]"#;
    let expected = [
        Answer { status: 201, charge: 5.29, etag: Some("\"e\"".to_owned()), ..Answer::default() },
        Answer {
            status: 429,
            sub_status: 3200,
            charge: 0.38,
            retry_after: Some(Duration::from_millis(41)),
            ..Answer::default()
        },
        Answer { status: 424, ..Answer::default() },
    ];
    assert_eq!(results(text, 3).unwrap(), expected);
    for (text, count) in [
        (&text[..], 2),
        (&text[..], 4),
        (&text[..100], 3),
        (&b"[]"[..], 1),
        (&b""[..], 0),
        (&b"{}"[..], 1),
        (&br#"[{"requestCharge":1}]"#[..], 1),
    ] {
        assert_eq!(results(text, count), None);
    }
    assert_eq!(results(b"[]", 0), Some(vec![]));
}
