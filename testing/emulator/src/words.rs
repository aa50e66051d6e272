//! The words that orders are made of.

pub(crate) const REGIONS: [&str; 8] = [
    "north-america",
    "south-america",
    "north-europe",
    "south-europe",
    "africa",
    "middle-east",
    "east-asia",
    "oceania",
];

pub(crate) const CURRENCIES: [&str; 5] = ["EUR", "USD", "GBP", "JPY", "SEK"];

pub(crate) const GIVEN_NAMES: [&str; 16] = [
    "Ada", "Amélie", "Björn", "Chloé", "Dmitri", "Elif", "Fatima", "Grace", "Hiroshi", "Ines",
    "João", "Kwame", "Łukasz", "Mei", "Noah", "Zoë",
];

pub(crate) const FAMILY_NAMES: [&str; 16] = [
    "Andersson",
    "Brown",
    "Castro",
    "Dubois",
    "Eriksen",
    "García",
    "Hopper",
    "Ivanova",
    "Jansen",
    "Kovač",
    "Müller",
    "Nguyễn",
    "O'Neill",
    "Sato",
    "Smith",
    "Yılmaz",
];

pub(crate) const CITIES: [&str; 8] =
    ["Aarhus", "Bogotá", "Chicago", "Dakar", "İzmir", "Kyōto", "Perth", "Zürich"];

pub(crate) const KINDS: [&str; 10] = [
    "Steel",
    "Oak",
    "Cotton",
    "Ceramic",
    "Folding",
    "Waterproof",
    "Small",
    "Large",
    "Recycled",
    "Handmade",
];

pub(crate) const GOODS: [&str; 12] = [
    "bottle", "shelf", "blanket", "mug", "chair", "jacket", "lamp", "toolbox", "notebook",
    "backpack", "kettle", "tent",
];

pub(crate) const TAGS: [&str; 8] =
    ["gift", "express", "fragile", "b2b", "rückgabe", "sale", "click&collect", "礼品"];

/// Text that a copy can damage: quotes, backslashes, controls, other scripts, surrogate pairs, and
/// the two line separators that JSON allows raw and JavaScript once did not.
pub(crate) const NOTES: [&str; 16] = [
    "leave it at the door",
    "call before delivery",
    "second floor on the left",
    "invoice to the company, goods to the warehouse",
    "no substitutes",
    "deliver between 9 and 12",
    "ask for the caretaker",
    "please wrap each line on its own",
    "say \"parcel for Ada\" at the desk",
    "share C:\\orders\\2026\\in",
    "line one\nline two\ttabbed",
    "Bitte bei Müller klingeln, Straße gesperrt",
    "置き配でお願いします",
    "📦 fragile ⚠️ thanks 👩‍🔧",
    "before\u{2028}after\u{2029}end",
    "bell\u{7} and escape \u{1b}[0m",
];
