//! Which document ids can be named in the path of a request.

/// True if the client sends `id` as exactly one segment of the path.
///
/// The client passes names to a URL parser, which resolves `.` and `..`, removes tabs and line breaks,
/// and separates segments at `/` and `\`: the request would name another document, or the container.
/// Other control characters and the separators of query and fragment are left out as well, because
/// proxies treat them differently. <https://url.spec.whatwg.org/#path-state>
pub(super) fn is_path_segment(id: &str) -> bool {
    let is_separator = |character| matches!(character, '/' | '\\' | '?' | '#');
    !matches!(id, "" | "." | "..") && !id.chars().any(|c| c.is_control() || is_separator(c))
}

#[cfg(test)]
mod tests {
    use azure_core::http::Url;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::is_path_segment;

    #[test]
    fn ids_that_a_url_parser_changes_are_no_segment() {
        let changed =
            ["", ".", "..", "a\tb", "a\nb", "a\rb", "\0", "a/b", "a\\b", "a?b", "a#b", "\u{85}"];
        for id in changed {
            assert!(!is_path_segment(id), "{id:?}");
        }
        let kept = [
            "a", "...", ".a", "%2e%2e", "%2F", "a b", " ", "a+b", "a;b", "\u{fc}", "\u{202e}",
            "a:b@c",
        ];
        for id in kept {
            assert!(is_path_segment(id), "{id:?}");
        }
    }

    fn id() -> impl Strategy<Value = String> {
        prop_oneof![
            "[./%2eE\\\\?#a\t\n\r]{1,4}",
            "[ -~\u{0}-\u{20}\u{7f}-\u{ff}]{1,8}",
            any::<String>()
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

        /// As the client forms the path of a request: `build_transport_request` in the driver's
        /// `operation_pipeline.rs`.
        #[test]
        fn a_segment_names_its_document_and_nothing_else(id in id()) {
            let mut url = Url::parse("https://account.example/").unwrap();
            url.set_path(&format!("/dbs/d/colls/c/docs/{id}").replace('%', "%25"));
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            if is_path_segment(&id) {
                prop_assert_eq!(&segments[..5], ["dbs", "d", "colls", "c", "docs"]);
                prop_assert_eq!(segments.len(), 6);
                let named = percent_decode_str(segments[5]).decode_utf8().unwrap();
                prop_assert_eq!(named, id);
            }
        }
    }
}
