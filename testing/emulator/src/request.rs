//! A request as the gateway sees it: its path in parts and the headers it understands.

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::answer::Refusal;
use crate::container::Container;
use crate::key::{EffectiveKey, KeyValue, parse_header};
use crate::store::KeyRange;
use crate::write::Conditions;

/// One request.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// Percent-encoded, without trailing slashes, and by names where it came by ids of resources.
    pub path: String,
    /// The path as it came, which is the one that is signed.
    pub signed_path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The region whose endpoint it came to; none: the account's own.
    pub region: Option<String>,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Account,
    Database(String),
    /// All databases, or all containers of one.
    Listing(Option<String>),
    Container(String, String),
    Ranges(String, String),
    Documents(String, String),
    Document(String, String, String),
    /// The operation that deletes a logical partition.
    Partition(String, String),
    Offers,
    Offer(String),
    Elsewhere,
}

impl Request {
    pub fn new(method: Method, path: &str, mut headers: HeaderMap, body: Bytes) -> Self {
        let path = format!("/{}", path.trim_matches('/'));
        // Some clients send the header also where they have nothing to continue.
        if headers
            .get("x-ms-continuation")
            .is_some_and(|value| value.as_bytes().trim_ascii().is_empty())
        {
            headers.remove("x-ms-continuation");
        }
        Self { method, signed_path: path.clone(), path, headers, body, region: None }
    }

    pub fn place(&self) -> Place {
        let segments: Vec<String> = self
            .path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let name = |at: usize| segments[at].clone();
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        match names.as_slice() {
            [] => Place::Account,
            ["dbs"] => Place::Listing(None),
            ["dbs", _] => Place::Database(name(1)),
            ["dbs", _, "colls"] => Place::Listing(Some(name(1))),
            ["dbs", _, "colls", _] => Place::Container(name(1), name(3)),
            ["dbs", _, "colls", _, "pkranges"] => Place::Ranges(name(1), name(3)),
            ["dbs", _, "colls", _, "docs"] => Place::Documents(name(1), name(3)),
            ["dbs", _, "colls", _, "docs", _] => Place::Document(name(1), name(3), name(5)),
            ["dbs", _, "colls", _, "operations", "partitionkeydelete"] => {
                Place::Partition(name(1), name(3))
            }
            ["offers"] => Place::Offers,
            ["offers", _] => Place::Offer(name(1)),
            _ => Place::Elsewhere,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn flag(&self, name: &str) -> bool {
        self.header(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A header that may hold other text than ASCII, as keys do.
    pub fn text_header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned)
    }

    /// The key that the request names for a container.
    pub fn partition_key(&self, of: &Container) -> Result<Option<Vec<KeyValue>>, Refusal> {
        let Some(text) = self.text_header("x-ms-documentdb-partitionkey") else {
            return Ok(None);
        };
        let key = parse_header(&text).map_err(|error| Refusal::bad_request(error.to_string()))?;
        Ok(of.named_key(key))
    }

    /// The window of effective keys that a request names; an end left out is open.
    pub fn keys_named(&self) -> Result<Option<KeyRange>, Refusal> {
        let bound = |name: &str| {
            let key = self.header(name).map(EffectiveKey::from_hex).transpose();
            key.map_err(|error| Refusal::bad_request(error.to_string()))
        };
        let (min, max) = (bound("x-ms-start-epk")?, bound("x-ms-end-epk")?);
        if min.is_none() && max.is_none() {
            return Ok(None);
        }
        let all = KeyRange::all();
        Ok(Some(KeyRange { min: min.unwrap_or(all.min), max: max.unwrap_or(all.max) }))
    }

    pub fn conditions(&self) -> Conditions {
        Conditions {
            if_match: self.header("if-match").map(str::to_owned),
            if_none_match: self.header("if-none-match").map(str::to_owned),
        }
    }

    pub fn items_max(&self) -> Option<usize> {
        let count: i64 = self.header("x-ms-max-item-count")?.trim().parse().ok()?;
        usize::try_from(count).ok().filter(|count| *count > 0)
    }

    /// Whether the answer to a write carries the document.
    pub fn wants_body(&self) -> bool {
        match self.header("x-ms-cosmos-populate-content-response-on-write") {
            Some(value) => value.eq_ignore_ascii_case("true"),
            None => !self.header("prefer").is_some_and(|prefer| prefer.contains("return=minimal")),
        }
    }
}
