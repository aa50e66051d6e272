//! An event, its effects, and the invariants that hold after it.

use std::collections::BTreeSet;

use super::Fault;
use super::machine::Machine;
use super::reader::{Entry, Places, PlayedReader, feed_range, holds, is_for};
use super::world::{Checked, World, places_of};
use crate::deliver::WriteBatch;
use crate::source::range::event::{Checkpoint, Effect, Effects, Event, Exit, Notice, Why};
use crate::source::reader::ReaderId;
use crate::source::sink_buffer::Held;

impl World {
    /// Feeds an event, performs the effects and checks the invariants.
    pub(super) fn feed(&mut self, at: usize, event: Event) -> Checked {
        self.seen.events += 1;
        self.show(at, &event);
        let mut effects = Effects::default();
        let views = self.views();
        let is_stop = matches!(event, Event::StopAsked);
        let is_rejoining =
            matches!(&event, Event::PageArrived { reader, .. } if reader.only().is_some());
        let has_waited = self.machines[at].state.holds_reader();
        self.machines[at].state.on(event, self.now, &views, &mut effects);
        if has_waited {
            let has = |is_it: fn(&Notice) -> bool| {
                let is_it =
                    |effect: &Effect| matches!(effect, Effect::Notice(notice) if is_it(notice));
                u64::from(effects.0.iter().any(is_it))
            };
            let seen = &mut self.seen;
            seen.stopped_waiting += u64::from(is_stop);
            seen.failed_waiting +=
                has(|n| matches!(n, Notice::FellBehind { why: Why::BufferFull, .. }));
            seen.waited_out += has(|n| matches!(n, Notice::FellBehind { why: Why::TooSlow, .. }));
            let has_rejoined = has(|notice| matches!(notice, Notice::Rejoined { .. }));
            seen.rejoined_waiting += has_rejoined.min(u64::from(is_rejoining));
        }
        let held: Vec<_> = self.machines[at].state.held().collect();
        for (sink, held) in held.into_iter().enumerate() {
            let before = std::mem::replace(&mut self.machines[at].held[sink], held);
            let buffer = &mut self.buffers[sink];
            buffer.in_use = buffer.in_use - before.shared + held.shared;
            buffer.freed += held.freed - before.freed;
            buffer.reserved = buffer.reserved - before.reserved + held.reserved;
        }
        let mut exit = None;
        for effect in effects.0 {
            self.show(at, &effect);
            if let Effect::Finish(how) = effect {
                exit = Some(how);
            } else if !self.is_lost(at, &effect) {
                self.perform(at, effect)?;
            }
        }
        self.check(at)?;
        match exit {
            Some(exit) => self.finish(at, exit),
            None => Ok(()),
        }
    }

    /// Whether the planted fault swallows an effect.
    fn is_lost(&mut self, at: usize, effect: &Effect) -> bool {
        let is_lost = match (self.fault, effect) {
            (Fault::LosesRoom, Effect::FreeReadRoom { reader: ReaderId::Shared { .. }, .. }) => {
                true
            }
            (Fault::NeverResumes, Effect::StartReader { reader: ReaderId::Shared { .. }, .. }) => {
                self.machines[at].shared_is_paused
            }
            _ => false,
        };
        if is_lost {
            self.fault = Fault::None;
        }
        is_lost
    }

