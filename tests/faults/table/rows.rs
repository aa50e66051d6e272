//! The table: the answer, the request that gets it, and the expected behaviour of the bridge.

use cosmos_bridge_cosmos::INTERMEDIARY;
use cosmos_bridge_emulator::{AnsweredBy, DropWhen, Effect};

/// The request that gets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Reads the feed in latest-version mode.
    Feed,
    /// Reads the feed in all-versions-and-deletes mode.
    Versions,
    /// A write of one document.
    Upsert,
    /// A transactional batch of two.
    Batch,
}

/// The expected behaviour. In each case the other physical partition is copied meanwhile, the process continues,
/// and in the end no change is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Retries until it works, never before this number of milliseconds has passed.
    Waits(u64),
    /// Stores the change as a dead letter and continues.
    Letter,
    /// Writes the batch's changes one by one.
    Singly,
    /// Parks the feed range: exit 65 in the end.
    Parks,
}

pub(crate) struct Row {
    pub(crate) status: u16,
    pub(crate) sub_status: u32,
    pub(crate) side: Side,
    pub(crate) does: Does,
    /// Requests per attempt of the bridge. More than one means retries by the SDK, with almost no pause.
    /// [`MANY`]: as many as fit into the request timeout.
    pub(crate) requests: u64,
    /// A part of the warning, dead letter or error; empty if there is no warning.
    pub(crate) says: &'static str,
    pub(crate) then: Effect,
}

pub(crate) const MANY: u64 = u64::MAX;

/// The retry-after of the service, where it sends one.
pub(crate) const RETRY_AFTER_MS: u64 = 300;

/// The shortest first pauses: half of the initial interval (`src/backoff.rs`).
const FAULT: Does = Does::Waits(100);
const MOVED: Does = Does::Waits(250);
const THROTTLED: Does = Does::Waits(5);
const RETRY_AFTER: Does = Does::Waits(RETRY_AFTER_MS);

