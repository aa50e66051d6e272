//! What a change of one side does on the other.
//!
//! A change crosses if it replaces, on the other side, a version that it has seen. If it does not, both
//! sides have changed the document. One of them, the deciding side, then applies the policy; the other one
//! keeps its version, whose own change reaches the deciding side. What is decided is written there as a
//! version that has seen both, and so crosses like a change of a user. So both sides end with one version,
//! whatever the policy and the clocks say, and each conflict is found once.

use super::version::{Change, Kind, Stamp, Version};

/// Which side a change is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Deciding,
    Following,
}

/// What happens to the document of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing is written.
    Leave(Reason),
    /// The incoming version is written, with a record of this kind.
    Write(Kind),
    /// The target's own version is written again, with a record of this kind.
    Mark(Kind),
    Delete,
}

/// Why nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The change was made by the bridge.
    Echo,
    /// The target has this content already, or no such document.
    Equal,
    /// The incoming version has expired. Its expiry follows.
    Expired,
    /// The target has seen a later version.
    Superseded,
    /// The target keeps its version, and the deciding side decides.
    Kept,
}

/// A conflict that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner {
    Incoming,
    Target,
}

/// What is done, and the conflict that is logged before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub conflict: Option<Winner>,
}

impl From<Action> for Decision {
    fn from(action: Action) -> Self {
        Self { action, conflict: None }
    }
}

/// True if the change was made by the bridge and brings the other side nothing. This needs no request.
pub fn is_echo(change: &Change) -> bool {
    let stamp = change.after.as_ref().and_then(Version::intact);
    stamp.is_some_and(|stamp| match stamp.kind {
        // The document is deleted with the next change.
        Kind::Gone => true,
        Kind::Copy => is_first(stamp, change.before.as_ref()),
        Kind::Won | Kind::Kept | Kind::Open => false,
    })
}

/// True if the version is the one that the bridge wrote, or a user wrote the same again at once; false if he
/// wrote it over another one.
fn is_first(stamp: &Stamp, before: Option<&Version>) -> bool {
    match (&stamp.over, before) {
        (_, Some(before)) if before.intact() == Some(stamp) => true,
        (Some(over), Some(before)) => *over == before.etag,
        (None, None) => true,
        _ => false,
    }
}

/// `incoming_wins` is the policy, asked only on the deciding side: whether the first version, which comes
/// in, is preferred to the second one.
pub fn decide(
    change: &Change,
    target: Option<&Version>,
    side: Side,
    incoming_wins: impl FnOnce(&Version, &Version) -> bool,
) -> Decision {
    if is_echo(change) {
        return Action::Leave(Reason::Echo).into();
    }
    match &change.after {
        Some(after) => upsert(change, after, target, side, incoming_wins),
        None => delete(change, target, side),
    }
}

fn upsert(
    change: &Change,
    after: &Version,
    target: Option<&Version>,
    side: Side,
    incoming_wins: impl FnOnce(&Version, &Version) -> bool,
) -> Decision {
    let (copy, create) = if change.expired {
        (Action::Delete, Action::Leave(Reason::Expired))
    } else {
        (Action::Write(Kind::Copy), Action::Write(Kind::Copy))
    };
    let Some(target) = target else { return create.into() };
    let has_seen = has_seen(change, target);
    if after.content == target.content {
        return equal(change, after, target, has_seen).into();
    }
    if let Some(stamp) = target.copied() {
        if change.order.is_not_after(stamp.order) {
            return Action::Leave(Reason::Superseded).into();
        }
        return if copy == Action::Delete { copy } else { follow(stamp) }.into();
    }
    if has_seen {
        return copy.into();
    }
    if is_superseded(change, target) {
        return Action::Leave(Reason::Superseded).into();
    }
    let open = after.intact().filter(|stamp| stamp.kind == Kind::Open);
    if side == Side::Following {
        // The deciding side asks, or cannot know.
        let asks = open.is_some() || !is_history_known(change);
        return if asks { Action::Mark(Kind::Open) } else { Action::Leave(Reason::Kept) }.into();
    }
    let is_confirmed = open.is_some_and(|stamp| stamp.other == target.name());
    match &target.stamp {
        _ if is_confirmed => {}
        // The answer is on its way.
        Some(stamp) if stamp.kind == Kind::Open && target.intact().is_some() => {
            return Action::Leave(Reason::Kept).into();
        }
        // A user may have made it of the incoming version, and removed the record. The other side knows.
        None | Some(Stamp { kind: Kind::Open, .. }) => return Action::Mark(Kind::Open).into(),
        Some(_) => {}
    }
    if !change.expired && incoming_wins(after, target) {
        Decision { action: Action::Write(Kind::Won), conflict: Some(Winner::Incoming) }
    } else {
        Decision { action: Action::Mark(Kind::Kept), conflict: Some(Winner::Target) }
    }
}

