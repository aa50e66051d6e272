use super::{Action, Decision, Reason, Side, Winner, decide, is_echo};
use crate::mirror::{Change, ContentHash, Kind, Order, Own, Stamp, Version};
use Action::{Delete, Leave, Mark, Write};
use Reason::{Echo, Equal, Expired, Kept, Superseded};
use Side::{Deciding, Following};

const NOW: i64 = 1000;

fn order(lsn: i64) -> Order {
    Order { lsn, nth: 0, committed_at: NOW }
}

fn hash(content: &str) -> ContentHash {
    ContentHash::of(content.as_bytes())
}

/// A version of a user, without a record.
fn user(etag: &str, content: &str) -> Version {
    Version { etag: etag.to_owned(), committed_at: NOW, content: hash(content), stamp: None }
}

/// A version that the bridge wrote. `other` is a version of the other side and its log sequence number.
fn bridge(
    etag: &str,
    content: &str,
    kind: Kind,
    other: (&str, i64),
    over: Option<&str>,
) -> Version {
    let is_own = matches!(kind, Kind::Kept | Kind::Open);
    let stamp = Stamp {
        kind,
        other: other.0.to_owned(),
        order: order(other.1),
        over: over.map(str::to_owned),
        own: over.filter(|_| is_own).map(|name| Own { name: name.to_owned(), changed_at: NOW - 5 }),
        content: hash(content),
        written_at: NOW,
    };
    Version { stamp: Some(stamp), ..user(etag, content) }
}

fn copy(etag: &str, content: &str, other: (&str, i64)) -> Version {
    bridge(etag, content, Kind::Copy, other, None)
}

/// What a user made of a version; he kept the record.
fn edited(version: &Version, etag: &str, content: &str) -> Version {
    Version { stamp: version.stamp.clone(), ..user(etag, content) }
}

fn later(version: Version) -> Version {
    Version { committed_at: NOW + 600, ..version }
}

fn change(before: Option<Version>, after: Option<Version>, lsn: i64) -> Change {
    Change { before, knows_before: true, after, order: order(lsn), expired: false }
}

fn expired(change: Change) -> Change {
    Change { expired: true, ..change }
}