    fn perform(&mut self, at: usize, effect: Effect) -> Checked {
        let machine = &mut self.machines[at];
        match effect {
            Effect::StartReader { reader, from } => {
                if reader.only().is_none() {
                    machine.shared_is_paused = false;
                }
                if machine.reader(reader).is_some() {
                    return Err(format!("two readers are {reader:?}"));
                }
                machine.readers.push(PlayedReader::new(reader, &from));
            }
            Effect::StopReader { reader } => {
                if reader.only().is_none() {
                    self.seen.paused += 1;
                    machine.shared_is_paused = true;
                }
                let at = machine.readers.iter().position(|running| running.id == reader);
                let stopped = at.map(|at| machine.readers.remove(at));
                if let Some(pending) = stopped.and_then(|reader| reader.pending) {
                    machine.stale.push((reader, pending));
                }
            }
            Effect::FreeReadRoom { reader, room } => machine.frees(reader, room)?,
            Effect::Write { sink, batch } => {
                self.check_order(at, sink, &batch)?;
                let machine = &mut self.machines[at];
                machine.given[sink].extend(batch.changes.iter().filter_map(|c| c.origin.lsn));
                machine.writes.push((sink, batch));
            }
            Effect::StoreDeadLetters { sink, letters, pages } => {
                let lsns = letters.iter().filter_map(|letter| letter.lsn).collect();
                machine.letters.push((sink, pages, lsns));
            }
            Effect::Abandon { sink } => machine.abandoned[sink] = true,
            Effect::StorePositions(mut checkpoints) => {
                if machine.storing.is_some() {
                    return Err("two writes of positions are under way".to_owned());
                }
                if let Some(open) = checkpoints.iter().find(|point| point.ledger.open() != 0) {
                    return Err(format!("a ledger that does not balance is stored: {open:?}"));
                }
                if self.fault == Fault::StoresEarly {
                    for Checkpoint { sink, position, .. } in &mut checkpoints {
                        position.clone_from(machine.state.cursors[*sink].accepted());
                    }
                }
                machine.storing = Some(checkpoints);
            }
            Effect::Notice(Notice::Unbalanced { sink, more }) => {
                return Err(format!("sink {sink}: {more} changes are missing in the ledger"));
            }
            Effect::Notice(Notice::FellBehind { .. }) => self.seen.fell_behind += 1,
            Effect::Notice(Notice::Rejoined { .. }) => self.seen.rejoined += 1,
            Effect::Notice(Notice::Awaited { .. }) => self.seen.waited += 1,
            Effect::Notice(Notice::Parked { sink, .. }) => {
                self.seen.parked += 1;
                self.parked.extend(sink);
            }
            Effect::Notice(_) | Effect::Finish(_) => {}
        }
        Ok(())
    }

