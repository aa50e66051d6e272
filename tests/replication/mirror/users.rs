//! What users of two sides do.

use std::collections::BTreeMap;

use cosmos_bridge_emulator::chance::Chance;
use serde_json::json;

use super::sides::{Side, Sides};

/// What users do: each writes to documents of the own side, and to those of the other side that have arrived.
pub(super) struct Users {
    pub(super) chance: Chance,
    next: u64,
    pub(super) n: u64,
    /// Changes of users, by kind.
    pub(super) made: BTreeMap<&'static str, u64>,
}

impl Users {
    pub(super) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), next: 0, n: 0, made: BTreeMap::new() }
    }

    fn count(&mut self, kind: &'static str) {
        *self.made.entry(kind).or_default() += 1;
    }

    /// Documents that no other side knows yet: some are changed at once, some deleted, some created again.
    pub(super) fn create(&mut self, sides: &Sides, side: Side, documents: u64) {
        for _ in 0..documents {
            let id = format!("{}-{}", side.name(), self.next);
            (self.next, self.n) = (self.next + 1, self.n + 1);
            sides.write(side, &id, self.n);
            self.count("created");
            match self.chance.below(8) {
                0 => {
                    self.n += 1;
                    sides.write(side, &id, self.n);
                    self.count("changed");
                }
                1 => {
                    sides.delete(side, &id);
                    self.count("deleted");
                }
                // Another key: a delete and a create.
                2 => {
                    sides.delete(side, &id);
                    let key = format!("{id} moved");
                    sides.write_fields(side, &json!({"id": id, "orderId": key, "n": self.n}));
                    self.count("deleted");
                    self.count("moved");
                }
                _ => {}
            }
        }
    }

    /// Documents that both sides have, each once: those of the other side are changed, too. Some users keep the
    /// field of the bridge, others remove it.
    pub(super) fn change(&mut self, sides: &Sides, ids: impl Iterator<Item = String>) {
        for id in ids {
            let side = Side::BOTH[self.chance.index(2)];
            self.n += 1;
            match self.chance.below(4) {
                0 => {
                    sides.delete(side, &id);
                    self.count("deleted");
                }
                1 => {
                    sides.edit(side, &id, self.n);
                    self.count("changed, field kept");
                }
                _ => {
                    sides.overwrite(side, &id, self.n);
                    self.count("changed");
                }
            }
        }
    }
}

/// Changes the document on both sides, of which none is read meanwhile.
pub(super) fn collide(sides: &Sides, id: &str, kind: u64, n: u64) {
    match kind % 4 {
        0 => {
            sides.edit(Side::West, id, n);
            sides.edit(Side::East, id, n + 1);
        }
        1 => {
            sides.overwrite(Side::West, id, n);
            sides.overwrite(Side::East, id, n + 1);
        }
        2 => {
            sides.delete(Side::West, id);
            sides.edit(Side::East, id, n);
        }
        _ => {
            sides.delete(Side::East, id);
            sides.overwrite(Side::West, id, n);
        }
    }
}
