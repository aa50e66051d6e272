//! Seeded schedules of two sides: users, kills, repetitions, late requests.

mod chance;
mod container;
mod users;
mod world;

use std::collections::BTreeMap;

use chance::Chance;
use container::Doc;
use users::Users;
use world::{Conflict, World};

use super::{ContentHash, Version};

#[derive(Clone, Copy)]
struct Plan {
    /// Users write while changes are on their way.
    is_concurrent: bool,
    kills: bool,
    /// Users have written to both sides before the bridge first starts.
    is_in_use: bool,
}

/// True if the first version, which comes in, is preferred.
type Policy = fn(&Version, &Version) -> bool;

const POLICIES: [Policy; 4] = [
    |incoming, target| incoming.committed_at > target.committed_at,
    |_, _| true,
    |_, _| false,
    // A field: it may go down with the next version of a side.
    |incoming, target| rank(incoming.content) > rank(target.content),
];

fn rank(content: ContentHash) -> String {
    format!("{content:?}")
}

/// What a schedule breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Breach {
    DoesNotEnd,
    SidesDiffer,
    ChangeLost,
    ConflictWithoutConcurrency,
    TooManyWrites,
}

fn schedule(seed: u64, plan: Plan, is_traced: bool) -> (World, Option<Breach>) {
    let mut chance = Chance(seed);
    let skews = [0, i64::from(chance.below(7)) - 3];
    let policy = POLICIES[chance.below(4) as usize];
    let mut world = World::new(skews, policy, is_traced);
    let mut users = Users::new(chance.one_in(2));
    if plan.is_in_use {
        for _ in 0..=chance.below(6) {
            users.change(usize::from(chance.one_in(2)), &mut world, &mut chance);
        }
        (0..2).for_each(|side| world.start(side));
    }
    for _ in 0..5 + chance.below(90) {
        if chance.one_in(3) {
            world.now += i64::from(chance.below(3));
        }
        let side = usize::from(chance.one_in(2));
        match chance.below(20) {
            0..=4 if plan.is_concurrent || world.is_drained() => {
                users.change(side, &mut world, &mut chance);
            }
            5 if plan.kills => world.kill(side, chance.one_in(2), chance.one_in(2)),
            6 if plan.kills => world.late(side),
            7 => world.store(side),
            _ => world.step(side),
        }
    }
    let breach = if world.drain(5000) { breach(&world, plan) } else { Some(Breach::DoesNotEnd) };
    (world, breach)
}

fn breach(world: &World, plan: Plan) -> Option<Breach> {
    let [one, other] = &world.sides;
    let content = |doc: &Option<Doc>| doc.as_ref().map(|doc| doc.content);
    let is_false = |conflict: &Conflict| !conflict.is_real;
    let most = if plan.is_concurrent { 10 * world.changes + 10 } else { world.changes };
    if content(&one.doc) != content(&other.doc) {
        Some(Breach::SidesDiffer)
    } else if world.lost() != 0 && !world.has_expired() {
        Some(Breach::ChangeLost)
    } else if !plan.is_concurrent && !world.log.is_empty()
        // A killed process repeats a delete, which may meet what was created since.
        || !plan.kills && world.log.iter().any(is_false)
    {
        Some(Breach::ConflictWithoutConcurrency)
    } else if !plan.kills && world.writes > most {
        Some(Breach::TooManyWrites)
    } else {
        None
    }
}

/// Runs the schedules and shows the shortest one that breaks something.
fn explore(count: u64, plan: Plan) {
    let mut breaches: BTreeMap<Breach, u64> = BTreeMap::new();
    let mut shortest = None;
    let mut conflicts = 0;
    for seed in 0..count {
        let (world, breach) = schedule(seed, plan, false);
        conflicts += world.log.len();
        if let Some(breach) = breach {
            *breaches.entry(breach).or_default() += 1;
            let steps = world.steps;
            if shortest.is_none_or(|(known, _)| steps < known) {
                shortest = Some((steps, seed));
            }
        }
    }
    if let Some((_, seed)) = shortest {
        let (world, breach) = schedule(seed, plan, true);
        panic!("{breaches:?} of {count}; seed {seed}: {breach:?}\n{}", world.trace.join("\n"));
    }
    assert_eq!(conflicts > 0, plan.is_concurrent);
}

#[test]
fn one_after_the_other_each_change_crosses_once_and_nothing_conflicts() {
    explore(20_000, Plan { is_concurrent: false, kills: false, is_in_use: false });
}

#[test]
fn concurrent_changes_end_equal_and_every_conflict_is_logged() {
    explore(20_000, Plan { is_concurrent: true, kills: false, is_in_use: false });
}

#[test]
fn kills_repetitions_and_late_requests_lose_nothing() {
    explore(60_000, Plan { is_concurrent: true, kills: true, is_in_use: false });
}

#[test]
fn what_exists_on_both_sides_becomes_equal() {
    explore(40_000, Plan { is_concurrent: true, kills: true, is_in_use: true });
}
