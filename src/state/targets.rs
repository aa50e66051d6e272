//! What the names of sinks refer to, and what happens when that changes.

use std::fmt;

use crate::model::{TargetDifference, TargetIdentity};

/// A sink of a pipeline, and what its name refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUse {
    pub pipeline: String,
    pub sink: String,
    pub target: TargetIdentity,
}

/// What to do with the positions of a sink whose name refers to another target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChoice {
    /// Forget them: everything is copied from the configured start.
    StartOver,
    /// Keep them: the target has what was copied.
    Adopt,
}

/// A name that refers to another target than its positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedTarget {
    pub pipeline: String,
    pub sink: String,
    pub stored: TargetIdentity,
    pub current: TargetIdentity,
    pub difference: TargetDifference,
}

impl fmt::Display for ChangedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pipeline, sink, stored, current, .. } = self;
        write!(
            f,
            "sink `{sink}` of pipeline `{pipeline}` refers to another target than its positions: \
             they are for {stored}, and the name now refers to {current}"
        )
    }
}

/// What was done about a sink at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The target is stored. Before, the sink had no positions.
    New,
    /// The target is stored with positions of a version that did not store targets.
    Recorded,
    /// The name refers to what it referred to; `Some` if a choice was made that is not needed.
    Unchanged(Option<TargetChoice>),
    /// The name refers to another target, and the choice was made.
    Changed(TargetChoice),
    /// The same, and no choice was made.
    Refused(TargetDifference),
}

/// Decides what happens to a sink of a pipeline. Without a position nothing can go wrong: everything is
/// copied from the configured start.
///
/// | stored target | position | choice | |
/// |---|---|---|---|
/// | any or none | none | any | stored |
/// | none | some | none, `Adopt` | stored |
/// | none | some | `StartOver` | positions forgotten |
/// | the same | some | any | unchanged |
/// | another | some | none | refused |
/// | another | some | `Adopt` | stored, positions kept |
/// | another | some | `StartOver` | stored, positions forgotten |
pub fn settle(
    stored: Option<&TargetIdentity>,
    has_positions: bool,
    current: &TargetIdentity,
    choice: Option<TargetChoice>,
) -> Settled {
    if !has_positions {
        return Settled::New;
    }
    let Some(stored) = stored else {
        return match choice {
            Some(TargetChoice::StartOver) => Settled::Changed(TargetChoice::StartOver),
            Some(TargetChoice::Adopt) | None => Settled::Recorded,
        };
    };
    match (stored.difference(current), choice) {
        (None, choice) => Settled::Unchanged(choice),
        (Some(_), Some(choice)) => Settled::Changed(choice),
        (Some(difference), None) => Settled::Refused(difference),
    }
}

#[cfg(test)]
mod tests {
    use super::{Settled, TargetChoice, settle};
    use crate::model::{TargetDifference, TargetIdentity};

    #[test]
    fn a_start_is_refused_only_if_positions_are_for_another_target_and_no_choice_was_made() {
        let (adopt, start_over) = (Some(TargetChoice::Adopt), Some(TargetChoice::StartOver));
        let target = |rid: &str| TargetIdentity::container("a", "shop", "copies", rid);
        let cases = [
            (None, false, None, Settled::New),
            (None, false, start_over, Settled::New),
            (Some("old"), false, None, Settled::New),
            (None, true, None, Settled::Recorded),
            (None, true, adopt, Settled::Recorded),
            (None, true, start_over, Settled::Changed(TargetChoice::StartOver)),
            (Some("now"), true, None, Settled::Unchanged(None)),
            (Some("now"), true, adopt, Settled::Unchanged(adopt)),
            (Some("now"), true, start_over, Settled::Unchanged(start_over)),
            (Some("old"), true, None, Settled::Refused(TargetDifference::Recreated)),
            (Some("old"), true, adopt, Settled::Changed(TargetChoice::Adopt)),
            (Some("old"), true, start_over, Settled::Changed(TargetChoice::StartOver)),
        ];
        for (stored, has_positions, choice, expected) in cases {
            let stored = stored.map(target);
            let settled = settle(stored.as_ref(), has_positions, &target("now"), choice);
            assert_eq!(settled, expected, "{stored:?} {has_positions} {choice:?}");
        }
    }
}
