use std::time::Duration;

use azure_data_cosmos::feed::FeedRange;
use azure_data_cosmos_driver::models::partition_key_range::PartitionKeyRange;
use cosmos_bridge_cosmos::{Answer, Content, Operation, Write};
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};

use super::{BYTES_MAX, OPERATIONS_MAX, Request, Requests, range_of, results};

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

/// The bodies of the requests with these operations, and the positions of those in each.
fn requests(operations: &[Operation<'_>]) -> Vec<(String, Vec<usize>)> {
    let mut requests = Requests::default();
    for (position, operation) in operations.iter().enumerate() {
        requests.add(position, operation);
    }
    let parts = |mut request: Request| {
        let positions = std::mem::take(&mut request.positions);
        (String::from_utf8(request.into_body()).unwrap(), positions)
    };
    requests.into_iter().map(parts).collect()
}

#[test]
fn an_operation_is_text_as_the_service_reads_it() {
    let text = |text: &str| KeyValue::String(text.to_owned());
    let document = document(r#"{"id":"1","n":1.5}"#);
    let content = Content::from(&document);
    let expires = Content { ttl: Some(4), ..content };
    let delete = |if_match| Write::Delete { if_match };
    let replace = |if_match| Write::Replace { content, if_match };
    for (write, content, key, expected) in [
        (
            Write::Create(content),
            Some(content),
            vec![text("a\"é")],
            r#"[{"operationType":"Create","partitionKey":"[\"a\\\"é\"]","resourceBody":{"id":"1","n":1.5}}]"#,
        ),
        (
            Write::Upsert(expires),
            Some(expires),
            vec![text("a"), KeyValue::Number(2.5)],
            r#"[{"operationType":"Upsert","partitionKey":"[\"a\",2.5]","resourceBody":{"id":"1","n":1.5,"ttl":4}}]"#,
        ),
        (
            replace(Some("\"e\"")),
            Some(content),
            vec![KeyValue::Null],
            r#"[{"operationType":"Replace","partitionKey":"[null]","id":"1","ifMatch":"\"e\"","resourceBody":{"id":"1","n":1.5}}]"#,
        ),
        (
            delete(None),
            None,
            vec![KeyValue::Undefined],
            r#"[{"operationType":"Delete","partitionKey":"[{}]","id":"1"}]"#,
        ),
        (
            delete(Some("e")),
            None,
            vec![KeyValue::Bool(true)],
            r#"[{"operationType":"Delete","partitionKey":"[true]","id":"1","ifMatch":"e"}]"#,
        ),
    ] {
        let key = PartitionKey(key);
        let operation = Operation::of(&key, "1", content, write).unwrap();
        assert_eq!(requests(&[operation]), [(expected.to_owned(), vec![0])]);
    }
}

/// The size of an operation without the document's filler.
const FRAME: usize =
    r#"{"operationType":"Create","partitionKey":"[]","resourceBody":{"t":""}}"#.len();

#[test]
fn a_request_has_at_most_what_the_service_accepts() {
    let half = BYTES_MAX / 2;
    // The bytes of each operation, and the numbers of operations in the requests.
    for (bytes, expected) in [
        (vec![], vec![]),
        (vec![100; 3], vec![3]),
        (vec![100; OPERATIONS_MAX], vec![OPERATIONS_MAX]),
        (vec![100; OPERATIONS_MAX + 1], vec![OPERATIONS_MAX, 1]),
        (vec![100; 2 * OPERATIONS_MAX + 7], vec![OPERATIONS_MAX, OPERATIONS_MAX, 7]),
        // With two brackets and a comma.
        (vec![half - 2, half - 1], vec![2]),
        (vec![half - 1, half - 1], vec![1, 1]),
        (vec![BYTES_MAX - 2], vec![1]),
        (vec![BYTES_MAX - 2, 100, 100], vec![1, 2]),
        (vec![100, BYTES_MAX - 2, 100], vec![1, 1, 1]),
    ] {
        let documents = bytes
            .iter()
            .map(|bytes| document(&format!(r#"{{"t":"{}"}}"#, "x".repeat(bytes - FRAME))));
        let documents: Vec<_> = documents.collect();
        let requests = requests(&creates(&documents));
        assert_eq!(requests.iter().map(|(_, all)| all.len()).collect::<Vec<_>>(), expected);
        let mut sizes = bytes.iter();
        for (body, positions) in &requests {
            let parts: usize = sizes.by_ref().take(positions.len()).sum();
            assert_eq!(body.len(), parts + positions.len() + 1);
            assert!(body.len() <= BYTES_MAX);
            let parsed: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
            assert_eq!(parsed.len(), positions.len());
        }
        let positions: Vec<_> = requests.into_iter().flat_map(|(_, positions)| positions).collect();
        assert_eq!(positions, (0..bytes.len()).collect::<Vec<_>>());
    }
}

const KEY: &PartitionKey = &PartitionKey(Vec::new());

fn creates(documents: &[Document]) -> Vec<Operation<'_>> {
    let create = |document| {
        let content = Content::from(document);
        Operation::of(KEY, "1", Some(content), Write::Create(content)).unwrap()
    };
    documents.iter().map(create).collect()
}

#[test]
fn an_operation_that_is_too_large_is_in_no_request() {
    let large = document(&format!(r#"{{"t":"{}"}}"#, "x".repeat(BYTES_MAX - FRAME - 1)));
    let small = document("{}");
    let positions = |documents: &[Document]| -> Vec<Vec<usize>> {
        requests(&creates(documents)).into_iter().map(|(_, positions)| positions).collect()
    };
    assert_eq!(positions(std::slice::from_ref(&large)), Vec::<Vec<usize>>::new());
    assert_eq!(positions(&[small.clone(), large.clone(), small.clone()]), [vec![0, 2]]);
    assert_eq!(positions(&[large, small]), [vec![1]]);
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
