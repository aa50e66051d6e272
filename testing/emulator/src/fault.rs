//! Scripted faults: which requests they meet, and what they do to them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// One rule, as the management interface takes it. Fields left out match everything.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    pub account: Option<String>,
    pub database: Option<String>,
    pub container: Option<String>,
    /// A kind of request, such as `upsert` or `feed`; or several: `documents` (all but
    /// `metadata`), `reads` (`read`, `feed`, `query`), `writes` (the other kinds of `documents`); or
    /// `offers`, those of `metadata` that read and change throughput.
    pub operation: Option<String>,
    /// The name of a client, as [`crate::usage::client_of`] gives it.
    pub client: Option<String>,
    /// The id of a physical range.
    pub range: Option<String>,
    /// Meets each n-th matching request.
    pub every: Option<u64>,
    /// Meets matching requests at random, from the seed.
    pub probability: Option<f64>,
    pub seed: Option<u64>,
    /// Fires at most this often.
    pub times: Option<u64>,
    /// The rule ends this number of milliseconds after it was added.
    pub for_ms: Option<u64>,
    pub then: Effect,
}

/// What happens to a request.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own, as the interface takes it"
)]
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Answers with this status instead, and with the charge of such a refusal.
    pub status: Option<u16>,
    pub substatus: Option<u32>,
    pub retry_after_ms: Option<u64>,
    pub message: Option<String>,
    /// Waits before the request is looked at.
    pub delay_ms: Option<u64>,
    /// Closes the connection, before or after the request took effect.
    pub drop: Option<DropWhen>,
    /// Sends half of the body and closes the connection.
    #[serde(default)]
    pub truncate: bool,
    /// Closes the connection as if nothing listened.
    #[serde(default)]
    pub offline: bool,
    /// A page of the change feed comes from a replica that has seen nothing beyond the request's
    /// position, or a document from one that has not seen its last change, unless the request's session token
    /// says that there is more, or the request asks for what a quorum has.
    #[serde(default)]
    pub stale: bool,
    /// A page of the change feed states one change more than it has, as if one got lost on the way.
    #[serde(default)]
    pub miscount: bool,
    /// Whose answer the status is.
    #[serde(default)]
    pub by: AnsweredBy,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AnsweredBy {
    #[default]
    Service,
    /// A proxy or a firewall on the way: a page of HTML without a header of the service.
    Intermediary,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DropWhen {
    Before,
    After,
}

/// What is known of a request when rules are matched.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub account: &'a str,
    pub database: Option<&'a str>,
    pub container: Option<&'a str>,
    pub operation: &'a str,
    pub range: Option<&'a str>,
    pub client: &'a str,
}

/// A rule and how often it fired.
#[derive(Clone, Debug, Serialize)]
pub struct Armed {
    pub id: u64,
    pub rule: FaultRule,
    pub matched: u64,
    pub fired: u64,
    #[serde(skip)]
    random: u64,
    /// None: no end.
    #[serde(skip)]
    ends: Option<Instant>,
}

/// All rules, in the order they were given.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    rules: Vec<Armed>,
}

impl Faults {
    pub fn add(&self, rule: FaultRule) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        let random = rule.seed.unwrap_or(id).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let ends = rule.for_ms.map(|wait| Instant::now() + Duration::from_millis(wait));
        state.rules.push(Armed { id, rule, matched: 0, fired: 0, random, ends });
        id
    }

    pub fn remove(&self, id: u64) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|armed| armed.id != id);
        state.rules.len() < before
    }

    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    pub fn list(&self) -> Vec<Armed> {
        self.lock().rules.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().rules.is_empty()
    }

    /// The effect of the first rule that meets a request, and counts it.
    pub fn meet(&self, target: Target<'_>) -> Option<Effect> {
        let mut state = self.lock();
        state.rules.iter_mut().find_map(|armed| armed.meet(target))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a rule's operation means a kind of request.
fn includes(wanted: &str, kind: &str) -> bool {
    let metadata = matches!(kind, "metadata" | "offers");
    let read = matches!(kind, "read" | "feed" | "query");
    match wanted {
        "metadata" => metadata,
        "documents" => !metadata,
        "reads" => read,
        "writes" => !metadata && !read,
        _ => wanted == kind,
    }
}

impl Armed {
    fn meet(&mut self, target: Target<'_>) -> Option<Effect> {
        let fits = |wanted: &Option<String>, actual: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == actual)
        };
        let rule = &self.rule;
        let matches = fits(&rule.account, Some(target.account))
            && fits(&rule.database, target.database)
            && fits(&rule.container, target.container)
            && rule.operation.as_deref().is_none_or(|wanted| includes(wanted, target.operation))
            && fits(&rule.client, Some(target.client))
            && fits(&rule.range, target.range);
        let over = rule.times.is_some_and(|times| self.fired >= times)
            || self.ends.is_some_and(|ends| Instant::now() >= ends);
        if !matches || over {
            return None;
        }
        self.matched += 1;
        let due = rule.every.is_none_or(|every| self.matched.is_multiple_of(every.max(1)));
        let probability = rule.probability;
        if !due || probability.is_some_and(|probability| self.random() >= probability) {
            return None;
        }
        self.fired += 1;
        Some(self.rule.then.clone())
    }

    /// A number from 0 to before 1 (xorshift).
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}
