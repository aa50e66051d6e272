//! Messages of services, prepared for the log.

/// Longest message of a service that is passed on.
const MESSAGE_CHARS_MAX: usize = 400;

/// Shortens a message and replaces its control characters, so that it is one line in the log.
pub(super) fn one_line(message: &str) -> String {
    let flat =
        message.chars().take(MESSAGE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c });
    flat.collect()
}
