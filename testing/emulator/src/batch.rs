//! Batches: transactional ones, and the non-atomic ones of bulk clients.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::answer::{Answer, Refusal};
use crate::charge;
use crate::container::Container;
use crate::key::{KeyValue, parse_header};
use crate::patch::Patch;
use crate::write::{Action, Conditions, Done, Draft};

/// The most operations in a batch, as in the service.
const OPERATIONS_MAX: usize = 100;

/// The most bytes in a batch, as in the service.
const BYTES_MAX: usize = 2 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    operation_type: String,
    id: Option<String>,
    #[serde(borrow)]
    resource_body: Option<&'a RawValue>,
    /// JSON text, or an array in newer clients.
    partition_key: Option<Value>,
    if_match: Option<String>,
    if_none_match: Option<String>,
    minimal_return_preference: Option<bool>,
}

/// A batch that has been read.
pub struct Batch<'a> {
    entries: Vec<Entry<'a>>,
    atomic: bool,
    continue_on_error: bool,
    with_bodies: bool,
}

/// What the request's headers say about a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    pub atomic: bool,
    pub continue_on_error: bool,
    pub with_bodies: bool,
}

impl<'a> Batch<'a> {
    pub fn read(body: &'a [u8], options: BatchOptions) -> Result<Self, Refusal> {
        if body.len() > BYTES_MAX {
            return Err(Refusal::new(413, "the batch is larger than 2 MB"));
        }
        let entries: Vec<Entry<'a>> = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad_request(format!("bad batch: {error}")))?;
        if entries.len() > OPERATIONS_MAX {
            return Err(Refusal::bad_request("a batch has at most 100 operations"));
        }
        let BatchOptions { atomic, continue_on_error, with_bodies } = options;
        Ok(Self { entries, atomic, continue_on_error, with_bodies })
    }

    /// Performs the operations in a physical range; `key` is the request's partition key.
    pub fn perform(
        self,
        container: &Container,
        key: Option<&[KeyValue]>,
        range: &str,
        now: u32,
    ) -> Result<Answer, Refusal> {
        if self.atomic {
            let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
                Refusal::bad_request("a transactional batch needs a partition key")
            })?;
            return self.perform_atomic(container, key, now);
        }
        self.perform_each(container, key, range, now)
    }

    fn perform_atomic(
        self,
        container: &Container,
        key: &[KeyValue],
        now: u32,
    ) -> Result<Answer, Refusal> {
        let count = self.entries.len();
        let factor = container.charges.factor();
        let mut store = container.store(now);
        let mut draft = Draft::new(container, &mut store, now);
        let mut results = Vec::with_capacity(count);
        let mut failure = None;
        for (index, entry) in self.entries.into_iter().enumerate() {
            let with_body = self.with_bodies && entry.minimal_return_preference != Some(true);
            let conditions = entry.conditions();
            let outcome =
                entry.action().and_then(|action| draft.perform(action, &conditions, Some(key)));
            match outcome {
                Ok(done) => results.push(render(container, &done, with_body, factor)),
                // A malformed operation refuses the whole batch, as in the service.
                Err(refusal) if matches!(refusal.status, 400 | 413) => return Err(refusal),
                Err(refusal) => {
                    failure = Some((index, refusal));
                    break;
                }
            }
        }
        let Some((failed, refusal)) = failure else {
            let lsn = draft.commit();
            return Ok(assemble(200, results, lsn));
        };
        let results = (0..count)
            .map(|index| {
                let status = if index == failed { refusal.status } else { 424 };
                failed_result(
                    status,
                    if index == failed { refusal.substatus } else { None },
                    factor,
                )
            })
            .collect();
        Ok(assemble(207, results, None))
    }

    /// Each operation has its own result. Those for which the range has no units left are throttled.
    fn perform_each(
        self,
        container: &Container,
        key: Option<&[KeyValue]>,
        range: &str,
        now: u32,
    ) -> Result<Answer, Refusal> {
        let factor = container.charges.factor();
        let mut store = container.store(now);
        let mut results = Vec::with_capacity(self.entries.len());
        let mut failed = false;
        let mut last = None;
        for entry in self.entries {
            if failed && !self.continue_on_error {
                results.push(failed_result(424, None, factor));
                continue;
            }
            let used = results.iter().map(|(_, charge)| charge).sum();
            if let Err(wait) = container.throttle.admit_after(range, used) {
                failed = true;
                results.push(throttled_result(wait, factor));
                continue;
            }
            let with_body = self.with_bodies && entry.minimal_return_preference != Some(true);
            let own = entry.key(container)?;
            let conditions = entry.conditions();
            let mut draft = Draft::new(container, &mut store, now);
            let outcome = entry
                .action()
                .and_then(|action| draft.perform(action, &conditions, own.as_deref().or(key)));
            match outcome {
                Ok(done) => {
                    results.push(render(container, &done, with_body, factor));
                    last = draft.commit().or(last);
                }
                Err(refusal) => {
                    failed = true;
                    results.push(failed_result(refusal.status, refusal.substatus, factor));
                }
            }
        }
        Ok(assemble(if failed { 207 } else { 200 }, results, last))
    }

    /// The keys of all operations that name their own.
    pub fn keys(&self, container: &Container) -> Result<Vec<Vec<KeyValue>>, Refusal> {
        self.entries.iter().filter_map(|entry| entry.key(container).transpose()).collect()
    }
}

