//! Documents with members that cannot be parsed: sent as they were read, or rejected by the routes that
//! need them.

use cosmos_bridge_sink::{Document, OldCopies, Operation};
use serde_json::json;

use super::builders::*;
use crate::config::{Filter, Mask, Route};
use crate::model::{Event, SourceChange};
use crate::route::Routed;

/// `t` and the member whose name is half of a surrogate pair cannot be parsed.
const HALF: &[u8] = br#"{"id":"1","region":"n","a":1,"t":{"u":"\ud83d"},"\ude00":2}"#;
const CONTROL: &[u8] = b"{\"id\":\"1\",\"region\":\"n\",\"t\":\"a\x01b\"}";

fn unparsed(text: &[u8], previous: Option<&[u8]>) -> SourceChange {
    let parsed = |text| Document::parse(text).unwrap();
    let (current, previous) = (parsed(text), previous.map(parsed));
    change(Event::Upsert { current, previous, is_new: false })
}

fn routed(route: Route, text: &[u8]) -> Routed {
    router(&[route], &["/region"]).route(unparsed(text, None), &paths(&["/region"]))
}

/// The text of the one document that was sent.
fn written(routed: &Routed) -> String {
    assert!(routed.rejected.is_empty(), "{:?}", routed.rejected);
    let [addressed] = routed.changes.as_slice() else { panic!("one change: {routed:?}") };
    let Operation::Upsert { document } = &addressed.change.operation else { panic!("an upsert") };
    let text = document.text();
    assert!(addressed.bytes.abs_diff(text.len()) < 40, "{} for {}", addressed.bytes, text.len());
    text.escape_ascii().to_string().replace("\\\"", "\"").replace("\\\\", "\\")
}

