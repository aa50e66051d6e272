//! The body of a transactional batch, from the texts of documents.
//!
//! The SDK makes a tree of each document before it writes its text. It sends nothing else.

use cosmos_bridge_cosmos::Write;
use serde::Serialize;

use super::bulk::append_operation;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    operation_type: &'static str,
    /// A document that is created or upserted tells its id itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_match: Option<&'a str>,
}

/// The body of a request with these writes, each with the id of its document.
pub(super) fn batch_body(writes: &[(&str, Write<'_>)]) -> Vec<u8> {
    let mut body = vec![b'['];
    for (id, write) in writes {
        if body.len() > 1 {
            body.push(b',');
        }
        append_write(&mut body, id, write);
    }
    body.push(b']');
    body
}

fn append_write(body: &mut Vec<u8>, id: &str, write: &Write<'_>) {
    let (operation_type, id, content) = match write {
        Write::Create(content) => ("Create", None, Some(content)),
        Write::Upsert(content) => ("Upsert", None, Some(content)),
        Write::Replace { content, .. } => ("Replace", Some(id), Some(content)),
        Write::Delete { .. } => ("Delete", Some(id), None),
    };
    let entry = Entry { operation_type, id, if_match: write.if_match() };
    append_operation(body, &entry, content);
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_cosmos::{Content, Write};
    use cosmos_bridge_sink::Document;

    use super::batch_body;

    #[test]
    fn an_operation_holds_the_text_of_its_document() {
        let document = Document::parse(br#"{"n":1.50,"id":"1"}"#).unwrap();
        let content = Content::from(&document);
        let replace = |if_match| Write::Replace { content, if_match };
        for (write, expected) in [
            (
                Write::Create(content),
                r#"{"operationType":"Create","resourceBody":{"n":1.50,"id":"1"}}"#,
            ),
            (
                Write::Upsert(content),
                r#"{"operationType":"Upsert","resourceBody":{"n":1.50,"id":"1"}}"#,
            ),
            (
                replace(Some("\"e\"")),
                r#"{"operationType":"Replace","id":"1","ifMatch":"\"e\"","resourceBody":{"n":1.50,"id":"1"}}"#,
            ),
            (
                replace(None),
                r#"{"operationType":"Replace","id":"1","resourceBody":{"n":1.50,"id":"1"}}"#,
            ),
            (
                Write::Delete { if_match: Some("e") },
                r#"{"operationType":"Delete","id":"1","ifMatch":"e"}"#,
            ),
            (Write::Delete { if_match: None }, r#"{"operationType":"Delete","id":"1"}"#),
        ] {
            let body = batch_body(&[("1", write), ("1", write)]);
            assert_eq!(String::from_utf8(body).unwrap(), format!("[{expected},{expected}]"));
        }
    }
}
