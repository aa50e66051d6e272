//! Realistic orders from a seed: what a shop's source container holds.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::words::{
    CITIES, CURRENCIES, FAMILY_NAMES, GIVEN_NAMES, GOODS, KINDS, NOTES, REGIONS, TAGS,
};

/// One order in this many comes from a new customer, which leaves customers with many orders.
const ORDERS_PER_CUSTOMER: u64 = 50;
/// Size of a document unless [`Orders::with_bytes`] says otherwise.
const DOCUMENT_BYTES: usize = 1024;
/// Documents below this size leave out the customer, the lines and the note.
const FULL_BYTES: usize = 640;
/// More lines than this would be an odd order; larger documents have a longer note instead.
const LINES_MAX: usize = 50;
/// 2026-01-01T00:00:00Z, when the first order was made.
const FIRST_ORDER_SECONDS: i64 = 1_767_225_600;
/// What an order goes through; an update moves it one step on.
const STATUSES: [&str; 5] = ["placed", "paid", "packed", "shipped", "delivered"];

/// Topics of [`Chance::of`], so that the parts of an order do not depend on each other.
const ORDER: u64 = 1;
const CUSTOMER: u64 = 2;

/// A seeded generator: the same seed, count and size give the same order for a number, always.
#[derive(Clone, Debug)]
pub struct Orders {
    seed: u64,
    customers: u64,
    bytes: usize,
}

impl Orders {
    /// Orders of about 1 KiB from 1,000 customers.
    pub fn new(seed: u64) -> Self {
        Self { seed, customers: 1000, bytes: DOCUMENT_BYTES }
    }

    /// As many customers as a shop with `count` orders has: about a fiftieth.
    #[must_use]
    pub fn with_count(mut self, count: u64) -> Self {
        self.customers = (count / ORDERS_PER_CUSTOMER).max(1);
        self
    }

    /// A number of customers that does not depend on the number of orders.
    #[must_use]
    pub fn with_customers(mut self, customers: u64) -> Self {
        self.customers = customers.max(1);
        self
    }

    /// Documents of about `target` bytes of JSON text (200 bytes to 1.5 MB): each is within an
    /// eighth of it, their mean is close to it. The smallest possible document has about 200 bytes.
    #[must_use]
    pub fn with_bytes(mut self, target: usize) -> Self {
        self.bytes = target;
        self
    }

    /// The order with this number, as it was when it was placed. Its id is `o-` and ten digits.
    pub fn order(&self, number: u64) -> Value {
        let mut chance = Chance::of(self.seed, ORDER, number);
        let bytes = vary(self.bytes, &mut chance);
        let mut order = self.essentials(number, &mut chance);
        if bytes >= FULL_BYTES {
            let lines = (bytes - FULL_BYTES) / 160 + 1;
            self.complete(&mut order, lines.min(LINES_MAX), &mut chance);
        }
        fill(&mut order, bytes, &mut chance);
        Value::Object(order)
    }

    /// The same as JSON text on one line.
    pub fn text(&self, number: u64) -> String {
        self.order(number).to_string()
    }

    /// The orders from the first on, without end.
    pub fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        (1..).map(|number| self.order(number))
    }

    fn essentials(&self, number: u64, chance: &mut Chance) -> Map<String, Value> {
        let placed = placed_at(number);
        let mut order = Map::new();
        order.insert("id".to_owned(), id(number).into());
        // The suffix makes it look like a key of the source while the number keeps it unique.
        let suffix = chance.below(0x1_0000);
        order.insert("orderId".to_owned(), format!("ORD-{number:010}-{suffix:04x}").into());
        order.insert("customerId".to_owned(), customer_id(self.customer(chance)).into());
        order.insert("status".to_owned(), STATUSES[0].into());
        order.insert("currency".to_owned(), (*chance.pick(&CURRENCIES)).into());
        order.insert("total".to_owned(), money(100 + chance.below(50_000)));
        order.insert("createdAt".to_owned(), placed.clone().into());
        order.insert("updatedAt".to_owned(), placed.into());
        order.insert("sequence".to_owned(), 1.into());
        order
    }

    /// Few customers order a lot and most order little: rank r with a weight of about 1/r.
    fn customer(&self, chance: &mut Chance) -> u64 {
        // Integers only, because a power function may differ between machines in its last digit.
        let octaves = u64::from(self.customers.ilog2()) + 1;
        let octave = 1 << chance.below(octaves);
        (octave - 1 + chance.below(octave)) % self.customers
    }

    fn complete(&self, order: &mut Map<String, Value>, lines: usize, chance: &mut Chance) {
        let rank = order["customerId"].as_str().and_then(|id| id.strip_prefix("c-"));
        let rank = rank.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        order.insert("customer".to_owned(), customer(self.seed, rank));
        let (lines, cents) = lines_of(lines, chance);
        order.insert("lines".to_owned(), lines.into());
        let reduced = if chance.one_in(4) { cents / 10 } else { 0 };
        order.insert("total".to_owned(), money(cents - reduced));
        let discount = if reduced == 0 { Value::Null } else { money(reduced) };
        order.insert("discount".to_owned(), discount);
        let tags: Vec<_> = (0..chance.below(4)).map(|_| *chance.pick(&TAGS)).collect();
        order.insert("tags".to_owned(), tags.into());
        if chance.one_in(8) {
            order.insert("counter".to_owned(), counter(chance).into());
        }
        if chance.one_in(3) {
            order.insert("shipTo".to_owned(), json!({"city": chance.pick(&CITIES), "floor": null}));
        }
    }
}

