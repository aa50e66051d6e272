//! The source, and readers that are played.

use std::sync::Arc;

use cosmos_bridge_sink::{Change, ContainerName, Operation, Origin, PartitionKey};

use super::random::Random;
use crate::deliver::AddressedChange;
use crate::model::{DeadLetter, FeedRange, Ledger, PartitionId, Position, Stage};
use crate::source::range::shared_pages::ReadRoom;
use crate::source::reader::ReaderId;
use crate::source::routed::RoutedPage;

/// Places in the container; a range holds some that lie next to each other.
pub(super) const PLACES: usize = 8;

/// One change of a document; its LSN is its place in the log, from 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::source::range) struct Entry {
    pub(in crate::source::range) lsn: i64,
    pub(in crate::source::range) document: usize,
}

impl Entry {
    /// Whether the route makes a dead letter of it, for this sink.
    pub(super) fn is_letter(self, sink: usize) -> bool {
        (self.lsn + sink as i64) % 11 == 0
    }
}

/// The places from the first to before the second.
pub(super) type Places = (usize, usize);

pub(super) fn holds(places: Places, entry: &Entry) -> bool {
    let place = entry.document % PLACES;
    places.0 <= place && place < places.1
}

pub(super) fn feed_range(places: Places) -> FeedRange {
    FeedRange { min: places.0.to_string(), max: places.1.to_string() }
}

pub(super) fn position(places: Places, lsn: i64) -> Position {
    let etag = (lsn > 0).then(|| lsn.to_string());
    Position::of(feed_range(places), etag)
}

/// The position behind a page; the service always gives one.
fn behind_page(places: Places, lsn: i64) -> Position {
    Position::of(feed_range(places), Some(lsn.to_string()))
}

pub(super) fn lsn_of(position: &Position) -> i64 {
    position.lsn().unwrap_or(0)
}

#[derive(Debug)]
pub(super) struct PlayedReader {
    pub(super) id: ReaderId,
    pub(super) lsn: i64,
    /// Changes of its pages that hold room in its window.
    pub(super) window: usize,
    pub(super) pending: Option<Pending>,
}

/// A page that was read and has not arrived.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) page: Box<RoutedPage>,
    pub(super) room: ReadRoom,
    pub(super) is_reported: bool,
    pub(super) divides: bool,
}

impl PlayedReader {
    pub(super) fn new(id: ReaderId, from: &Position) -> Self {
        Self { id, lsn: lsn_of(from), window: 0, pending: None }
    }

    /// Reads the next page of these places, which are divided at `cut`.
    pub(super) fn read(
        &mut self,
        log: &[Entry],
        places: Places,
        cut: Option<usize>,
        (sinks, window, most): (usize, usize, usize),
        random: &mut Random,
    ) {
        let here = cut.map_or(places, |cut| (places.0, cut));
        let head = log.last().map_or(0, |last| last.lsn);
        let behind = log.iter().filter(|e| e.lsn > self.lsn && holds(here, e));
        let is_empty = random.once_in(12);
        let entries: Vec<_> = behind.take(if is_empty { 0 } else { most }).copied().collect();
        let caught_up = entries.is_empty() && !is_empty && cut.is_none();
        let to = match entries.last() {
            Some(last) => last.lsn,
            None if is_empty => self.lsn,
            None => head.max(self.lsn),
        };
        let positions = match cut {
            Some(cut) => {
                vec![behind_page((places.0, cut), to), behind_page((cut, places.1), self.lsn)]
            }
            None => vec![behind_page(places, to)],
        };
        let is_for = |sink: usize| self.id.only().is_none_or(|only| only == sink);
        let (mut changes, mut letters) = (Vec::new(), Vec::new());
        for entry in &entries {
            for sink in (0..sinks).filter(|sink| is_for(*sink)) {
                if entry.is_letter(sink) {
                    letters.push((sink, letter(*entry)));
                } else if sink == 0 || entry.document % 3 != sink % 3 {
                    changes.push((sink, change(*entry)));
                }
            }
        }
        let read = entries.len();
        let bytes = read * 100;
        let (head_lsn, committed_at) = (Some(head), None);
        let page = RoutedPage {
            positions,
            read,
            ledgers: (0..sinks).map(|sink| ledger(sink, &entries)).collect(),
            changes,
            letters,
            caught_up,
            is_end: false,
            head_lsn,
            committed_at,
            bytes,
        };
        let room = ReadRoom { memory: read, window: read.min(window) };
        if cut.is_none() {
            self.lsn = to;
        }
        let page = Box::new(page);
        self.pending = Some(Pending { page, room, is_reported: false, divides: cut.is_some() });
    }
}

/// What a page is for a sink: each entry is a change, a letter, or left out.
fn ledger(sink: usize, entries: &[Entry]) -> Ledger {
    let filtered = entries.iter().filter(|entry| !is_for(sink, entry)).count();
    Ledger { read: entries.len() as u64, filtered: filtered as u64, ..Ledger::default() }
}

/// Whether a sink gets this entry at all.
pub(super) fn is_for(sink: usize, entry: &Entry) -> bool {
    entry.is_letter(sink) || sink == 0 || entry.document % 3 != sink % 3
}

pub(in crate::source::range) fn change(entry: Entry) -> AddressedChange {
    let container = ContainerName {
        account: String::new(),
        database: String::new(),
        container: String::new(),
        rid: String::new(),
    };
    let id = entry.document.to_string();
    let origin = Origin {
        container: Arc::new(container),
        id: id.clone(),
        partition_key: PartitionKey::default(),
        lsn: Some(entry.lsn),
        committed_at: None,
        nth: 0,
        expiry: None,
        is_snapshot: false,
        trace: None,
    };
    let change = Change {
        id,
        partition_key: PartitionKey::default(),
        operation: Operation::Delete { expired: false },
        previous: None,
        origin: Arc::new(origin),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    };
    AddressedChange { partition: PartitionId::UNKNOWN, bytes: 1, change }
}

fn letter(entry: Entry) -> DeadLetter {
    DeadLetter {
        pipeline: String::new(),
        sink: String::new(),
        stage: Stage::Route,
        cause: String::new(),
        source: String::new(),
        source_id: entry.document.to_string(),
        source_key: String::new(),
        range_min: String::new(),
        lsn: Some(entry.lsn),
        nth: 0,
        target: String::new(),
        committed_at: None,
        operation: "upsert",
        document: None,
        previous: None,
        unparsed: None,
    }
}