#[test]
fn a_route_sends_what_it_does_not_touch_as_it_was_read() {
    let rest = r#""t":{"u":"\ud83d"},"\ude00":2"#;
    let filter = Filter::Equals(path("/a"), json!(1));
    for (route, before, after) in [
        (identity(), r#"{"id":"1","region":"n","a":1,"#, "}"),
        (Route { filter: Some(filter), ..identity() }, r#"{"id":"1","region":"n","a":1,"#, "}"),
        (Route { exclude: paths(&["/a"]), ..identity() }, r#"{"id":"1","region":"n","#, "}"),
        (
            Route { set: vec![(path("/b"), json!(2))], ..identity() },
            r#"{"id":"1","region":"n","a":1,"#,
            r#","b":2}"#,
        ),
        (
            Route { rename: vec![(path("/a"), path("/b"))], ..identity() },
            r#"{"id":"1","region":"n","#,
            r#","b":1}"#,
        ),
        (
            Route { mask: vec![(path("/a"), Mask::Text("*".to_owned()))], ..identity() },
            r#"{"id":"1","region":"n","a":"*","#,
            "}",
        ),
        (
            Route { id: Some(template("{/a}:{/id}")), ..keyed(vec![from("/region", "/a")]) },
            r#"{"id":"1:1","region":1,"a":1,"#,
            "}",
        ),
    ] {
        assert_eq!(written(&routed(route, HALF)), format!("{before}{rest}{after}"));
    }
    let control = written(&routed(identity(), CONTROL));
    assert_eq!(control, r#"{"id":"1","region":"n","t":"a\x01b"}"#);
}

/// Whole members are kept or left out without a look at them.
#[test]
fn members_that_cannot_be_parsed_are_included_and_excluded_by_name() {
    let include = |names: &[&str]| Route { include: paths(names), ..identity() };
    let exclude = |names: &[&str]| Route { exclude: paths(names), ..identity() };
    for (route, expected) in [
        (include(&["/region", "/t"]), r#"{"id":"1","region":"n","t":{"u":"\ud83d"}}"#),
        (include(&["/region"]), r#"{"id":"1","region":"n"}"#),
        (exclude(&["/t"]), r#"{"id":"1","region":"n","a":1,"\ude00":2}"#),
    ] {
        assert_eq!(written(&routed(route, HALF)), expected);
    }
}

#[test]
fn a_route_that_needs_what_cannot_be_parsed_rejects_the_change() {
    let filtered = |filter| Route { filter: Some(filter), ..identity() };
    for (route, part) in [
        (Route { jq: Some(".".to_owned()), ..identity() }, "the route's jq needs"),
        (filtered(Filter::Jq("true".to_owned())), "the route's jq needs"),
        (filtered(Filter::Exists(path("/t/u"), false)), "`where` of the route needs /t/u"),
        (
            filtered(Filter::Not(Box::new(Filter::Any(vec![
                Filter::Equals(path("/a"), json!(1)),
                Filter::StartsWith(path("/t"), "x".to_owned()),
            ])))),
            "`where` of the route needs /t,",
        ),
        (Route { include: paths(&["/region", "/t/u"]), ..identity() }, "`include` of"),
        (Route { exclude: paths(&["/t/u"]), ..identity() }, "`exclude` of"),
        (Route { rename: vec![(path("/t"), path("/b"))], ..identity() }, "`rename` of"),
        (Route { rename: vec![(path("/a"), path("/t"))], ..identity() }, "`rename` of"),
        (Route { set: vec![(path("/t/v"), json!(1))], ..identity() }, "`set` of"),
        (
            Route { mask: vec![(path("/t/u"), Mask::Text("*".to_owned()))], ..identity() },
            "`mask` of",
        ),
        (keyed(vec![from("/region", "/t/u")]), "`partition_key` of"),
        (keyed(vec![composed("/region", "{/t/u}")]), "`partition_key` of"),
        (keyed(vec![bucketed(keep("/region"), 4, "/t")]), "`partition_key` of"),
        (Route { id: Some(template("{/t}")), ..identity() }, "`id` of"),
    ] {
        let routed = routed(route, HALF);
        let reason = reason(&routed);
        assert!(reason.starts_with(part) && reason.contains("hex escape"), "{part}: {reason}");
    }
}

/// Events are JSON, which a document need not be that the service sends.
#[test]
fn events_contain_what_is_json() {
    let half = event_router(identity()).route(unparsed(HALF, None), &paths(&["/region"]));
    assert!(written(&half).contains(r#""t":{"u":"\ud83d"}"#));
    let control = event_router(identity()).route(unparsed(CONTROL, None), &paths(&["/region"]));
    assert!(reason(&control).starts_with("an event needs a document that is JSON: "));
}

/// The copy of a version that could not be parsed is found like any other.
#[test]
fn a_move_removes_the_copy_of_a_version_that_cannot_be_parsed() {
    let moved = br#"{"id":"1","region":"n","t":"\ud83d","to":"south"}"#;
    let before = br#"{"id":"1","region":"n","t":"\ud83d","to":"north"}"#;
    let router = router(&[keyed(vec![from("/place", "/to")])], &["/place"]);
    let routed = router.route(unparsed(moved, Some(before)), &paths(&["/region"]));
    assert_eq!(summary(&routed.changes), ["+1 [south] then -1 [north]"]);
}

/// An image in which the route cannot read a field says nothing; the version before it may have been copied.
#[test]
fn a_delete_behind_a_version_that_the_route_rejected_removes_the_copy() {
    let image = || Some(Document::parse(HALF).unwrap());
    let delete = || change(Event::Delete { previous: image(), expired: false });
    let masked = || Route { mask: vec![(path("/t"), Mask::Text("*".to_owned()))], ..identity() };
    let routed = router(&[masked()], &["/region"]).route(delete(), &paths(&["/region"]));
    assert_eq!(summary(&routed.changes), ["-1 [north]"], "{:?}", routed.rejected);
    // Under another key, the sink looks for it.
    let keyed = || Route { mask: masked().mask, ..keyed(vec![from("/place", "/to")]) };
    let routed = recorded(keyed(), &["/place"], delete()).unwrap();
    let [addressed] = routed.changes.as_slice() else { panic!("{routed:?}") };
    assert_eq!(addressed.change.old_copies, OldCopies::Anywhere);
    let parsed = |text: &[u8]| Document::parse(text).unwrap();
    let current = parsed(br#"{"id":"1","region":"n","to":"south","t":"ok"}"#);
    let previous = Some(parsed(br#"{"id":"1","region":"n","to":"north","t":"\ud83d"}"#));
    let moved = change(Event::Upsert { current, previous, is_new: false });
    let routed = recorded(Route { moves: true, ..keyed() }, &["/place"], moved).unwrap();
    let [addressed] = routed.changes.as_slice() else { panic!("{routed:?}") };
    assert_eq!(addressed.change.old_copies, OldCopies::Anywhere);
}

/// A name with a control character as it is might be that of a field which is to be hidden.
#[test]
fn nothing_is_hidden_by_a_name_that_cannot_be_parsed() {
    let secret = b"{\"id\":\"1\",\"region\":\"n\",\"se\x01cret\":1}";
    for route in [
        Route { exclude: paths(&["/se\u{1}cret"]), ..identity() },
        Route { mask: vec![(path("/a"), Mask::Text("*".to_owned()))], ..identity() },
    ] {
        assert!(reason(&routed(route, secret)).starts_with("`exclude` and `mask` of the route"));
    }
    let included = Route { include: paths(&["/region"]), ..identity() };
    assert_eq!(written(&routed(included, secret)), r#"{"id":"1","region":"n"}"#);
    assert!(written(&routed(identity(), secret)).contains(r"se\x01cret"));
}
