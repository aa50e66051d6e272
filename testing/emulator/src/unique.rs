//! Unique keys of a container.

use serde_json::Value;

use crate::answer::Refusal;
use crate::document::Address;
use crate::key::KeyPath;
use crate::scan::Scanned;
use crate::store::KeyRange;
use crate::write::{Draft, parse};

impl Draft<'_> {
    /// Unique keys hold within one logical partition; a missing value counts as null.
    pub(crate) fn check_unique(&self, address: &Address, scanned: &Scanned) -> Result<(), Refusal> {
        if self.container.unique_keys.is_empty() {
            return Ok(());
        }
        let new = parse(&scanned.text);
        let range = KeyRange { min: address.key.clone(), max: address.key.clone() };
        let stored = self.store.between(&range, None).map(|(address, _)| address.as_ref());
        let drafted = self.changes.iter().map(|(address, _)| address);
        for other in stored.chain(drafted.filter(|other| other.key == address.key)) {
            if other == address {
                continue;
            }
            let Some(version) = self.get(other) else { continue };
            let old = parse(&version.text);
            if self.container.unique_keys.iter().any(|key| same(key, &old, &new)) {
                return Err(Refusal::new(409, "Unique index constraint violation."));
            }
        }
        Ok(())
    }
}

fn same(key: &[KeyPath], a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_f64();
    key.iter().all(|path| {
        let a = path.find(a).unwrap_or(&Value::Null);
        let b = path.find(b).unwrap_or(&Value::Null);
        a == b || (number(a).is_some() && number(a) == number(b))
    })
}
