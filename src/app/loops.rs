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
    /// The sink of the other direction, if both containers mirror each other.
    pub(super) mirrors_with: Option<String>,
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
    let is_pair = |one: &Copying, other: &Copying| {
        one.mirrors_with.as_ref() == Some(&other.sink)
            && other.mirrors_with.as_ref() == Some(&one.sink)
            && (&one.from, &one.to) == (&other.to, &other.from)
    };
    let is_mirrored = |one: &&Copying| copies.iter().any(|other| is_pair(one, other));
    let mirrored: Vec<_> = copies.iter().filter(is_mirrored).collect();
    let others: Vec<_> = copies.iter().filter(|copying| !is_mirrored(copying)).collect();
    // Two containers that mirror each other count as one.
    let are_mirrored = |one: &ContainerId, other: &ContainerId| {
        mirrored.iter().any(|mirror| (&mirror.from, &mirror.to) == (one, other))
    };
    let cycle = |names: Vec<String>| Err(LoopError::Cycle { pipelines: names.join(", ") });
    if let Some(copying) = others.iter().find(|copying| are_mirrored(&copying.from, &copying.to)) {
        return cycle(vec![format!("`{}`", copying.pipeline)]);
    }
    let edges: Vec<_> = others.iter().map(|copying| (&copying.from, &copying.to)).collect();
    let are_one =
        |one: &&ContainerId, other: &&ContainerId| one == other || are_mirrored(one, other);
    match config::cycles(&edges, are_one).first() {
        None => Ok(()),
        Some(found) => {
            cycle(found.iter().map(|number| format!("`{}`", others[*number].pipeline)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Copying, refuse_loops};
    use crate::cosmos::ContainerId;

    /// `pipeline from to`, where a place is an account and the id of a container, with a slash. Then its sink, and
    /// the one of the other direction, if it mirrors.
    fn refusal(copies: &[&str]) -> String {
        let place = |text: &str| {
            let (account, rid) = text.split_once('/').unwrap();
            ContainerId { account: account.to_owned(), rid: rid.to_owned() }
        };
        let copies: Vec<_> = copies
            .iter()
            .map(|copying| {
                let words = copying.split(' ').map(str::to_owned).collect::<Vec<_>>();
                let (from, to) = (place(&words[1]), place(&words[2]));
                let sink = words.get(3).cloned().unwrap_or("s".to_owned());
                let mirrors_with = words.get(4).cloned();
                Copying { pipeline: words[0].clone(), sink, from, to, mirrors_with }
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
            // Mirrors.
            (&["p a/1 b/1 west east", "q b/1 a/1 east west"], ""),
            (&["p a/1 b/1 west east", "q b/1 a/1 east west", "r a/1 c/1", "t d/1 b/1"], ""),
            (&["p a/1 b/1 west", "q b/1 a/1 east west"], "pipelines copy in a cycle: `p`, `q`"),
            (
                &["p a/1 b/1 west other", "q b/1 a/1 east west"],
                "pipelines copy in a cycle: `p`, `q`",
            ),
            (
                &["p a/1 b/1 west east", "q b/1 a/1 east west", "r b/1 c/1", "t c/1 a/1"],
                "pipelines copy in a cycle: `r`, `t`",
            ),
            (
                &["p a/1 b/1 west east", "q b/1 a/1 east west", "r a/1 b/1 other"],
                "pipelines copy in a cycle: `r`",
            ),
        ] {
            let refusal = refusal(copies);
            assert!(refusal.starts_with(expected), "{copies:?}: {refusal}");
            assert_eq!(refusal.is_empty(), expected.is_empty(), "{copies:?}: {refusal}");
        }
    }
}