type Row = (&'static str, Change, Option<Version>, Side, Decision);

fn check(rows: Vec<Row>) {
    for (name, change, target, side, expected) in rows {
        let policy = |incoming: &Version, target: &Version| incoming.etag > target.etag;
        let found = decide(&change, target.as_ref(), side, policy);
        assert_eq!(found, expected, "{name}");
        assert_eq!(found.action == Leave(Echo), is_echo(&change), "{name}");
    }
}

fn both(name: &'static str, change: &Change, target: Option<&Version>, action: Action) -> [Row; 2] {
    let row = |side| (name, change.clone(), target.cloned(), side, action.into());
    [row(Deciding), row(Following)]
}

#[test]
fn what_the_bridge_wrote_does_not_go_back_and_what_a_user_made_of_it_does() {
    let ours = user("t1", "one");
    let copied = copy("s1", "one", ("t1", 1));
    let over = |over| bridge("s2", "two", Kind::Copy, ("t2", 2), over);
    let next = user("t2", "two");
    let gone = bridge("s3", "", Kind::Gone, ("", 3), Some("s2"));
    let mut rows = Vec::new();
    for (name, before, after, target, action) in [
        ("a copy", None, Some(copied.clone()), Some(&ours), Leave(Echo)),
        (
            "a copy of a later one",
            Some(copied.clone()),
            Some(over(Some("s1"))),
            Some(&next),
            Leave(Echo),
        ),
        (
            "a user's edit, record kept",
            Some(copied.clone()),
            Some(edited(&copied, "s4", "x")),
            Some(&ours),
            Write(Kind::Copy),
        ),
        (
            "a user's edit, record removed",
            Some(copied.clone()),
            Some(user("s4", "x")),
            Some(&ours),
            Write(Kind::Copy),
        ),
        (
            "a copy written again at once",
            Some(copied.clone()),
            Some(edited(&copied, "s4", "one")),
            Some(&ours),
            Leave(Echo),
        ),
        (
            "a copy written again later",
            Some(copied.clone()),
            Some(later(edited(&copied, "s4", "one"))),
            Some(&ours),
            Write(Kind::Copy),
        ),
        (
            "an old copy written back",
            Some(over(Some("s1"))),
            Some(later(edited(&copied, "s4", "one"))),
            Some(&next),
            Write(Kind::Copy),
        ),
        (
            "an old copy written back, soon",
            Some(over(Some("s0"))),
            Some(over(Some("s1"))),
            Some(&user("t2", "x")),
            Write(Kind::Copy),
        ),
        (
            "a deleted copy created again",
            None,
            Some(later(copied.clone())),
            None,
            Write(Kind::Copy),
        ),
        (
            "a deleted document, before",
            Some(over(Some("s1"))),
            Some(gone.clone()),
            Some(&next),
            Leave(Echo),
        ),
        (
            "a deleted document, created again",
            Some(gone.clone()),
            None,
            Some(&user("t9", "new")),
            Leave(Kept),
        ),
        ("a deleted document, absent", Some(gone), None, None, Leave(Equal)),
    ] {
        rows.extend(both(name, &change(before, after, 9), target, action));
    }
    check(rows);
}

#[test]
fn a_change_crosses_over_what_it_has_seen_and_over_older_copies() {
    let seen = copy("s1", "one", ("t1", 1));
    let next = change(Some(seen.clone()), Some(user("s2", "two")), 5);
    let first = change(None, Some(user("s2", "two")), 5);
    let delete = change(Some(seen), None, 5);
    let won = bridge("t2", "old", Kind::Won, ("s1", 4), Some("t1"));
    let mut rows = Vec::new();
    for (name, change, target, action) in [
        ("over an older version that won", &first, Some(won), Write(Kind::Won)),
        ("a new document", &first, None, Write(Kind::Copy)),
        ("over the version it was made of", &next, Some(user("t1", "one")), Write(Kind::Copy)),
        ("over an older copy", &first, Some(copy("t2", "old", ("s1", 4))), Write(Kind::Copy)),
        ("repeated: a later copy", &first, Some(copy("t2", "new", ("s3", 6))), Leave(Superseded)),
        ("repeated: the same copy", &first, Some(copy("t2", "two", ("s2", 5))), Leave(Equal)),
        (
            "repeated: a user's edit of it",
            &first,
            Some(edited(&copy("t2", "two", ("s2", 5)), "t3", "x")),
            Leave(Superseded),
        ),
        (
            "repeated: an edit of a later one",
            &first,
            Some(edited(&copy("t2", "3", ("s3", 6)), "t3", "x")),
            Leave(Superseded),
        ),
        (
            "the same content, a later version",
            &first,
            Some(copy("t2", "two", ("s1", 4))),
            Write(Kind::Copy),
        ),
        ("the same content, independently", &first, Some(user("t2", "two")), Mark(Kind::Kept)),
        ("deleted: the version it was made of", &delete, Some(user("t1", "one")), Delete),
        ("deleted: a copy", &delete, Some(copy("t2", "x", ("s1", 4))), Delete),
        (
            "deleted: a copy of a document created since",
            &delete,
            Some(copy("t2", "x", ("s9", 6))),
            Leave(Superseded),
        ),
        ("deleted on both sides", &delete, None, Leave(Equal)),
        ("expired meanwhile: absent", &expired(first.clone()), None, Leave(Expired)),
        (
            "expired meanwhile: an older copy",
            &expired(first.clone()),
            Some(copy("t2", "old", ("s1", 4))),
            Delete,
        ),
        (
            "a copy expired: its original",
            &expired(delete.clone()),
            Some(user("t1", "one")),
            Leave(Kept),
        ),
    ] {
        rows.extend(both(name, change, target.as_ref(), action));
    }
    check(rows);
}

/// The policy of the test prefers the later `ETag`.
#[test]
fn of_two_changes_that_have_not_seen_each_other_one_side_decides() {
    let base = copy("s0", "base", ("t0", 0));
    let incoming = |etag| change(Some(base.clone()), Some(edited(&base, etag, "in")), 5);
    let target = |etag| Some(edited(&copy("t0", "base", ("s0", 0)), etag, "own"));
    let won = Decision { action: Write(Kind::Won), conflict: Some(Winner::Incoming) };
    let lost = Decision { action: Mark(Kind::Kept), conflict: Some(Winner::Target) };
    let stays = Decision { action: Leave(Kept), conflict: Some(Winner::Target) };
    let delete = change(Some(base.clone()), None, 5);
    let open = |etag, other| bridge(etag, "in", Kind::Open, other, Some("s1"));
    let asks = change(Some(user("s1", "in")), Some(open("s2", ("t3", 7))), 6);
    let answers = change(Some(user("s1", "in")), Some(open("z", ("t3", 7))), 6);
    let waiting = Some(bridge("t4", "own", Kind::Open, ("s1", 4), Some("t3")));
    let unknown = Change { before: None, knows_before: false, ..incoming("z") };
    let (mark, leave) = (Mark(Kind::Open).into(), Leave(Kept).into());
    check(vec![
        ("incoming wins", incoming("z"), target("t1"), Deciding, won),
        ("target wins", incoming("a"), target("t1"), Deciding, lost),
        ("a tie", incoming("t1"), target("t1"), Deciding, lost),
        ("the other side keeps its own", incoming("z"), target("t1"), Following, leave),
        (
            "no record: the other side is asked",
            incoming("z"),
            Some(user("t1", "x")),
            Deciding,
            mark,
        ),
        ("no record on the other side", incoming("z"), Some(user("t1", "x")), Following, leave),
        ("nothing tells what it replaced", unknown, target("t1"), Following, mark),
        ("it is asked", asks.clone(), Some(user("t9", "x")), Following, mark),
        ("it has an answer", answers, waiting.clone(), Deciding, won),
        ("another change, before the answer", incoming("z"), waiting, Deciding, leave),
        ("a delete meets a change", delete.clone(), target("t1"), Deciding, stays),
        ("a delete meets a change there", delete.clone(), target("t1"), Following, stays),
        (
            "a delete of what was never met",
            delete.clone(),
            Some(user("t1", "own")),
            Deciding,
            Decision { action: Mark(Kind::Kept), ..stays },
        ),
        (
            "a delete of what was never met, there",
            delete.clone(),
            Some(user("t1", "own")),
            Following,
            stays,
        ),
        ("an expiry meets a change", expired(delete), target("t1"), Deciding, leave),
        ("an expired version cannot win", expired(incoming("z")), target("t1"), Deciding, lost),
    ]);
}

#[test]
fn a_version_that_is_written_again_keeps_its_name_and_its_time() {
    let kept = bridge("s2", "one", Kind::Kept, ("t1", 1), Some("s1"));
    for (version, name, changed_at) in [
        (user("s1", "one"), "s1", NOW),
        (copy("s1", "one", ("t1", 1)), "s1", NOW),
        (kept.clone(), "s1", NOW - 5),
        (edited(&kept, "s3", "two"), "s3", NOW),
        (later(kept), "s2", NOW + 600),
    ] {
        assert_eq!((version.name(), version.changed_at()), (name, changed_at), "{version:?}");
    }
}
