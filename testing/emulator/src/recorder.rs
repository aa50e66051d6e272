//! Keeps requests as they came, for tests of what clients send.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::request::Request;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

/// The requests of one kind since it was asked for.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Option<(String, Vec<Recorded>)>>);

impl Recorder {
    /// Keeps the requests of this kind from now on, such as `batch`.
    pub fn start(&self, kind: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((kind.to_owned(), vec![]));
    }

    /// The requests so far; no more are kept.
    pub fn take(&self) -> Vec<Recorded> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or_else(Vec::new, |(_, requests)| requests)
    }

    pub(crate) fn note(&self, kind: &str, request: &Request) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, requests)) = kept.as_mut().filter(|(of, _)| of == kind) else { return };
        let header = |name: &hyper::header::HeaderName| {
            let value = request.headers.get(name).map(hyper::header::HeaderValue::as_bytes);
            let value = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            (name.as_str().to_owned(), value)
        };
        requests.push(Recorded {
            method: request.method.to_string(),
            path: request.signed_path.clone(),
            headers: request.headers.keys().map(header).collect(),
            body: request.body.clone(),
        });
    }
}
