//! Two sides with one document, their feeds, and the bridge between them, in virtual time.

use super::Policy;
use super::container::{Container, Doc, Event, Lineage, hash};
use crate::mirror::{
    Action, Change, Decision, Kind, Order, Own, Reason, Side, Stamp, Version, Winner, decide,
};

/// What is about to be sent.
#[derive(Clone, Debug)]
struct Pending {
    event: Event,
    /// It existed before the reader started.
    is_existing: bool,
    target: Option<Doc>,
    decision: Decision,
}

/// Reads one side and writes to the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    next: usize,
    stored: usize,
    /// What existed is read before the feed, up to this number. As it is, and as it is stored.
    existing: Option<i64>,
    stored_existing: Option<i64>,
    pending: Option<Pending>,
    /// Requests of processes that were killed; the service may still execute them.
    late: Vec<Pending>,
}

#[derive(Debug)]
pub(super) struct Conflict {
    loser: Lineage,
    /// False if one of the two versions was made of the other.
    pub(super) is_real: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) sides: [Container; 2],
    readers: [Reader; 2],
    pub(super) now: i64,
    etags: u32,
    pub(super) changes: u32,
    /// Changes of users that wrote what was there, or what the bridge wrote.
    unchanged: Lineage,
    /// Changes of users who wrote back what they had read earlier, over a version that they did not know.
    stale: Lineage,
    /// What both sides had deleted at some moment.
    settled: Lineage,
    /// Writes of the bridge.
    pub(super) writes: u32,
    pub(super) log: Vec<Conflict>,
    expired: Vec<u32>,
    /// The policy, as a function of the contents and times of two versions.
    policy: Policy,
    is_traced: bool,
    pub(super) steps: u32,
    pub(super) trace: Vec<String>,
}

fn show(version: &Version) -> String {
    let Version { etag, stamp, .. } = version;
    let intact = if version.intact().is_some() { "" } else { "~" };
    let stamp = stamp.as_ref().map(|stamp| {
        let Stamp { kind, other, over, order, .. } = stamp;
        format!("[{intact}{kind:?} {other}@{} over {}]", order.lsn, over.as_deref().unwrap_or("-"))
    });
    format!("{etag}{}", stamp.unwrap_or_default())
}

