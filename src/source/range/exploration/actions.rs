//! What can happen in a history.

use std::time::Duration;

use cosmos_bridge_cosmos::Answer;

use super::reader::{Entry, Pending, feed_range, holds, is_for, lsn_of, position};
use super::world::{Checked, World, places_of};
use crate::cosmos::CosmosError;
use crate::deliver::WriteBatch;
use crate::model::{Fate, FeedRange, Position, StoredPosition};
use crate::source::range::event::{Checkpoint, Event};
use crate::source::reader::{ReaderEnd, ReaderId};
use crate::state::{Conflict, advance_conflict, divide_conflict};

impl World {
    pub(super) fn random_step(&mut self) -> Checked {
        match self.random.below(60) {
            0..10 => {
                for _ in 0..=self.random.below(4) {
                    let lsn = self.log.len() as i64 + 1;
                    self.log.push(Entry { lsn, document: self.random.below(12) });
                }
            }
            10 | 11 => {
                let sink = self.random.below(self.sinks);
                self.hangs[sink] = !self.hangs[sink];
            }
            12 if !self.machines.is_empty() => {
                let at = self.random.below(self.machines.len());
                let (first, last) = self.machines[at].places;
                if last - first > 1 {
                    self.machines[at].cut = Some(first + 1 + self.random.below(last - first - 1));
                }
            }
            13 if self.random.once_in(3) => {
                self.seen.stopped += 1;
                self.is_stopping = true;
                for at in (0..self.machines.len()).rev() {
                    self.ask_to_stop(at)?;
                }
            }
            14 if self.random.once_in(4) => {
                self.seen.crashed += 1;
                self.machines.clear();
                self.unfinished.clear();
                for buffer in &mut self.buffers {
                    (buffer.in_use, buffer.reserved) = (0, 0);
                }
            }
            15 if self.random.once_in(4) => return self.lose(),
            16 if self.random.once_in(2) => return self.refuse(),
            _ => {}
        }
        if self.machines.is_empty() {
            return self.restart();
        }
        self.step(true)
    }

