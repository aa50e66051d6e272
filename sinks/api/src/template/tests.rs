use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{ContainerName, KeyValue, Origin, PartitionKey};

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

fn path(names: &[&str]) -> Piece {
    Piece::Field(Path(names.iter().map(|&name| name.to_owned()).collect()))
}

#[test]
fn templates_are_texts_and_fields() {
    let cases = [
        ("", vec![]),
        ("plain", vec![text("plain")]),
        ("{/a}", vec![path(&["a"])]),
        ("{/a}-{/b/c}", vec![path(&["a"]), text("-"), path(&["b", "c"])]),
        ("x{{{/a}}}y", vec![text("x{"), path(&["a"]), text("}y")]),
        ("{/\"a}/b\"}", vec![path(&["a}/b"])]),
        ("{/a\"}", vec![path(&["a\""])]),
        ("{id}.{/id}", vec![Piece::Property(Property::Id), text("."), path(&["id"])]),
    ];
    for (written, pieces) in cases {
        assert_eq!(Template::read(written), Ok(Template(pieces)), "{written}");
    }
}

#[test]
fn broken_templates_are_refused() {
    let cases = [
        ("{/a", TemplateError::Unclosed),
        ("{/\"a}", TemplateError::Unclosed),
        ("a}", TemplateError::Unopened),
        ("{}", TemplateError::Path(PathError::Empty)),
        ("{a}", TemplateError::Path(PathError::NoSlash)),
        ("{/a}{Id}", TemplateError::Path(PathError::NoSlash)),
        ("{/a/}", TemplateError::Path(PathError::Empty)),
    ];
    for (written, error) in cases {
        assert_eq!(Template::read(written), Err(error), "{written}");
    }
}

fn change(operation: Operation, previous: Option<Value>) -> Change {
    let key = PartitionKey(vec![KeyValue::String("nord".to_owned()), KeyValue::Number(7.0)]);
    let container = ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "orders".to_owned(),
        rid: "rid".to_owned(),
    };
    Change {
        id: "o-1".to_owned(),
        partition_key: key.clone(),
        operation,
        previous: previous.and_then(|image| Some(Arc::new(image.as_object()?.clone().into()))),
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: "1".to_owned(),
            partition_key: key,
            lsn: None,
            committed_at: None,
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: crate::OldCopies::None,
    }
}

#[test]
fn a_text_of_the_document_its_id_or_its_key_is_not_for_logs() {
    let cases = [
        ("", false),
        ("orders", false),
        ("{account}.{database}.{container}.{operation}", false),
        ("orders.{id}", true),
        ("{partition_key}", true),
        ("{container}.{/tenant}", true),
    ];
    for (written, shows) in cases {
        assert_eq!(Template::read(written).unwrap().shows_the_document(), shows, "{written}");
    }
}

#[test]
fn a_change_is_as_read_if_neither_its_id_nor_its_key_was_changed() {
    let read = change(Operation::Delete { expired: false }, None);
    let of = |id: &str, key: &[KeyValue]| Change {
        id: id.to_owned(),
        partition_key: PartitionKey(key.to_vec()),
        ..read.clone()
    };
    let (key, other) = (&read.origin.partition_key.0[..], [KeyValue::Null]);
    let cases = [("1", key, true), ("2", key, false), ("1", &other, false), ("2", &other, false)];
    for (id, key, as_read) in cases {
        assert_eq!(of(id, key).is_as_read(), as_read, "{id} {key:?}");
    }
}

#[test]
fn a_template_is_rendered_from_the_change() {
    let document = json!({"region": "süd", "total": 3.0, "lines": []});
    let upsert =
        Operation::Upsert { document: Arc::new(document.as_object().unwrap().clone().into()) };
    let delete = Operation::Delete { expired: false };
    let before = json!({"region": "west"});
    let region = Path::parse("/region").unwrap();
    let lines = Path::parse("/lines").unwrap();
    let cases: &[(&str, Change, Result<&str, Unrenderable>)] = &[
        ("{/region}-{/total}", change(upsert.clone(), None), Ok("süd-3")),
        (
            "{account}/{database}/{container}",
            change(upsert.clone(), None),
            Ok("source/shop/orders"),
        ),
        (
            "{partition_key} {id} {operation}",
            change(delete.clone(), None),
            Ok(r#"["nord",7] o-1 delete"#),
        ),
        ("{/region}", change(upsert.clone(), Some(before.clone())), Ok("süd")),
        ("{/region}", change(delete.clone(), Some(before)), Ok("west")),
        ("{/region}", change(delete, None), Err(Unrenderable::NoImage(region))),
        ("{/lines}", change(upsert, None), Err(Unrenderable::NoText(lines, "an array"))),
    ];
    for (template, change, expected) in cases {
        let rendered = Template::read(template).unwrap().render(change);
        assert_eq!(rendered.as_deref(), expected.as_ref().copied(), "{template}");
    }
}

#[test]
fn a_template_is_known_as_far_as_the_container_decides() {
    let container = |database: &str, container: &str| ContainerName {
        account: "source".to_owned(),
        database: database.to_owned(),
        container: container.to_owned(),
        rid: String::new(),
    };
    let containers = [container("shop", "{o}"), container("shop", "a"), container("shop", "a")];
    let cases: &[(&str, &str, &[&str])] = &[
        ("", "", &[""]),
        ("orders", "orders", &["orders"]),
        ("{account}-{database}", "source-shop", &["source-shop"]),
        ("{database}.{container}", "shop.{{o}}", &["shop.a", "shop.{o}"]),
        ("{container}.{operation}.{database}", "{{o}}.{operation}.shop", &[]),
        ("{/tenant}{container}{id}", "{/tenant}{{o}}{id}", &[]),
    ];
    for (written, shown, known) in cases {
        let template = Template::read(written).unwrap();
        assert_eq!(template.in_container(&containers[0]).to_string(), *shown, "{written}");
        assert_eq!(template.known(&containers), *known, "{written}");
    }
    let template = Template::read("{database}.{container}.{id}").unwrap();
    let texts = template.in_container(&containers[1]);
    assert_eq!(texts.texts().collect::<Vec<_>>(), ["shop.a."]);
}

proptest! {
    #[test]
    fn a_template_is_read_back_as_it_was_shown(
        pieces in prop::collection::vec((".+", prop::collection::vec(".+", 1..3)), 0..4),
    ) {
        let pieces = pieces.into_iter();
        let template =
            Template(pieces.flat_map(|(t, p)| [Piece::Text(t), Piece::Field(Path(p))]).collect());
        prop_assert_eq!(Template::parse(&template.to_string()), Some(template));
    }

    #[test]
    fn no_text_makes_reading_panic(text in "[{}/\"\\\\a]{0,12}") {
        if let Some(template) = Template::parse(&text) {
            prop_assert_eq!(Template::parse(&template.to_string()), Some(template));
        }
    }
}
