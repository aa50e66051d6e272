//! What users do to the document of a side.

use super::chance::Chance;
use super::world::World;
use crate::mirror::Stamp;

/// A version that a user has read: its content, and the field of the bridge.
type Read = (u32, Option<Stamp>);

#[derive(Default)]
pub(super) struct Users {
    /// True if documents expire.
    expire: bool,
    /// The contents so far are the numbers below this one.
    contents: u32,
    /// What was read on each side, and may be written back.
    read: [Vec<Read>; 2],
}

impl Users {
    pub(super) fn new(expire: bool) -> Self {
        Self { expire, ..Self::default() }
    }

    /// Creates, replaces (with and without the field), touches, deletes, lets expire, or writes back an
    /// earlier version.
    pub(super) fn change(&mut self, side: usize, world: &mut World, chance: &mut Chance) {
        let doc = world.sides[side].doc.clone();
        if let Some(doc) = &doc {
            self.read[side].push((doc.content, doc.version.stamp.clone()));
        }
        let content = self.content(world, chance);
        match (doc, chance.below(12)) {
            (Some(_), 0 | 1) => world.user_deletes(side),
            (Some(doc), 2..=4) => world.user_writes(side, content, doc.version.stamp),
            (Some(doc), 5) => world.user_writes(side, doc.content, None),
            (Some(doc), 6) => world.user_writes(side, doc.content, doc.version.stamp),
            (Some(doc), 7) if self.expire => world.expire(doc.content),
            (_, 8 | 9) => {
                let read = &self.read[side];
                let count = u32::try_from(read.len()).unwrap_or(u32::MAX);
                if count == 0 {
                    return;
                }
                let (content, stamp) = read[chance.below(count) as usize].clone();
                if !world.is_expired(content) {
                    world.user_writes(side, content, stamp);
                }
            }
            _ => world.user_writes(side, content, None),
        }
    }

    /// A new content, or now and then one that there was before.
    fn content(&mut self, world: &World, chance: &mut Chance) -> u32 {
        if self.contents > 0 && chance.one_in(6) {
            let old = chance.below(self.contents);
            if !world.is_expired(old) {
                return old;
            }
        }
        self.contents += 1;
        self.contents - 1
    }
}
