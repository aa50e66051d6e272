//! The size of documents.

use serde_json::Value;

use crate::{Document, Fields};

/// Estimates the bytes of a document's JSON text without serializing it. Only numbers and escaped
/// characters make the estimate inexact.
pub fn document_bytes(document: &Document) -> usize {
    fields_bytes(document) + document.unparsed_bytes()
}

fn fields_bytes(fields: &Fields) -> usize {
    // Braces, and quotes, colon and comma for each field.
    2 + fields.iter().map(|(name, value)| name.len() + 4 + value_bytes(value)).sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => {
            2 + values.iter().map(|value| value_bytes(value) + 1).sum::<usize>()
        }
        Value::Object(fields) => fields_bytes(fields),
    }
}

/// Estimates the bytes of memory of a document. A document of many small objects needs several times the
/// size of its text.
pub fn document_memory(document: &Document) -> usize {
    fields_memory(document) + document.unparsed_bytes()
}

fn fields_memory(fields: &Fields) -> usize {
    let values = fields.iter().map(|(name, value)| name.len() + value_memory(value));
    // A node of the tree always has the same size, and is about two thirds full.
    fields.len().div_ceil(7) * NODE_BYTES + values.sum::<usize>()
}

/// A node of a B-tree holds eleven fields.
const NODE_BYTES: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 16;

/// The bytes of a value outside its own struct.
fn value_memory(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => {
            values.iter().map(|value| size_of::<Value>() + value_memory(value)).sum()
        }
        Value::Object(fields) => fields_memory(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::{document_bytes, document_memory};

    #[test]
    fn the_estimate_is_close_to_the_text() {
        let document = serde_json::json!({
            "id": "o-1", "lines": [{"sku": "a", "quantity": 3}, {"sku": "b", "quantity": 12}],
            "note": "Größe", "paid": true, "discount": null, "tags": [],
        });
        let text = document.to_string().len();
        let estimate = document_bytes(&document.as_object().unwrap().clone().into());
        assert!(estimate.abs_diff(text) * 5 < text, "{estimate} for {text}");
    }

    #[test]
    fn small_objects_need_more_memory_than_text_and_long_strings_do_not() {
        let many = serde_json::json!({"lines": vec![serde_json::json!({"quantity": 3}); 100]});
        let long = serde_json::json!({"note": "n".repeat(100_000)});
        let of = |value: &serde_json::Value| {
            let document = value.as_object().unwrap().clone().into();
            (document_memory(&document), document_bytes(&document))
        };
        let (memory, text) = of(&many);
        assert!(memory > 20 * text, "{memory} for {text}");
        let (memory, text) = of(&long);
        assert!(memory < text + 2 * super::NODE_BYTES, "{memory} for {text}");
        let strings = serde_json::json!({"tags": vec!["0123456789"; 100]});
        let (memory, text) = of(&strings);
        assert!((2 * text..6 * text).contains(&memory), "{memory} for {text}");
    }
}
