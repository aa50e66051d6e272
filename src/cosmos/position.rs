//! Encodes positions into the SDK's continuation token, and decodes them.
//!
//! A position is stored as a range of effective partition keys and the ETag of its last page,
//! because the service uses these, and every other reader of the change feed can use them. The SDK
//! requires its own token, `c1.` and base64url of JSON, of which only the version mark is
//! documented: hence the exact version in the manifest, and the test that compares a token built
//! here with a token of the SDK.

use azure_data_cosmos::feed::ContinuationToken;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::model::{FeedRange, Mode, Position};

const VERSION_MARK: &str = "c1.";

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "op")]
    operation: String,
    rid: String,
    root: Root,
    /// `true` in all-versions mode, else absent.
    #[serde(rename = "cfm", default, skip_serializing_if = "Option::is_none")]
    full_fidelity: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct Root {
    kind: String,
    #[serde(default)]
    active_tokens: Vec<RangeToken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_from: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct RangeToken {
    min_epk: String,
    max_epk: String,
    server_continuation: String,
}

/// Builds a token that resumes at the positions. A range without an ETag is left out: it begins at
/// the start that is passed with the token.
pub(super) fn encode(
    rid: &str,
    mode: Mode,
    positions: &[Position],
) -> Result<ContinuationToken, String> {
    let active_tokens = positions
        .iter()
        .filter_map(|position| {
            Some(RangeToken {
                min_epk: position.range.min.clone(),
                max_epk: position.range.max.clone(),
                server_continuation: position.etag.clone()?,
            })
        })
        .collect();
    let token = Token {
        operation: "ChangeFeed".to_owned(),
        rid: rid.to_owned(),
        root: Root {
            kind: "unordered_merge".to_owned(),
            active_tokens,
            // Always the beginning: the SDK would send a stored "now" or time with every resumed
            // request, and changes would be skipped.
            start_from: Some(serde_json::json!({"kind": "beginning"})),
        },
        full_fidelity: (mode == Mode::AllVersionsAndDeletes).then_some(true),
    };
    let json = serde_json::to_vec(&token).map_err(|error| error.to_string())?;
    Ok(ContinuationToken::from_string(format!("{VERSION_MARK}{}", URL_SAFE_NO_PAD.encode(json))))
}

/// The positions in a token of the SDK, in the order of their ranges.
pub(super) fn decode(token: &ContinuationToken) -> Result<Vec<Position>, String> {
    let body = token
        .as_str()
        .strip_prefix(VERSION_MARK)
        .ok_or("the token does not start with the version mark `c1.`")?;
    let json = URL_SAFE_NO_PAD.decode(body).map_err(|error| error.to_string())?;
    let token: Token = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    if token.root.kind != "unordered_merge" {
        return Err(format!("the token is of kind `{}`", token.root.kind));
    }
    let position = |t: RangeToken| {
        let range = FeedRange { min: t.min_epk, max: t.max_epk };
        Position::of(range, Some(t.server_continuation))
    };
    let mut positions: Vec<_> = token.root.active_tokens.into_iter().map(position).collect();
    positions.sort_by(|a, b| a.range.min.cmp(&b.range.min));
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use azure_data_cosmos::feed::ContinuationToken;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use cosmos_bridge_corpus::Corpus;
    use proptest::prelude::*;

    use super::{VERSION_MARK, decode, encode};
    use crate::model::{FeedRange, Mode, Position};

    fn position(min: &str, max: &str, etag: Option<&str>) -> Position {
        let range = FeedRange { min: min.to_owned(), max: max.to_owned() };
        Position::of(range, etag.map(str::to_owned))
    }

    #[test]
    fn positions_survive_the_token_and_ranges_without_an_etag_are_left_out() {
        let read = [position("", "3F", Some("\"12\"")), position("3F", "FF", Some("\"7\""))];
        let token = encode("rid", Mode::LatestVersion, &read).unwrap();
        assert_eq!(decode(&token).unwrap(), read);

        let half = [position("", "3F", None), position("3F", "FF", Some("\"7\""))];
        let token = encode("rid", Mode::AllVersionsAndDeletes, &half).unwrap();
        assert_eq!(decode(&token).unwrap(), half[1..]);
    }

    #[test]
    fn a_token_of_another_version_or_shape_is_refused() {
        let other = ContinuationToken::from_string("c2.e30".to_owned());
        assert!(decode(&other).is_err());
        let other = ContinuationToken::from_string("c1.e30".to_owned());
        assert!(decode(&other).is_err());
    }

    /// Tokens come from the SDK and from files that people edit. The kept inputs are their JSON.
    #[test]
    fn no_token_panics() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus/position_tokens");
        let mut read = 0;
        for input in Corpus::read(folder.as_ref()).inputs(10_000) {
            let text = String::from_utf8_lossy(&input.bytes).into_owned();
            assert!(decode(&ContinuationToken::from_string(text.clone())).is_err());
            drop(decode(&ContinuationToken::from_string(format!("{VERSION_MARK}{text}"))));
            let json = URL_SAFE_NO_PAD.encode(&input.bytes);
            let token = ContinuationToken::from_string(format!("{VERSION_MARK}{json}"));
            let Ok(positions) = decode(&token) else { continue };
            read += 1;
            for position in &positions {
                position.lsn();
            }
            // What was read is written as it was read.
            let again = encode("rid", Mode::LatestVersion, &positions).unwrap();
            assert_eq!(decode(&again).unwrap(), positions);
        }
        assert!(read > 0);
    }

    proptest! {
        #[test]
        fn every_etag_survives_the_token(etags in prop::collection::vec(".{0,20}", 0..5)) {
            let bound = |n: usize| format!("{n:02X}");
            let positions: Vec<_> = etags.iter().enumerate().map(|(n, etag)| {
                position(&bound(n), &bound(n + 1), Some(etag))
            }).collect();
            for position in &positions {
                position.lsn();
            }
            let token = encode("rid", Mode::AllVersionsAndDeletes, &positions).unwrap();
            prop_assert_eq!(decode(&token).unwrap(), positions);
        }
    }
}