    /// Of two changes of one document the later is not offered before the earlier is safe.
    fn check_order(&self, at: usize, sink: usize, batch: &WriteBatch) -> Checked {
        let own = self.machines.iter().flat_map(|machine| &machine.writes);
        let own = own.filter(|(s, _)| *s == sink).map(|(_, batch)| batch);
        let earlier = self.unfinished.iter().filter(|(_, s, _)| *s == sink).map(|(.., b)| b);
        for (n, change) in batch.changes.iter().enumerate() {
            let document: usize = change.id.parse().unwrap_or(usize::MAX);
            let twice = own.clone().chain(earlier.clone()).flat_map(|batch| &batch.changes);
            if twice.clone().any(|other| other.id == change.id) {
                return Err(format!("sink {sink}: two writes hold document {}", change.id));
            }
            let lsn = change.origin.lsn.unwrap_or(0);
            let before = self.log.iter().filter(|e| {
                e.lsn < lsn && e.document == document && is_for(sink, e) && !e.is_letter(sink)
            });
            for entry in before {
                let in_batch = |c: &cosmos_bridge_sink::Change| c.origin.lsn == Some(entry.lsn);
                if !self.delivered[sink].contains(&entry.lsn)
                    && !batch.changes[..n].iter().any(in_batch)
                {
                    let places = self.machines[at].places;
                    return Err(format!(
                        "sink {sink} in {places:?}: {lsn} is offered before {entry:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The invariants that hold after every event.
    fn check(&self, at: usize) -> Checked {
        let machine = &self.machines[at];
        let window = self.settings.window.max(self.huge);
        for (sink, given) in machine.given.iter().enumerate() {
            if given.len() > window {
                return Err(format!("sink {sink}: {given:?} are given and not stored"));
            }
        }
        let mut room = machine.state.pages.in_use();
        room.add(machine.state.arrivals.room());
        if self.fault == Fault::None && room != machine.shared_room && self.seen.events > 0 {
            return Err(format!("room: {room:?} is held, {:?} was taken", machine.shared_room));
        }
        let progress = machine.report();
        for (sink, progress) in progress.sinks.iter().enumerate() {
            let lsn = progress.stored_lsn.unwrap_or(0);
            let stored = self.rows[&(sink, feed_range(machine.places))].1.unwrap_or(0);
            if lsn > stored {
                return Err(format!("sink {sink}: {lsn} is taken as stored, {stored} is"));
            }
            let lacks = |e: &&Entry| {
                e.lsn <= machine.head
                    && holds(machine.places, e)
                    && is_for(sink, e)
                    && !self.delivered[sink].contains(&e.lsn)
            };
            if progress.is_caught_up
                && let Some(entry) = self.log.iter().find(lacks)
            {
                return Err(format!("sink {sink} is caught up without {entry:?}"));
            }
        }
        for cursor in &machine.state.cursors {
            let pages: usize = cursor.pages().map(|page| page.held).sum();
            if cursor.held() != pages {
                return Err(format!("room: {} bytes are held, pages have {pages}", cursor.held()));
            }
        }
        if machine.state.holds_reader() {
            if machine.stop_asked {
                return Err("a page waits after a stop was asked for".to_owned());
            }
            if progress.is_caught_up {
                return Err("a range is caught up while a page waits".to_owned());
            }
        }
        let says_so = progress.sinks.iter().any(|sink| sink.is_caught_up);
        if says_so && machine.shared_is_paused && !machine.state.is_finished {
            return Err("a sink is caught up while nothing is read".to_owned());
        }
        let follows = machine.state.cursors.iter().any(|cursor| cursor.state.is_following());
        if !follows {
            return Err("no sink follows the shared reader".to_owned());
        }
        Ok(())
    }

    fn finish(&mut self, at: usize, exit: Exit) -> Checked {
        let machine = self.machines.remove(at);
        if machine.storing.is_some() {
            return Err("a range ends while positions are stored".to_owned());
        }
        for (buffer, Held { shared, own, reserved, .. }) in
            self.buffers.iter_mut().zip(&machine.held)
        {
            buffer.in_use -= shared;
            buffer.reserved -= reserved;
            buffer.freed += (shared + own) as u64;
        }
        match exit {
            Exit::Stopped | Exit::Parked(_) if !machine.writes.is_empty() => {
                let is_abandoned = |(sink, _): &(usize, _)| machine.abandoned[*sink];
                if !machine.writes.iter().all(is_abandoned) {
                    return Err("a range ends before its writes".to_owned());
                }
                Ok(())
            }
            Exit::Stopped if machine.stop_asked => Ok(()),
            Exit::Stopped => Err("a range stops that nothing has stopped".to_owned()),
            Exit::Parked(_) => Ok(()),
            // Its rows are where they were, and another owner goes on with them.
            Exit::Lost(_) => self.follow(machine, None),
            Exit::Divided { parts, ledgers } => {
                self.seen.divided += 1;
                if let Some(open) = ledgers.iter().find(|(_, ledger)| ledger.open() != 0) {
                    return Err(format!("the ledger of a last page does not balance: {open:?}"));
                }
                let whole = feed_range(machine.places);
                for (sink, part) in &parts {
                    self.store(*sink, part, Some(&whole))?;
                }
                self.rows.retain(|(_, range), _| *range != whole);
                let ranges: BTreeSet<_> = parts.iter().map(|(_, p)| places_of(&p.range)).collect();
                self.follow(machine, Some(ranges))
            }
        }
    }

    /// Starts the parts of a range, or its next owner; writes that are under way go on.
    fn follow(&mut self, machine: Machine, parts: Option<BTreeSet<Places>>) -> Checked {
        let mut waits_for = machine.waits_for;
        for (sink, lsns) in machine.letters.into_iter().map(|(sink, _, lsns)| (sink, lsns)) {
            self.delivered[sink].extend(lsns);
        }
        for (sink, batch) in machine.writes {
            self.next += 1;
            waits_for[sink].insert(self.next);
            self.unfinished.push((self.next, sink, batch));
        }
        for places in parts.unwrap_or_else(|| [machine.places].into()) {
            self.start(places, waits_for.clone())?;
            if machine.stop_asked || self.is_stopping {
                self.ask_to_stop(self.machines.len() - 1)?;
            }
        }
        Ok(())
    }
}
