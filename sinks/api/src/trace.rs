//! Which trace a change belongs to.

/// The trace of a change that was chosen to be traced.
///
/// Ids are as W3C trace context has them: not all of their bytes are zero.
///
/// <https://www.w3.org/TR/trace-context/#traceparent-header-field-values>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub id: [u8; 16],
    /// The span that tells how the change was read: the parent of what its sinks do.
    pub read: [u8; 8],
}
