//! The trace of a change.

/// The trace of a change that is traced.
///
/// Ids follow W3C trace context: not all bytes are zero.
///
/// <https://www.w3.org/TR/trace-context/#traceparent-header-field-values>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub id: [u8; 16],
    /// The span of reading the change. It is the parent of the spans of its sinks.
    pub read: [u8; 8],
}
