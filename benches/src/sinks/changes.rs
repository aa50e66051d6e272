//! Changes as the source gives them to the sinks: orders of about 1 KiB.

use std::sync::Arc;

use cosmos_bridge_sink::{
    Change, ContainerName, Document, KeyValue, Operation, Origin, PartitionKey,
};
use serde_json::{Value, json};

const CUSTOMERS: u64 = 1000;
const COMMITTED_AT: i64 = 1_769_817_600;
const GOODS: [&str; 8] = [
    "Folding chair",
    "Desk lamp",
    "Kettle",
    "Wool blanket",
    "Garden hose",
    "Notebook",
    "Toolbox",
    "Picture frame",
];
const WORDS: [&str; 16] = [
    "please",
    "ring",
    "twice",
    "leave",
    "it",
    "with",
    "the",
    "neighbour",
    "if",
    "nobody",
    "is",
    "home",
    "before",
    "noon",
    "thank",
    "you",
];

/// A sequence that is the same in every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % most
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        let most = u64::try_from(of.len()).unwrap_or(u64::MAX);
        usize::try_from(self.below(most)).map_or("", |at| of[at])
    }
}

/// The order with this number, and its customer.
pub(crate) fn order(number: u64) -> (Document, String) {
    let mut numbers = Numbers(number);
    let customer = format!("c-{:06}", numbers.below(CUSTOMERS));
    let line = |numbers: &mut Numbers| {
        json!({
            "sku": format!("{:02}-{:05}", numbers.below(24), numbers.below(100_000)),
            "title": numbers.pick(&GOODS),
            "quantity": 1 + numbers.below(5),
            "unitPrice": 99 + numbers.below(20_000),
        })
    };
    let lines: Vec<Value> = (0..4).map(|_| line(&mut numbers)).collect();
    let note: Vec<&str> = (0..54).map(|_| numbers.pick(&WORDS)).collect();
    let order = json!({
        "id": format!("o-{number:010}"),
        "orderId": format!("ORD-{number:010}-{:04x}", numbers.below(0x1_0000)),
        "customerId": customer,
        "status": "placed",
        "currency": "EUR",
        "total": 1000 + numbers.below(500_000),
        "createdAt": format!("2026-01-{:02}T{:02}:00:00Z", 1 + numbers.below(28), numbers.below(24)),
        "sequence": 1,
        "customer": {
            "name": format!("{} {}", numbers.pick(&GOODS), numbers.pick(&WORDS)),
            "email": format!("{customer}@example.com"),
            "region": "north",
        },
        "lines": lines,
        "discount": null,
        "note": note.join(" "),
    });
    match order {
        Value::Object(order) => (order.into(), customer),
        _ => (Document::new(), customer),
    }
}

/// A number of changes, each of another document.
pub(crate) fn changes(count: u64) -> Vec<Change> {
    let container = Arc::new(ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "orders".to_owned(),
        rid: "rid".to_owned(),
    });
    let change = |number| {
        let (document, customer) = order(number);
        let id = format!("o-{number:010}");
        let partition_key = PartitionKey(vec![KeyValue::String(customer)]);
        Change {
            id: id.clone(),
            partition_key: partition_key.clone(),
            operation: Operation::Upsert { document: Arc::new(document) },
            previous: None,
            origin: Arc::new(Origin {
                container: Arc::clone(&container),
                id,
                partition_key,
                lsn: i64::try_from(number).ok(),
                committed_at: Some(COMMITTED_AT),
                nth: 0,
                expiry: None,
                is_snapshot: false,
                trace: None,
            }),
            old_copies: cosmos_bridge_sink::OldCopies::None,
        }
    };
    (1..=count).map(change).collect()
}