    /// Another owner takes the rows of a range.
    fn lose(&mut self) -> Checked {
        if self.machines.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.machines.len());
        if self.machines[at].storing.take().is_none() {
            return Ok(());
        }
        self.seen.lost += 1;
        let range = feed_range(self.machines[at].places);
        self.feed(at, Event::PositionsLost(Conflict::Replaced { sink: "s".to_owned(), range }))
    }

    /// The service refuses what a reader asks for.
    fn refuse(&mut self) -> Checked {
        if self.machines.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.machines.len());
        let machine = &mut self.machines[at];
        // Only a reader of one sink: a range that is parked as a whole has nothing more to show.
        let own = machine.readers.iter().position(|reader| reader.id.only().is_some());
        let Some(own) = own else { return Ok(()) };
        let reader = machine.readers.remove(own).id;
        let answer = Answer { status: 400, message: "too old".to_owned(), ..Answer::default() };
        let fault = CosmosError { attempt: "reading".to_owned(), answer };
        self.feed(at, Event::ReaderEnded { reader, end: ReaderEnd::Parked(fault) })
    }

    pub(super) fn ask_to_stop(&mut self, at: usize) -> Checked {
        if at >= self.machines.len() || std::mem::replace(&mut self.machines[at].stop_asked, true) {
            return Ok(());
        }
        self.feed(at, Event::StopAsked)
    }

    /// Something that can happen happens.
    pub(super) fn step(&mut self, is_wild: bool) -> Checked {
        if !is_wild || self.random.once_in(8) {
            self.now += Duration::from_millis(self.random.below(1500) as u64);
        }
        if !self.unfinished.is_empty() && self.random.once_in(4) {
            self.end_unfinished()?;
        }
        if self.machines.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.machines.len());
        match self.random.below(8) {
            0..=2 => self.read(at, is_wild),
            3 | 4 => self.end_write(at),
            5 => self.end_letters(at),
            6 => self.end_store(at, is_wild),
            _ => self.feed(at, Event::Tick),
        }
    }

    fn end_unfinished(&mut self) -> Checked {
        let one = self.random.below(self.unfinished.len());
        if self.hangs[self.unfinished[one].1] {
            return Ok(());
        }
        let (number, sink, batch) = self.unfinished.swap_remove(one);
        self.deliver(sink, &batch);
        for at in (0..self.machines.len()).rev() {
            let waits = &mut self.machines[at].waits_for[sink];
            if waits.remove(&number) && waits.is_empty() {
                self.feed(at, Event::EarlierWritesEnded { sink })?;
            }
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, sink: usize, batch: &WriteBatch) {
        self.delivered[sink].extend(batch.changes.iter().filter_map(|c| c.origin.lsn));
    }

    fn end_write(&mut self, at: usize) -> Checked {
        let machine = &mut self.machines[at];
        if machine.writes.is_empty() {
            return Ok(());
        }
        let one = self.random.below(machine.writes.len());
        let sink = machine.writes[one].0;
        // A write that waits to be repeated is given up once it is cancelled; one that hangs is not,
        // until the process ends.
        let is_cancelled = machine.abandoned[sink] && !self.hangs[sink];
        if (is_cancelled || machine.stop_asked) && self.random.once_in(2) {
            machine.writes.swap_remove(one);
            return self.feed(at, Event::WriteGivenUp { sink });
        }
        if self.hangs[sink] {
            return Ok(());
        }
        let (sink, batch) = machine.writes.swap_remove(one);
        self.deliver(sink, &batch);
        let fates = batch.changes.iter().map(|_| Some(self.random_fate())).collect();
        self.feed(at, Event::Written { sink, batch, fates })
    }

    fn random_fate(&mut self) -> Fate {
        let fates = [Fate::Delivered, Fate::Delivered, Fate::Superseded, Fate::DeadLetter];
        fates[self.random.below(fates.len())]
    }

    fn end_letters(&mut self, at: usize) -> Checked {
        let machine = &mut self.machines[at];
        if machine.letters.is_empty() {
            return Ok(());
        }
        let (sink, pages, lsns) =
            machine.letters.swap_remove(self.random.below(machine.letters.len()));
        self.delivered[sink].extend(lsns);
        self.feed(at, Event::DeadLettersStored { sink, pages })
    }

    fn end_store(&mut self, at: usize, is_wild: bool) -> Checked {
        let machine = &mut self.machines[at];
        if is_wild && machine.stop_asked && machine.storing.is_some() && self.random.once_in(8) {
            machine.storing = None;
            return self.feed(at, Event::StoreGivenUp);
        }
        let Some(checkpoints) = machine.storing.take() else { return Ok(()) };
        machine.stores(&checkpoints);
        for Checkpoint { sink, position, .. } in &checkpoints {
            self.store(*sink, position, None)?;
        }
        self.feed(at, Event::PositionsStored)
    }

    /// Writes a row, as the state does; `whole` is the range that it is a part of.
    pub(super) fn store(
        &mut self,
        sink: usize,
        new: &Position,
        whole: Option<&FeedRange>,
    ) -> Checked {
        let (places, _) = self.rows[&(sink, whole.unwrap_or(&new.range).clone())];
        let stored = self.rows[&(sink, whole.unwrap_or(&new.range).clone())].1;
        let stored = position(places, stored.unwrap_or(0));
        let row = StoredPosition { sink: sink.to_string(), position: new.clone() };
        let conflict = match whole {
            None => advance_conflict(Some(&stored), &row),
            Some(whole) => divide_conflict(whole, Some(&stored), &row),
        };
        if let Some(conflict) = conflict {
            return Err(format!("a position goes back: {conflict}"));
        }
        let (lsn, places) = (lsn_of(new), places_of(&new.range));
        let early = |e: &&Entry| {
            e.lsn <= lsn
                && holds(places, e)
                && is_for(sink, e)
                && !self.delivered[sink].contains(&e.lsn)
        };
        if let Some(entry) = self.log.iter().find(early) {
            return Err(format!("sink {sink}: {new:?} is stored before {entry:?} is safe"));
        }
        self.rows.insert((sink, new.range.clone()), (places, (lsn > 0).then_some(lsn)));
        Ok(())
    }

    fn read(&mut self, at: usize, is_wild: bool) -> Checked {
        let machine = &mut self.machines[at];
        if !machine.stale.is_empty() && self.random.once_in(2) {
            let (reader, Pending { page, room, .. }) = machine.stale.remove(0);
            self.seen.stale_pages += 1;
            machine.takes(reader, room);
            return self.feed(at, Event::PageArrived { reader, page, room });
        }
        if machine.readers.is_empty() {
            return Ok(());
        }
        let one = self.random.below(machine.readers.len());
        let id = machine.readers[one].id;
        if machine.stop_asked && self.random.once_in(2) {
            machine.readers.remove(one);
            return self.feed(at, Event::ReaderEnded { reader: id, end: ReaderEnd::Stopped });
        }
        if machine.readers[one].pending.is_some() {
            return self.arrive(at, id);
        }
        if is_wild && self.random.once_in(20) {
            return self.feed(at, Event::ReadFailed { reader: id });
        }
        let in_use: usize = self.machines.iter().map(|machine| machine.shared_room.memory).sum();
        let has_memory = match id.only() {
            Some(sink) => self.machines.iter().map(|m| m.own_memory[sink]).sum::<usize>() < 8,
            None => in_use < self.read_ahead,
        };
        if !has_memory {
            return Ok(());
        }
        let is_huge = self.huge > 0 && self.random.once_in(8);
        let most = if is_huge { self.huge } else { self.most };
        let counts = (self.sinks, self.settings.window, most);
        let machine = &mut self.machines[at];
        let (places, cut) = (machine.places, machine.cut);
        machine.readers[one].read(&self.log, places, cut, counts, &mut self.random);
        let pending = machine.readers[one].pending.as_ref();
        if pending.is_some_and(|pending| !pending.page.caught_up) {
            return self.feed(at, Event::PageAnswered { reader: id });
        }
        Ok(())
    }

    /// A page arrives, once its window has room.
    fn arrive(&mut self, at: usize, id: ReaderId) -> Checked {
        let window = self.settings.window;
        let head = self.log.len() as i64;
        let machine = &mut self.machines[at];
        let free = window - machine.window_of(id);
        let Some(reader) = machine.reader(id) else { return Ok(()) };
        let Some(mut pending) = reader.pending.take() else { return Ok(()) };
        if pending.room.window > free {
            let was_reported = std::mem::replace(&mut pending.is_reported, true);
            reader.pending = Some(pending);
            return if was_reported {
                Ok(())
            } else {
                self.feed(at, Event::WindowFull { reader: id })
            };
        }
        let Pending { page, room, divides, .. } = pending;
        if divides {
            machine.readers.retain(|reader| reader.id != id);
        }
        machine.takes(id, room);
        if page.caught_up && id.only().is_none() {
            machine.head = page.positions.iter().map(lsn_of).max().unwrap_or(0).min(head);
        }
        self.feed(at, Event::PageArrived { reader: id, page, room })
    }
}