/// The write of a later version over one that the bridge copied. What follows a version that won is a
/// repetition of older ones if the version that lost had seen them. So it crosses, too: the other side may
/// have taken what won for the newest.
fn follow(copied: &Stamp) -> Action {
    Action::Write(if copied.kind == Kind::Won { Kind::Won } else { Kind::Copy })
}

/// Both sides have the same content. It is written nevertheless if a later change of the target could not
/// tell otherwise that it has seen this one.
fn equal(change: &Change, after: &Version, target: &Version, has_seen: bool) -> Action {
    let is_of = |one: &Version, other: &Version| {
        one.intact().is_some_and(|stamp| stamp.other == other.name())
    };
    let is_copy_of_target = after.copied().is_some() && is_of(after, target);
    let is_known = is_of(target, after) || is_copy_of_target || is_superseded(change, target);
    if is_known || change.expired {
        Action::Leave(Reason::Equal)
    } else if let Some(stamp) = target.copied() {
        follow(stamp)
    } else if has_seen {
        Action::Write(Kind::Copy)
    } else {
        Action::Mark(Kind::Kept)
    }
}

fn delete(change: &Change, target: Option<&Version>, side: Side) -> Decision {
    let Some(target) = target else { return Action::Leave(Reason::Equal).into() };
    if let Some(stamp) = target.copied() {
        let is_old = change.order.is_not_after(stamp.order);
        return if is_old { Action::Leave(Reason::Superseded) } else { Action::Delete }.into();
    }
    let by_bridge = |before: &Version| before.intact().is_some_and(|one| one.kind == Kind::Gone);
    let of_copy = |before: &Version| change.expired && before.copied().is_some();
    if change.before.as_ref().is_some_and(|before| by_bridge(before) || of_copy(before)) {
        // What was deleted on the side of the target, and then created there again; or a copy whose original
        // expires by itself.
        return Action::Leave(Reason::Kept).into();
    }
    if has_seen(change, target) {
        return Action::Delete.into();
    }
    if is_superseded(change, target) {
        return Action::Leave(Reason::Superseded).into();
    }
    // A document that is changed on one side and deleted on the other stays: its change crosses, too. No user
    // is behind an expiry.
    let conflict = (!change.expired).then_some(Winner::Target);
    // What existed at the first start may be deleted before it is read. The change of the target may have met
    // it on the other side, which kept it then and has nothing now: it crosses once more.
    let met = change.before.as_ref().map(Version::name);
    let action = if side == Side::Deciding && (met.is_none() || target.seen() != met) {
        Action::Mark(Kind::Kept)
    } else {
        Action::Leave(Reason::Kept)
    };
    Decision { action, conflict }
}

/// True if the change was made of the target's version.
fn has_seen(change: &Change, target: &Version) -> bool {
    let versions = [&change.after, &change.before].into_iter().flatten();
    versions.filter_map(Version::seen).any(|seen| seen == target.name())
}

/// True if the target's version was made of the incoming one, or of a later one.
fn is_superseded(change: &Change, target: &Version) -> bool {
    let is_made_of = |after: &Version| target.seen() == Some(after.name());
    target.stamp.as_ref().is_some_and(|stamp| change.order.is_not_after(stamp.order))
        || change.after.as_ref().is_some_and(is_made_of)
}

/// False if what the change replaced tells nothing about the other side.
fn is_history_known(change: &Change) -> bool {
    change.knows_before && change.before.as_ref().is_none_or(|before| before.stamp.is_some())
}

#[cfg(test)]
mod tests;