/// The id of the order with this number.
pub fn id(number: u64) -> String {
    format!("o-{number:010}")
}

/// The number in the id of an order; `None` for other ids.
pub fn number(id: &str) -> Option<u64> {
    id.strip_prefix("o-")?.parse().ok()
}

/// A later version of an order: `sequence` one higher, the next status, a later `updatedAt`, and
/// sometimes other tags. Everything else, fields of other writers included, stays as it is.
pub fn update(order: &Value, chance: &mut Chance) -> Value {
    let mut order = order.clone();
    let sequence = order["sequence"].as_u64().unwrap_or(0) + 1;
    order["sequence"] = sequence.into();
    let step = STATUSES.iter().position(|&status| order["status"] == status).unwrap_or(0);
    order["status"] = STATUSES[(step + 1) % STATUSES.len()].into();
    let since = order["updatedAt"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let waited = SignedDuration::from_secs(1 + chance.below(86_400).cast_signed());
    if let Some(later) = since.and_then(|since| since.checked_add(waited).ok()) {
        order["updatedAt"] = later.to_string().into();
    }
    if chance.one_in(4) {
        order["tags"] = json!([*chance.pick(&TAGS)]);
    }
    order
}

fn vary(bytes: usize, chance: &mut Chance) -> usize {
    bytes - bytes / 8 + chance.index(bytes / 4 + 1)
}

fn customer_id(rank: u64) -> String {
    format!("c-{rank:06}")
}

/// Orders are placed about every nine seconds, in the order of their numbers.
fn placed_at(number: u64) -> String {
    let seconds = FIRST_ORDER_SECONDS.saturating_add_unsigned(number.saturating_mul(9));
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

/// An amount with two decimals; a whole amount is an integer, as the service would return it.
fn money(cents: u64) -> Value {
    if cents.is_multiple_of(100) {
        return (cents / 100).into();
    }
    // Exact: amounts stay far below 2^53 cents, and the quotient is the nearest double.
    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53 cents")]
    let amount = cents as f64 / 100.0;
    amount.into()
}

fn customer(seed: u64, rank: u64) -> Value {
    let mut chance = Chance::of(seed, CUSTOMER, rank);
    let given = chance.pick(&GIVEN_NAMES);
    let family = chance.pick(&FAMILY_NAMES);
    let year = 2012 + chance.below(14);
    json!({
        "name": format!("{given} {family}"),
        "email": format!("customer{rank}@example.com"),
        "region": chance.pick(&REGIONS),
        "since": format!("{year}-{:02}-{:02}", 1 + chance.below(12), 1 + chance.below(28)),
    })
}

fn lines_of(count: usize, chance: &mut Chance) -> (Vec<Value>, u64) {
    let mut cents = 0;
    let lines = (0..count).map(|_| {
        let kind = chance.index(KINDS.len());
        let quantity = 1 + chance.below(5);
        let price = 99 + chance.below(20_000);
        cents += quantity * price;
        json!({
            "sku": format!("{:02}-{:05}", kind, chance.below(100_000)),
            "title": format!("{} {}", KINDS[kind], chance.pick(&GOODS)),
            "quantity": quantity,
            "unitPrice": money(price),
        })
    });
    (lines.collect(), cents)
}

/// 64-bit integers, half of them around the border of what a double holds exactly.
fn counter(chance: &mut Chance) -> i64 {
    match chance.below(4) {
        0 => (1 << 53) - 1,
        1 => (1 << 53) + 1,
        _ => chance.number().cast_signed(),
    }
}

/// Writes a note that brings the document to the wanted size, if it is smaller.
fn fill(order: &mut Map<String, Value>, bytes: usize, chance: &mut Chance) {
    const EMPTY_NOTE_BYTES: usize = r#","note":"""#.len();
    let mut left = bytes.saturating_sub(encoded(&*order) + EMPTY_NOTE_BYTES);
    let mut note = String::new();
    while left > 0 {
        let phrase = *chance.pick(&NOTES);
        // One for the space that follows, less the quotes around the encoded text.
        let length = encoded(&phrase) - 2 + 1;
        if length > left {
            note.extend("please ring twice ".chars().cycle().take(left));
            break;
        }
        note.push_str(phrase);
        note.push(' ');
        left -= length;
    }
    if !note.is_empty() {
        order.insert("note".to_owned(), note.into());
    }
}

/// The length of a value as JSON text. Writing to a string cannot fail.
fn encoded(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests;
