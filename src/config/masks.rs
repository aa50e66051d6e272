//! `mask` of a route.

use cosmos_bridge_options::{
    Form, Kind, SecretRef, kind, options, readable_secret, secret_table, table_like,
};
use serde_json::json;

/// What a masked field becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// Replace with this text.
    Text(String),
    /// Replace with the hexadecimal SHA-256 of the value's JSON text, salted.
    Sha256 { salt: SecretRef },
}

options! {
    struct HashTable {
        /// The salted SHA-256 of the value.
        sha256: Sha256 = required(HINT), secret_table(HINT);
    }
}

options! {
    struct Sha256 {
        /// A secret that is hashed together with the value.
        salt: SecretRef = required("Without a salt, the values can be guessed."), readable_secret();
    }
}

const HINT: &str = "Write \"***\", or { sha256 = { salt = { file = \"PATH\" } } }.";

pub(super) fn mask() -> impl Kind<Output = Mask> {
    let hash = || table_like::<HashTable>("text or a hash", HINT);
    let text = Form::of("text", json!({ "type": "string" }));
    kind(Form::Either(vec![text, hash().form()]), move |value| match value.node().as_str() {
        Some(text) => Some(Mask::Text(text.to_owned())),
        None => Some(Mask::Sha256 { salt: hash().read(value)?.sha256.salt }),
    })
}
