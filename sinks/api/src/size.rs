//! How large a document is.

use serde_json::Value;

use crate::Document;

/// About how many bytes a document takes as JSON text, without writing it out: exact but for
/// numbers, and for characters that have to be escaped.
pub fn document_bytes(document: &Document) -> usize {
    // Braces, and quotes, colon and comma for each field.
    2 + document.iter().map(|(name, value)| name.len() + 4 + value_bytes(value)).sum::<usize>()
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
        Value::Object(fields) => document_bytes(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::document_bytes;

    #[test]
    fn the_estimate_is_close_to_the_text() {
        let document = serde_json::json!({
            "id": "o-1", "lines": [{"sku": "a", "quantity": 3}, {"sku": "b", "quantity": 12}],
            "note": "Größe", "paid": true, "discount": null, "tags": [],
        });
        let text = document.to_string().len();
        let estimate = document_bytes(document.as_object().unwrap());
        assert!(estimate.abs_diff(text) * 5 < text, "{estimate} for {text}");
    }
}
