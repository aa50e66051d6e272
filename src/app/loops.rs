//! Refuses to copy a container into itself, and cycles of pipelines, by what the accounts say: the rules of
//! the configuration know only names, and one container may have several.

use crate::config;
use crate::cosmos::ContainerId;

/// A route from one container to another.
#[derive(Clone, Debug)]
pub(super) struct Copying {
    pub(super) pipeline: String,
    pub(super) sink: String,
    pub(super) from: ContainerId,
    pub(super) to: ContainerId,
}

/// What would be copied without end.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    #[error(
        "pipeline `{pipeline}` reads the container that its sink `{sink}` writes to: both are {container}"
    )]
    Itself { pipeline: String, sink: String, container: ContainerId },
    #[error("pipelines copy in a cycle: {pipelines}")]
    Cycle { pipelines: String },
}

impl LoopError {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Itself { .. } => {
                "Every write would be read again, without end. Choose another container. Two names \
                 of an account, such as a global and a regional endpoint, lead to the same containers."
            }
            Self::Cycle { .. } => {
                "Every change would be copied without end. Remove a route of one of these pipelines."
            }
        }
    }
}

/// # Errors
///
/// Something would be copied without end.
pub(super) fn refuse_loops(copies: &[Copying]) -> Result<(), LoopError> {
    if let Some(copying) = copies.iter().find(|copying| copying.from == copying.to) {
        let Copying { pipeline, sink, to, .. } = copying.clone();
        return Err(LoopError::Itself { pipeline, sink, container: to });
    }
    let edges: Vec<_> = copies.iter().map(|copying| (&copying.from, &copying.to)).collect();
    match config::cycles(&edges, |one, other| one == other).first() {
        None => Ok(()),
        Some(cycle) => {
            let names = cycle.iter().map(|number| format!("`{}`", copies[*number].pipeline));
            Err(LoopError::Cycle { pipelines: names.collect::<Vec<_>>().join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Copying, refuse_loops};
    use crate::cosmos::ContainerId;

    /// `pipeline from to`, where a place is an account and the id of a container, with a slash.
    fn refusal(copies: &[&str]) -> String {
        let place = |text: &str| {
            let (account, rid) = text.split_once('/').unwrap();
            ContainerId { account: account.to_owned(), rid: rid.to_owned() }
        };
        let copies: Vec<_> = copies
            .iter()
            .map(|copying| {
                let [pipeline, from, to] = copying.split(' ').collect::<Vec<_>>()[..] else {
                    panic!("{copying}")
                };
                let (from, to) = (place(from), place(to));
                Copying { pipeline: pipeline.to_owned(), sink: "s".to_owned(), from, to }
            })
            .collect();
        refuse_loops(&copies).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_container_is_not_copied_into_itself_directly_or_by_others() {
        for (copies, expected) in [
            // Ids of containers may repeat between accounts.
            (&["p a/1 b/1", "q a/2 b/1"][..], ""),
            (&["p a/1 a/2", "q a/2 a/3"], ""),
            (
                &["p a/1 b/1", "q b/2 b/2"],
                "pipeline `q` reads the container that its sink `s` writes",
            ),
            (&["p a/1 b/1", "q b/1 a/1"], "pipelines copy in a cycle: `p`, `q`"),
            (&["p a/1 b/1", "q b/1 c/1", "r c/1 a/1"], "pipelines copy in a cycle: `p`, `q`, `r`"),
        ] {
            let refusal = refusal(copies);
            assert!(refusal.starts_with(expected), "{copies:?}: {refusal}");
            assert_eq!(refusal.is_empty(), expected.is_empty(), "{copies:?}: {refusal}");
        }
    }
}