impl Entry<'_> {
    fn conditions(&self) -> Conditions {
        Conditions { if_match: self.if_match.clone(), if_none_match: self.if_none_match.clone() }
    }

    fn key(&self, container: &Container) -> Result<Option<Vec<KeyValue>>, Refusal> {
        let text = match &self.partition_key {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let key = parse_header(&text).map_err(|error| Refusal::bad_request(error.to_string()))?;
        Ok(container.named_key(key))
    }

    fn action(&self) -> Result<Action, Refusal> {
        let id =
            || self.id.clone().ok_or_else(|| Refusal::bad_request("a batch operation has no id"));
        let text = self.resource_body.map(RawValue::get);
        let body = || {
            text.map(|text| Bytes::copy_from_slice(text.as_bytes()))
                .ok_or_else(|| Refusal::bad_request("a batch operation has no resourceBody"))
        };
        match self.operation_type.to_ascii_lowercase().as_str() {
            "create" => Ok(Action::Create { body: body()? }),
            "upsert" => Ok(Action::Upsert { body: body()? }),
            "replace" => Ok(Action::Replace { id: id()?, body: body()? }),
            "read" => Ok(Action::Read { id: id()? }),
            "delete" => Ok(Action::Delete { id: id()? }),
            "patch" => Ok(Action::Patch { id: id()?, patch: Patch::read(&body()?)? }),
            other => Err(Refusal::bad_request(format!("`{other}` is not a batch operation"))),
        }
    }
}

/// One result: its text and its charge. The charges in the results add up to
/// the charge of the batch; so one factor varies all of them.
type Rendered = (String, f64);

fn render(container: &Container, done: &Done, with_body: bool, factor: f64) -> Rendered {
    let charge = charge::as_told(done.charge * factor);
    let mut result = format!("{{\"statusCode\":{},\"requestCharge\":{charge:.2}", done.status);
    if let Some(version) = &done.version {
        result.push_str(",\"eTag\":");
        result.push_str(&Value::from(container.naming.etag(version)).to_string());
        if with_body && done.status != 304 {
            let mut body = Vec::with_capacity(container.naming.size(version));
            container.naming.render(version, &mut body);
            result.push_str(",\"resourceBody\":");
            result.push_str(&String::from_utf8_lossy(&body));
        }
    }
    result.push('}');
    (result, charge)
}

fn failed_result(status: u16, substatus: Option<u32>, factor: f64) -> Rendered {
    let charge = if status == 424 { 0.0 } else { charge::refused(status) };
    let charge = charge::as_told(charge * factor);
    let mut result = json!({"statusCode": status, "requestCharge": charge});
    if let Some(substatus) = substatus {
        result["subStatusCode"] = substatus.into();
    }
    (result.to_string(), charge)
}

fn throttled_result(wait: u64, factor: f64) -> Rendered {
    let charge = charge::as_told(charge::refused(429) * factor);
    let result = json!({"statusCode": 429, "subStatusCode": 3200, "requestCharge": charge,
        "retryAfterMilliseconds": wait});
    (result.to_string(), charge)
}

fn assemble(status: u16, results: Vec<Rendered>, lsn: Option<u64>) -> Answer {
    let charge = results.iter().map(|(_, charge)| charge).sum();
    let documents = results.len();
    let texts: Vec<String> = results.into_iter().map(|(text, _)| text).collect();
    let mut answer = Answer::new(status, charge).bytes(format!("[{}]", texts.join(",")));
    answer.documents = documents;
    match lsn {
        Some(lsn) => answer.header("lsn", lsn.to_string()),
        None => answer,
    }
}