impl World {
    pub(super) fn new(skews: [i64; 2], policy: Policy, is_traced: bool) -> Self {
        let side = |skew| Container { skew, ..Container::default() };
        Self {
            sides: skews.map(side),
            readers: Default::default(),
            now: 1000,
            etags: 0,
            changes: 0,
            unchanged: 0,
            settled: 0,
            stale: 0,
            writes: 0,
            log: Vec::new(),
            expired: Vec::new(),
            policy,
            is_traced,
            steps: 0,
            trace: Vec::new(),
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        self.steps += 1;
        if self.is_traced {
            self.trace.push(text());
        }
    }

    /// A version with this content becomes the document of a side.
    fn put(&mut self, side: usize, content: u32, stamp: Option<Stamp>, lineage: Lineage) {
        self.etags += 1;
        let (now, etag) = (self.now, format!("e{}", self.etags));
        self.sides[side].put(now, etag, content, stamp, lineage);
        if self.expired.contains(&content) {
            self.sides[side].remove(now, lineage, 0, true);
        }
    }

    fn change_number(&mut self) -> Lineage {
        self.changes += 1;
        1 << (self.changes - 1)
    }

    /// A user writes, without a condition.
    pub(super) fn user_writes(&mut self, side: usize, content: u32, stamp: Option<Stamp>) {
        let number = self.change_number();
        let Container { doc, absent, .. } = &self.sides[side];
        let lineage = doc.as_ref().map_or(0, |doc| doc.lineage) | *absent | number;
        let is_same = doc.as_ref().is_some_and(|doc| doc.content == content);
        let is_old_copy = stamp.as_ref().is_some_and(|stamp| stamp.content == hash(content));
        if is_same || is_old_copy {
            self.unchanged |= number;
        }
        let held = doc.as_ref().and_then(|doc| doc.version.stamp.as_ref());
        let is_stale = stamp.is_some() && stamp.as_ref() != held;
        if is_stale {
            self.stale |= number;
        }
        if is_old_copy && (is_stale || !is_same) {
            // Earlier it would look like the write of the bridge.
            self.now += 200;
        }
        self.note(|| {
            format!("user {side} writes {content} {}", stamp.as_ref().map_or("-", |s| &s.other))
        });
        self.put(side, content, stamp, lineage);
    }

    pub(super) fn user_deletes(&mut self, side: usize) {
        let Some(lineage) = self.sides[side].doc.as_ref().map(|doc| doc.lineage) else { return };
        let number = self.change_number();
        self.note(|| format!("user {side} deletes"));
        self.sides[side].remove(self.now, lineage | number, 0, false);
    }

    /// The lifetime of a content ends, on both sides.
    pub(super) fn expire(&mut self, content: u32) {
        self.expired.push(content);
        self.note(|| format!("{content} expires"));
        for side in 0..2 {
            let doc = self.sides[side].doc.as_ref();
            if let Some(lineage) = doc.filter(|doc| doc.content == content).map(|doc| doc.lineage) {
                self.sides[side].remove(self.now, lineage, 0, true);
            }
        }
    }

    pub(super) fn is_expired(&self, content: u32) -> bool {
        self.expired.contains(&content)
    }

    pub(super) fn has_expired(&self) -> bool {
        !self.expired.is_empty()
    }

    /// The changes of users that are neither in the documents nor in the log of conflicts.
    pub(super) fn lost(&self) -> Lineage {
        let held =
            self.sides.iter().map(|side| side.doc.as_ref().map_or(side.absent, |doc| doc.lineage));
        let logged = self.log.iter().map(|conflict| conflict.loser);
        let kept = held.chain(logged).fold(self.unchanged | self.settled, |all, one| all | one);
        ((1 << self.changes) - 1) & !kept
    }

    pub(super) fn is_drained(&self) -> bool {
        self.is_read(0) && self.is_read(1)
    }

    fn is_read(&self, from: usize) -> bool {
        let reader = &self.readers[from];
        let is_at_end = reader.next == self.sides[from].feed.len();
        reader.pending.is_none() && reader.existing.is_none() && is_at_end
    }

    /// The reader starts here, with what exists.
    pub(super) fn start(&mut self, from: usize) {
        self.settled |= self.sides[from].absent;
        let (next, last) = (self.sides[from].feed.len(), self.sides[from].last_lsn());
        let (existing, stored_existing) = (Some(last), Some(last));
        let (stored, pending, late) = (next, None, Vec::new());
        self.readers[from] = Reader { next, stored, existing, stored_existing, pending, late };
    }

    /// One step of the reader of a side: it reads the target and decides, or it writes.
    pub(super) fn step(&mut self, from: usize) {
        if let Some(pending) = self.readers[from].pending.take() {
            if self.send(from, &pending) {
                let reader = &mut self.readers[from];
                if pending.is_existing {
                    reader.existing = None;
                } else {
                    reader.next += 1;
                }
            }
            return;
        }
        let is_existing = self.readers[from].existing.is_some();
        let event = match self.readers[from].existing {
            Some(until) => self.sides[from].existing(until),
            None => self.sides[from].feed.get(self.readers[from].next).cloned(),
        };
        let Some(event) = event else {
            self.readers[from].existing = None;
            return;
        };
        let Event { change, content, .. } = &event;
        let has_expired = change.after.is_some() && self.expired.contains(content);
        let change = &Change { expired: change.expired || has_expired, ..change.clone() };
        let target = self.sides[1 - from].doc.clone();
        let side = if from == 1 { Side::Deciding } else { Side::Following };
        let version = target.as_ref().map(|doc| &doc.version);
        let decision = decide(change, version, side, self.policy);
        self.readers[from].pending = Some(Pending { event, is_existing, target, decision });
    }

    /// Executes a request if its condition holds, and otherwise returns false.
    fn send(&mut self, from: usize, pending: &Pending) -> bool {
        let to = 1 - from;
        let Event { change, content, lineage } = pending.event.clone();
        let Decision { action, conflict } = pending.decision;
        let etag = |doc: &Option<Doc>| doc.as_ref().map(|doc| doc.version.etag.clone());
        let is_write = !matches!(action, Action::Leave(_));
        let over = etag(&pending.target);
        if is_write && over != etag(&self.sides[to].doc) {
            return false;
        }
        let target = pending.target.clone();
        let held = target.as_ref().map_or(0, |doc| doc.lineage);
        if let Some(winner) = conflict {
            let is_real =
                (held | lineage) & self.stale != 0 || held & !lineage != 0 && lineage & !held != 0;
            let loser = if winner == Winner::Incoming { held } else { lineage };
            self.log.push(Conflict { loser, is_real });
        }
        self.note(|| {
            let before = change.before.as_ref().map_or(String::new(), show);
            let after = change.after.as_ref().map_or(String::new(), show);
            let held = target.as_ref().map_or(String::new(), |doc| show(&doc.version));
            let Order { lsn, nth, .. } = change.order;
            format!(
                "  {from}->{to} {lsn}.{nth}: {before} => {after} ({content}) on {held}: {action:?} {conflict:?}"
            )
        });
        self.writes += u32::from(is_write);
        let stamp = |kind, own, content| {
            let after = change.after.as_ref();
            let other = after.map_or(String::new(), |after| after.name().to_owned());
            let (order, written_at) = (change.order, self.now);
            let content = hash(content);
            Some(Stamp { kind, other, order, over: over.clone(), own, content, written_at })
        };
        match action {
            Action::Write(kind) => {
                let stamp = stamp(kind, None, content);
                self.put(to, content, stamp, lineage);
            }
            Action::Mark(kind) => {
                let Some(doc) = target else { return true };
                let changed_at = doc.version.changed_at();
                let own = Own { name: doc.version.name().to_owned(), changed_at };
                let stamp = stamp(kind, Some(own), doc.content);
                let equal = if doc.content == content { lineage } else { 0 };
                self.put(to, doc.content, stamp, doc.lineage | equal);
            }
            Action::Delete => {
                let stamp = stamp(Kind::Gone, None, u32::MAX);
                self.put(to, u32::MAX, stamp, lineage);
                self.sides[to].remove(self.now, lineage, 1, false);
            }
            Action::Leave(Reason::Equal) if change.after.is_none() => self.settled |= lineage,
            Action::Leave(Reason::Equal) => {
                let doc = self.sides[to].doc.as_mut();
                if let Some(doc) = doc.filter(|doc| doc.content == content) {
                    doc.lineage |= lineage;
                }
            }
            Action::Leave(_) => {}
        }
        true
    }

    pub(super) fn store(&mut self, from: usize) {
        let reader = &mut self.readers[from];
        (reader.stored, reader.stored_existing) = (reader.next, reader.existing);
    }

    /// The process of one reader is killed, perhaps between a write and its answer, and starts again.
    pub(super) fn kill(&mut self, from: usize, executes: bool, is_late: bool) {
        self.note(|| format!("kill {from}"));
        if let Some(pending) = self.readers[from].pending.take() {
            // A create that is executed late is a limit that copies in one direction have too.
            let has_condition = pending.target.is_some();
            if executes {
                self.send(from, &pending);
            } else if is_late && has_condition && pending.decision.conflict.is_none() {
                self.readers[from].late.push(pending);
            }
        }
        let reader = &mut self.readers[from];
        (reader.next, reader.existing) = (reader.stored, reader.stored_existing);
    }

    pub(super) fn late(&mut self, from: usize) {
        if let Some(pending) = self.readers[from].late.pop() {
            self.send(from, &pending);
        }
    }

    /// Both readers run until nothing is left to do; returns false if they do not end.
    pub(super) fn drain(&mut self, steps: usize) -> bool {
        for step in 0..steps {
            if self.is_drained() {
                return true;
            }
            self.step(step % 2);
        }
        false
    }
}