type Line = (u16, u32, Side, Does, u64, &'static str);

pub(crate) fn table() -> Vec<Row> {
    use Does::{Letter, Parks, Singly};
    use Side::{Batch, Feed, Upsert, Versions};
    // status, substatus, request, behaviour, requests per attempt, text
    #[rustfmt::skip]
    let answers: &[Line] = &[
        (400, 0,     Feed,     FAULT,     1, "a scripted fault"),
        (400, 0,     Versions, Parks,     1, "a scripted fault"), // left the retention window
        (400, 0,     Upsert,   Letter,    1, "400"),
        (400, 0,     Batch,    Singly,    1, ""),
        (400, 1001,  Upsert,   Letter,    1, "400/1001"),
        (400, 1024,  Feed,     Parks,     1, "deleted and created again"),
        (400, 1024,  Upsert,   FAULT,     1, "400/1024"),
        (400, 20116, Feed,     Parks,     1, "a scripted fault"),
        (400, 20116, Versions, Parks,     1, "bug in the bridge"), // not the retention window
        (400, 20116, Upsert,   FAULT,     1, "400/20116"),
        (401, 0,     Feed,     FAULT,     1, "the credential is refused"),
        (401, 0,     Upsert,   FAULT,     1, "401"),
        (401, 0,     Batch,    FAULT,     1, "401"),
        (403, 3,     Feed,     FAULT,     5, "no region is ready"), // SDK: for 5 s
        (403, 3,     Upsert,   FAULT,     5, "503/20311"),
        (403, 1008,  Batch,    FAULT,     5, "503/20312"),
        (403, 1014,  Upsert,   Letter,    1, "403/1014"),
        (403, 1014,  Batch,    Singly,    1, ""),
        (403, 5300,  Feed,     FAULT,     1, "the credential is refused"),
        (403, 5300,  Upsert,   FAULT,     1, "403/5300"),
        (404, 0,     Feed,     FAULT,     1, "it does not exist"),
        (404, 0,     Upsert,   FAULT,     1, "404"),
        (404, 0,     Batch,    Singly,    1, ""),
        (404, 1003,  Feed,     FAULT,     1, "it does not exist"),
        (404, 1003,  Upsert,   FAULT,     1, "404/1003"),
        (404, 1003,  Batch,    FAULT,     1, "404/1003"),
        (404, 1002,  Feed,     FAULT,     3, "no region is ready"), // SDK: two more regions
        (404, 1002,  Upsert,   FAULT,     3, "503/20310"),
        (404, 1013,  Upsert,   FAULT,     1, "404/1013"),
        (408, 0,     Feed,     FAULT,     4, "cannot be reached"), // SDK: three failovers
        (408, 0,     Upsert,   FAULT,     4, "408"),
        (408, 0,     Batch,    FAULT,     4, "408"),
        // The create, and the upsert that tells whether the id or a unique key exists.
        (409, 0,     Upsert,   Letter,    2, "409"),
        (409, 0,     Batch,    Singly,    1, ""),
        (409, 1006,  Upsert,   FAULT,     1, "409/1006"),
        (410, 1000,  Upsert,   MOVED,     4, "410/1000"), // SDK: three failovers
        (410, 1002,  Feed,     MOVED,    11, ""), // SDK: ten times without a wait, then 500/20206
        (410, 1002,  Upsert,   MOVED,     2, "410/1002"), // SDK: looks the ranges up, once more
        (410, 1007,  Feed,     MOVED,    11, ""),
        (410, 1007,  Batch,    MOVED,     2, "410/1007"),
        (410, 1008,  Upsert,   MOVED,     2, "410/1008"),
        (412, 0,     Upsert,   Letter,    1, "412"),
        (413, 0,     Upsert,   Letter,    1, "413"),
        (413, 0,     Batch,    Singly,    1, ""),
        (423, 0,     Upsert,   FAULT,     1, "423"),
        (424, 0,     Batch,    Singly,    1, ""),
        (429, 0,     Upsert,   THROTTLED, 1, ""),
        (429, 3075,  Upsert,   FAULT,     1, ""),
        (429, 3088,  Feed,     MOVED,     1, ""),
        (429, 3088,  Upsert,   MOVED,     1, ""),
        (429, 3092,  Feed,     FAULT,     4, ""), // SDK: three failovers
        (429, 3092,  Upsert,   FAULT,     4, ""),
        (429, 3092,  Batch,    FAULT,     4, ""),
        (429, 3200,  Feed,     RETRY_AFTER,      1, ""),
        (429, 3200,  Upsert,   RETRY_AFTER,      1, ""),
        (429, 3200,  Batch,    RETRY_AFTER,      1, ""),
        (429, 3210,  Upsert,   RETRY_AFTER,      1, ""),
        (429, 3212,  Upsert,   RETRY_AFTER,      1, ""),
        (429, 3214,  Upsert,   RETRY_AFTER,      1, ""),
        (449, 0,     Upsert,   FAULT,  MANY, "408/20008"), // SDK: up to 30 s, here cut at 2 s
        (449, 0,     Batch,    FAULT,  MANY, "408/20008"),
        (500, 0,     Feed,     FAULT,     4, "a scripted fault"), // SDK: three failovers
        (500, 0,     Upsert,   FAULT,     4, "500"),
        (500, 0,     Batch,    FAULT,     4, "500"),
        (500, 20020, Feed,     FAULT,     4, "a scripted fault"),
        (500, 20203, Feed,     Parks,     4, "bug in the bridge"),
        (500, 20206, Upsert,   MOVED,     4, "500/20206"),
        (503, 0,     Feed,     FAULT,     4, "cannot be reached"), // SDK: three failovers
        (503, 0,     Upsert,   FAULT,     4, "503"),
        (503, 0,     Batch,    FAULT,     4, "503"),
        (503, 20305, Upsert,   MOVED,     4, "503/20305"),
        (503, 20310, Upsert,   FAULT,     4, "503/20310"),
    ];
    let mut rows: Vec<_> = answers.iter().map(answer).collect();
    rows.extend(without_answers());
    rows.extend(of_intermediaries());
    rows
}

fn answer(line: &Line) -> Row {
    let &(status, sub_status, side, does, requests, says) = line;
    let then = Effect {
        status: Some(status),
        substatus: (sub_status > 0).then_some(sub_status),
        retry_after_ms: (does == RETRY_AFTER).then_some(RETRY_AFTER_MS),
        ..Effect::default()
    };
    Row { status, sub_status, side, does, requests, says, then }
}

/// Broken connections and missing answers; status and substatus are those of the SDK.
fn without_answers() -> Vec<Row> {
    use Side::{Batch, Feed, Upsert};
    let before = Effect { drop: Some(DropWhen::Before), ..Effect::default() };
    let after = Effect { drop: Some(DropWhen::After), ..Effect::default() };
    let half = Effect { truncate: true, ..Effect::default() };
    let late = Effect { delay_ms: Some(5_000), ..Effect::default() };
    #[rustfmt::skip]
    let lines: [(Line, Effect); 7] = [
        ((503, 20011, Feed,   FAULT, 8, "cannot be reached"), before.clone()), // SDK: as for 503, each twice
        ((503, 20011, Upsert, FAULT, 8, "no answer from the target"), before),
        ((503, 20011, Feed,   FAULT, 8, "cannot be reached"), after.clone()),
        ((503, 20011, Batch,  FAULT, 8, "no answer from the target"), after),
        ((503, 20014, Feed,   FAULT, 8, "cannot be reached"), half),
        ((408, 20008, Feed,   FAULT, 1, "cannot be reached"), late.clone()),
        ((408, 20008, Upsert, FAULT, 1, "no answer from the target"), late),
    ];
    let row = |(line, then): (Line, Effect)| Row { then, ..answer(&line) };
    lines.into_iter().map(row).collect()
}

/// Answers of a proxy or a firewall: of each status that would park, reject, or count as done if it were the
/// service's.
fn of_intermediaries() -> impl Iterator<Item = Row> {
    use Side::{Batch, Feed, Upsert, Versions};
    let answers = [
        (400, Feed),
        (400, Versions),
        (400, Upsert),
        (400, Batch),
        (403, Feed),
        (403, Versions),
        (403, Upsert),
        (404, Batch),
        (407, Upsert),
        (409, Upsert),
        (412, Upsert),
        (413, Batch),
        (418, Versions),
        (451, Upsert),
    ];
    answers.into_iter().map(|(status, side)| Row {
        status,
        sub_status: INTERMEDIARY,
        side,
        does: FAULT,
        requests: 1,
        says: "a proxy or a firewall answered",
        then: Effect { status: Some(status), by: AnsweredBy::Intermediary, ..Effect::default() },
    })
}
