//! The size of documents.

use crate::Document;

/// The bytes of a document's JSON text, or one more; without spaces between its members.
pub fn document_bytes(document: &Document) -> usize {
    document.bytes()
}

/// The bytes of memory that a document uses.
pub fn document_memory(document: &Document) -> usize {
    size_of::<Document>() + document.memory()
}

#[cfg(test)]
mod tests {
    use super::{document_bytes, document_memory};
    use crate::Document;

    #[test]
    fn the_size_is_that_of_the_text() {
        let text =
            r#"{"id":"o-1","lines":[{"sku":"a","quantity":3}],"note":"Größe","discount":null}"#;
        let mut document = Document::parse(text.as_bytes()).unwrap();
        let is_size =
            |document: &Document| document_bytes(document).abs_diff(document.text().len()) <= 1;
        assert_eq!(document.text(), text.as_bytes());
        assert!(is_size(&document));
        document.insert("note", "n".repeat(1000));
        assert!(is_size(&document));
        document.remove("lines");
        assert!(is_size(&document));
        let wide = format!("{{\"a\":1{},\"b\":2 ,\n\"c\":3}}", " ".repeat(1000));
        let wide = Document::parse(wide.as_bytes()).unwrap();
        assert!(is_size(&wide));
        assert!(is_size(&Document::new()));
    }

    #[test]
    fn memory_is_text_and_a_place_for_each_member() {
        let many: Vec<_> = (0..1000).map(|n| format!("\"m{n}\":{n}")).collect();
        for text in
            [format!("{{{}}}", many.join(",")), format!("{{\"n\":\"{}\"}}", "n".repeat(100_000))]
        {
            let document = Document::parse(text.as_bytes()).unwrap();
            let memory = document_memory(&document);
            assert!((text.len()..6 * text.len()).contains(&memory), "{memory} for {}", text.len());
        }
    }
}
