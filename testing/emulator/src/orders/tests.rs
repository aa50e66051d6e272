use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn a_seed_and_a_number_mean_one_order() {
    let orders = Orders::new(1);
    let first: Vec<_> = orders.iter().take(50).collect();
    assert_eq!(first[41], Orders::new(1).order(42), "random access equals the sequence");
    assert_ne!(first[41], Orders::new(2).order(42), "another seed is another shop");
    let again: Value = serde_json::from_str(&orders.text(42)).unwrap();
    assert_eq!(again, first[41]);
}

#[test]
fn sizes_are_near_what_was_asked_for() {
    for (target, count) in [(200, 400), (512, 400), (1024, 400), (10_240, 100), (1_500_000, 3)] {
        let orders = Orders::new(3).with_bytes(target);
        let sizes: Vec<_> = (1..=count).map(|number| orders.text(number).len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!(mean.abs_diff(target) <= target / 8, "{target}: the mean is {mean}");
        let (least, most) = (target * 3 / 4, (target + target / 8).max(260));
        for size in sizes {
            assert!((least..=most).contains(&size), "{target}: one has {size} bytes");
        }
    }
}

#[test]
fn a_default_order_has_one_kibibyte() {
    let sizes: Vec<_> = (1..=2000).map(|number| Orders::new(1).text(number).len()).collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!(mean.abs_diff(1024) < 26, "the mean is {mean}");
}

#[test]
fn an_order_has_the_fields_that_routes_use() {
    for number in 1..200 {
        let order = Orders::new(9).order(number);
        for field in ["orderId", "customerId", "status", "currency", "createdAt", "updatedAt"] {
            assert!(order[field].is_string(), "{field} in {number}");
        }
        assert_eq!(order["id"], id(number));
        assert_eq!(super::number(order["id"].as_str().unwrap()), Some(number));
        assert_eq!(order["sequence"], 1);
        assert!(order["total"].is_number());
        for field in ["name", "email", "region", "since"] {
            assert!(order["customer"][field].is_string(), "customer.{field} in {number}");
        }
        for field in ["sku", "title", "quantity", "unitPrice"] {
            assert!(!order["lines"][0][field].is_null(), "lines[0].{field} in {number}");
        }
    }
}

#[test]
fn awkward_values_are_among_them() {
    let all: Vec<_> = Orders::new(1).iter().take(2000).collect();
    let seen = |name: &str, matches: &dyn Fn(&Value) -> bool| {
        assert!(all.iter().any(matches), "none with {name}");
    };
    seen("no tags", &|o| o["tags"] == json!([]));
    seen("no discount", &|o| {
        o.as_object().unwrap().contains_key("discount") && o["discount"].is_null()
    });
    seen("a counter beyond 2^53", &|o| o["counter"].as_i64().is_some_and(|c| c > 1 << 53));
    seen("a negative counter", &|o| o["counter"].as_i64().is_some_and(|c| c < 0));
    seen("no counter", &|o| o.get("counter").is_none());
    seen("a text that is not ASCII", &|o| o["note"].as_str().is_some_and(|n| !n.is_ascii()));
    seen("a control character", &|o| o["note"].as_str().is_some_and(|n| n.contains('\u{7}')));
    seen("cents", &|o| o["total"].is_f64());
}

#[test]
fn ids_and_source_keys_are_unique_and_customers_are_not() {
    let orders = Orders::new(5).with_count(10_000).with_bytes(200);
    let mut keys = BTreeSet::new();
    let mut customers = BTreeMap::new();
    for order in orders.iter().take(10_000) {
        assert!(keys.insert(order["orderId"].to_string()));
        *customers.entry(order["customerId"].to_string()).or_insert(0) += 1;
    }
    assert!((150..=200).contains(&customers.len()), "{} customers", customers.len());
    let most = customers.values().max().unwrap();
    assert!((600..2500).contains(most), "the best customer has {most} orders");
}

#[test]
fn the_names_cover_all_regions() {
    let orders = Orders::new(5).with_count(10_000);
    let regions: BTreeSet<_> =
        orders.iter().take(500).map(|order| order["customer"]["region"].to_string()).collect();
    assert_eq!(regions.len(), 8);
}

#[test]
fn an_update_raises_the_sequence_and_keeps_the_identity() {
    let mut chance = Chance::new(4);
    let mut order = Orders::new(1).order(7);
    for expected in 2..20 {
        let later = update(&order, &mut chance);
        assert_eq!(later["sequence"], expected);
        assert!(later["updatedAt"].as_str() > order["updatedAt"].as_str());
        for field in ["id", "orderId", "customerId", "customer", "lines", "note", "createdAt"] {
            assert_eq!(later[field], order[field], "{field}");
        }
        order = later;
    }
}
