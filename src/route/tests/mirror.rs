//! A container that mirrors the source gets documents as they were read.

use serde_json::json;

use super::builders::{document, identity, keyed_change, path, paths, text};
use crate::model::Event;
use crate::route::{Holds, Router, Target, TargetKey};
use cosmos_bridge_sink::{Change, OldCopies, Operation};

fn router(names: &[&str]) -> Router {
    let routes: Vec<_> = names
        .iter()
        .map(|name| {
            let mut route = identity();
            (*name).clone_into(&mut route.to);
            route
        })
        .collect();
    let key = || TargetKey::Paths(paths(&["/region"]));
    let target = |name: &str| match name {
        "mirror" => Some(Target { sink: 0, key: key(), source_field: None, is_mirrored: true }),
        "plain" => Some(Target { sink: 1, key: key(), source_field: None, is_mirrored: false }),
        _ => None,
    };
    Router::new(&routes, target, |_| None).unwrap()
}

fn changes(event: Event) -> [Change; 2] {
    let routed = router(&["plain", "mirror"])
        .route(keyed_change(event, vec![text("north")]), &[path("/region")]);
    assert!(routed.rejected.is_empty());
    let of = |sink| {
        let mut changes = routed.changes.iter().filter(|addressed| addressed.sink == sink);
        changes.next().unwrap().change.clone()
    };
    [of(0), of(1)]
}

#[test]
fn a_mirrored_route_sends_both_images_with_the_properties_of_the_service() {
    let read = |n: u64, etag: &str| {
        document(json!({"id": "1", "region": "north", "n": n, "_etag": etag, "_ts": 7}))
    };
    let plain = document(json!({"id": "1", "region": "north", "n": 2}));
    for (previous, is_new, old_copies) in [
        (Some(read(1, "a")), false, OldCopies::None),
        (None, true, OldCopies::Nowhere),
        // Nothing tells what was before.
        (None, false, OldCopies::None),
    ] {
        let event = Event::Upsert { current: read(2, "b"), previous: previous.clone(), is_new };
        let [mirrored, other] = changes(event);
        let Operation::Upsert { document } = &mirrored.operation else { panic!("{mirrored:?}") };
        assert_eq!(**document, read(2, "b"));
        assert_eq!(mirrored.previous.as_deref(), previous.as_ref());
        assert_eq!(mirrored.old_copies, old_copies);
        assert!(mirrored.is_as_read());
        let Operation::Upsert { document } = &other.operation else { panic!("{other:?}") };
        assert_eq!((&**document, &other.previous), (&plain, &None));
    }
    let event = Event::Delete { previous: Some(read(1, "a")), expired: true };
    let [mirrored, other] = changes(event);
    assert_eq!(mirrored.operation, Operation::Delete { expired: true });
    assert_eq!(mirrored.previous.as_deref(), Some(&read(1, "a")));
    assert_eq!(other.previous, None);
    let [mirrored, _] = changes(Event::Delete { previous: None, expired: false });
    assert!(mirrored.is_as_read() && mirrored.previous.is_none());
}

#[test]
fn a_mirrored_route_needs_no_field_beyond_the_key() {
    let router = router(&["mirror"]);
    let [needs] = &router.image_needs(&paths(&["/region"]))[..] else { panic!("one route") };
    assert_eq!((needs.holds, needs.reads_more()), (Holds::Mirrored, false));
}
