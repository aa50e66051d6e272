//! Numbers as log lines and `/status` show them.

/// For log lines: whole tenths.
pub fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// For log lines: whole hundredths.
pub fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
