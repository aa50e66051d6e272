//! What the gateway answers, before it becomes HTTP.

use bytes::Bytes;

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub substatus: Option<u32>,
    /// Request units.
    pub charge: f64,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// Documents in the answer, or written by it.
    pub documents: usize,
    /// The physical range that is charged.
    pub range: Option<String>,
    /// It is not the service's, and has none of its headers.
    pub intermediary: bool,
}

impl Answer {
    pub fn new(status: u16, charge: f64) -> Self {
        Self { status, charge, ..Self::default() }
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn json(mut self, value: &serde_json::Value) -> Self {
        self.body = Bytes::from(value.to_string());
        self
    }

    #[must_use]
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct Refusal {
    pub status: u16,
    pub substatus: Option<u32>,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, substatus: None, message: message.into() }
    }

    #[must_use]
    pub fn with_substatus(mut self, substatus: u32) -> Self {
        self.substatus = Some(substatus);
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// The service's name of a status, as in `code` of its error bodies.
    fn code(&self) -> &'static str {
        match self.status {
            304 => "NotModified",
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            408 => "RequestTimeout",
            409 => "Conflict",
            410 => "Gone",
            412 => "PreconditionFailed",
            413 => "RequestEntityTooLarge",
            429 => "TooManyRequests",
            449 => "RetryWith",
            501 => "NotImplemented",
            503 => "ServiceUnavailable",
            _ => "InternalServerError",
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let body = serde_json::json!({"code": refusal.code(), "message": refusal.message});
        let mut answer = Self::new(refusal.status, crate::charge::refused(refusal.status));
        answer.substatus = refusal.substatus;
        if refusal.status == 304 { answer } else { answer.json(&body) }
    }
}
