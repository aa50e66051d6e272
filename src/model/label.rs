//! Enums whose values are the values of a metric label.

/// An enum that is a label of a metric. Its words are part of the interface: dashboards and alerts use them.
pub trait Label: Copy + PartialEq + 'static {
    /// Every value, in the order of `/metrics`.
    const ALL: &'static [Self];

    /// The value as metrics and traces write it.
    fn name(self) -> &'static str;
}
