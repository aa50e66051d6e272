//! `[pipelines.NAME]` and its source.

use std::collections::BTreeMap;
use std::time::Duration;

use cosmos_bridge_options::{
    Form, Kind, Table, Value, choice, closest, duration, integer, kind, options, size, some, table,
    table_like,
};
use jiff::Timestamp;
use serde_json::json;
use toml::de::DeValue;

use super::budget::request_rate;
use super::containers::{Location, Spending};
use super::dead_letters::DeadLetters;
use super::names::named;
use super::routes::Route;
use crate::model::Mode;

const KIB: u64 = 1024;
const GIB: u64 = KIB * KIB * KIB;

pub(super) const HINT: &str = "Write [pipelines.NAME.source] and [[pipelines.NAME.routes]].";

options! {
    /// What is copied, and where to.
    pub struct Pipeline {
        /// The container that is read.
        source: Source = required("Write [<table>.source]."), table();
        /// Which changes go to which sink, and how they look there.
        routes: Vec<Route> = required(ROUTES), some(table(), "Write [[pipelines.NAME.routes]] and in it to = \"SINK\".");
        /// Changes per feed range that may be delivered but not yet checkpointed: the most that is
        /// delivered again after a crash. At least one page.
        // Five pages: reading and writing overlap, and what a crash repeats takes seconds. The window is
        // tracked in memory.
        window: usize = 5000, integer(1..=1_000_000);
        /// Longest time between a delivery and its checkpoint.
        // A stop loses nothing at any interval; a second bounds what a crash repeats at low traffic.
        checkpoint_interval: Duration = "1s", duration(INTERVALS);
        /// Memory for documents read ahead of delivery, over all feed ranges of the pipeline.
        // Four of the largest pages (4 MiB), and more documents of 1 KiB than 32 MiB of trees held; with the memory of
        // requests the process stays below 150 MiB.
        read_ahead: usize = "16 MiB", size(64 * KIB..=16 * GIB);
        /// Memory for changes that one sink has not accepted yet while others have, over all feed ranges
        /// of the pipeline. A sink that would hold more falls behind alone. At least read_ahead.
        // Several times what is read ahead: a sink that stops for a moment is read for only once. Each sink that
        // is away may take as much.
        spool: usize = "64 MiB", size(64 * KIB..=16 * GIB);
        /// What to do with a sink that is slower than the others: "fall-behind" waits for it in a backlog
        /// while it is at least a quarter as fast, otherwise reads on without it, and later once more for
        /// it; "hold-all" makes all sinks wait for the slowest, and reads once.
        slow_sinks: SlowSinks = "fall-behind", choice(vec![
            ("fall-behind", SlowSinks::FallBehind),
            ("hold-all", SlowSinks::HoldAll),
        ]);
        /// Deletes that the feed reports (latest-version reports none): "all" are repeated in the target;
        /// "explicit" ones, but not expiry by time to live; or "ignore" leaves the target's documents
        /// alone.
        deletes: Deletes = "all", choice(vec![
            ("all", Deletes::All),
            ("explicit", Deletes::Explicit),
            ("ignore", Deletes::Ignore),
        ]);
        /// The pipeline ends by itself once everything is delivered that was committed before this time, with
        /// its offset and in whole seconds. What was committed at this time or later is not sent. The clock of
        /// this machine has to be right to 10 s.
        until: Option<Timestamp> = optional, until(), example "2027-01-31T00:00:00Z";
        /// Looks by a schedule for copies whose source documents do not exist any more, and deletes them: for
        /// deletes that the feed does not report, as in latest-version mode.
        sweep: Sweep = {}, table_like("a table", "Write [pipelines.NAME.sweep] and in it every = \"24h\".");
        /// Changes that cannot be written.
        dead_letters: DeadLetters = {},
            table_like("a table", "Write [pipelines.NAME.dead_letters] and in it limit = \"10%\".");
    }
    rules(table) {
        let start = source.as_ref().map(|source| &source.start);
        if let (Some(Start::Time(start)), Some(Some(end)), Some(at)) = (start, &until, table.get("until"))
            && end <= start
        {
            at.problem(
                "the pipeline would end before it starts",
                "Write a time that is later than `start` of the source.",
            );
        }
        let page = source.as_ref().map(|source| source.page_size);
        sizes_fit(table, page.zip(window), spool.zip(read_ahead));
    }
}

const ROUTES: &str = "Write [[<table>.routes]] and in it to = \"SINK\".";

options! {
    /// The container that a pipeline reads.
    pub struct Source {
        location: Location = flatten;
        /// "latest-version", or "all-versions-and-deletes" for accounts with continuous backup: every change
        /// from the first start on, after what existed then if start is "beginning".
        mode: Mode = "latest-version", choice(vec![
            ("latest-version", Mode::LatestVersion),
            ("all-versions-and-deletes", Mode::AllVersionsAndDeletes),
        ]);
        /// Where to begin when no position is stored: "beginning", "now" (the first start), or a time in the
        /// past with its offset. There is no default: the choice is too costly to be made for you.
        start: Start = required(
            "Write \"beginning\" to copy what exists, \"now\" to leave it out, or a time."
        ), start(), example "now";
        /// How long the account keeps all versions and deletes: the retention of its continuous backup, "7d" or
        /// "30d". The bridge tells by it how much time a sink has left. Only with mode
        /// "all-versions-and-deletes".
        // The shorter of the two: a warning that comes too early is better than one that comes too late. The
        // retention cannot be read with the rights that reading data needs. Short ones are for local accounts.
        history: Duration = "7d", duration(HISTORY);
        /// What to do when the account does not have the history of a stored position any more: "park" waits for an
        /// operator; "resync" copies what exists again, then every change since, and sweeps Cosmos DB sinks for
        /// the deletes that were missed. Only with mode "all-versions-and-deletes".
        // A resync reads and writes the whole container, which nobody should pay for without having chosen it.
        on_lost_history: OnLostHistory = "park", choice(vec![
            ("park", OnLostHistory::Park),
            ("resync", OnLostHistory::Resync),
        ]);
        /// Changes per page; the service may send more when one transaction touched more. Pages are
        /// smaller where a budget, `read_ahead` or `spool` is small.
        // Few requests per document; larger pages reach the service's limit of 4 MiB anyway.
        page_size: u32 = 1000, integer(1..=100_000);
        /// Longest pause between polls of a feed range that has nothing new, if `idle_budget` allows it.
        poll_interval: Duration = "1s", duration(INTERVALS);
        /// What polls that find nothing may cost, over all feed ranges. In the first 10 s after a change they are
        /// frequent and may cost twice as much.
        // With up to 32 feed ranges, each is polled once per `poll_interval` while nothing happens.
        idle_budget: f64 = "32 RU/s", request_rate();
        spending: Spending = flatten;
    }
    rules(table) {
        if let (Some(Mode::LatestVersion), Some(OnLostHistory::Resync), Some(at)) =
            (mode, on_lost_history, table.get("on_lost_history"))
        {
            at.problem(
                "mode \"latest-version\" has no history that could be lost",
                "Remove it, or write mode = \"all-versions-and-deletes\".",
            );
        }
        let is_default = history == Some(DEFAULT_HISTORY);
        if let (Some(Mode::LatestVersion), Some(at), false) = (mode, table.get("history"), is_default) {
            at.problem(
                "`history` has no meaning in mode \"latest-version\", which never loses a position by its age",
                "Remove it, or write mode = \"all-versions-and-deletes\".",
            );
        }
        if let (Some(Mode::AllVersionsAndDeletes), Some(Start::Time(_)), Some(at)) =
            (mode, &start, table.get("start"))
        {
            at.problem(
                "the service serves all versions and deletes only from now or from a stored position",
                "Write start = \"now\", or \"beginning\" to copy what exists before.",
            );
        }
    }
}

/// Faster than 10 ms is a busy loop; slower than an hour is a bridge that looks dead.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_hours(1);

/// As the definition of `history` writes it.
const DEFAULT_HISTORY: Duration = Duration::from_hours(7 * 24);

options! {
    /// Sweeps by a schedule.
    pub struct Sweep {
        /// The time from the end of a sweep to the next one. The first is this long after the first start.
        // Seconds are for local accounts: a sweep of 1,000,000 copies costs about 100,000 RU.
        every: Option<Duration> = optional, duration(SWEEPS), example "24h";
    }
}

const SWEEPS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(30 * 24);

/// What to do when the history after a position is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostHistory {
    /// Wait for an operator.
    Park,
    /// Copy what exists again, and sweep.
    Resync,
}

/// The service keeps at most 30 days.
const HISTORY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(30 * 24);

/// What to do with a sink that is slower than the others of its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowSinks {
    /// Wait for a bounded time in a backlog, then read on without it; it continues from its own
    /// position, by reading again.
    FallBehind,
    /// Wait for it.
    HoldAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// Delete in the target, both explicit deletes and expiry by time to live.
    All,
    /// Delete in the target only what was deleted explicitly.
    Explicit,
    /// Leave the target's document alone.
    Ignore,
}

/// Where to begin when nothing is stored. A stored position always wins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    Beginning,
    Now,
    Time(Timestamp),
}

pub(super) fn some_pipelines() -> impl Kind<Output = BTreeMap<String, Pipeline>> {
    named(table()).check(|value, pipelines: &BTreeMap<String, Pipeline>| {
        if pipelines.is_empty() {
            value.problem_unshown("there is no pipeline", HINT);
        }
        !pipelines.is_empty()
    })
}

/// Checks a page against the window, and the spool against what is read ahead.
fn sizes_fit(table: &Table<'_>, page: Option<(u32, usize)>, memory: Option<(usize, usize)>) {
    if let Some((page, window)) = page
        && page as usize > window
    {
        let message = format!("a window of {window} cannot take a page of {page} changes");
        let written = table.get("window").or_else(|| table.get("source")?.at("page_size"));
        let hint = "Write a window of at least one page, better of five, or a smaller page_size.";
        written.unwrap_or_else(|| table.value().clone()).problem(message, hint);
    }
    if let Some((spool, read_ahead)) = memory
        && spool < read_ahead
    {
        let written = table.get("spool").or_else(|| table.get("read_ahead"));
        let message = "a sink that holds less than is read ahead would fall behind immediately";
        let hint = "Write a spool of at least read_ahead, better of twice as much.";
        written.unwrap_or_else(|| table.value().clone()).problem(message, hint);
    }
}

/// The form of a time with its offset.
const TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})$";

fn start() -> impl Kind<Output = Start> {
    let words = Form::of("\"beginning\" or \"now\"", json!({ "enum": ["beginning", "now"] }));
    let form = Form::Either(vec![words, Form::pattern("a time with its offset", TIME)]);
    kind(form, read_start)
}

fn until() -> impl Kind<Output = Timestamp> {
    kind(Form::pattern("a time with its offset", TIME), read_until)
}

fn read_until(value: &Value<'_>) -> Option<Timestamp> {
    const HINT: &str = "Write a time with its offset, in whole seconds: 2026-01-31T00:00:00Z.";
    let text = match value.node() {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Datetime(time) => time.to_string(),
        _ => value.text_like("a time", HINT)?.to_owned(),
    };
    let problem = match text.parse::<Timestamp>() {
        Ok(time) if time.subsec_nanosecond() != 0 => {
            "the service knows commit times in whole seconds"
        }
        Ok(time) => return Some(time),
        Err(_) => "this is not a time with its offset",
    };
    value.problem(problem, HINT);
    None
}

fn read_start(value: &Value<'_>) -> Option<Start> {
    const HINT: &str =
        "Write \"beginning\", \"now\", or a time with its offset: 2026-01-31T00:00:00Z.";
    let text = match value.node() {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Datetime(time) => time.to_string(),
        _ => value.text_like("a start", HINT)?.to_owned(),
    };
    let start = match text.as_str() {
        "beginning" => Some(Start::Beginning),
        "now" => Some(Start::Now),
        // A form such as `2026-01-31` has no offset and so names no point in time.
        text => text.parse::<Timestamp>().map(Start::Time).ok(),
    };
    if let Some(Start::Time(time)) = start
        && time < Timestamp::UNIX_EPOCH
    {
        let hint = "The service keeps no change from before 1970: write \"beginning\".";
        value.problem("`start` is before 1970", hint);
        return None;
    }
    if start.is_none() {
        let hint = closest(&text, &["beginning", "now"]);
        let hint = hint.map_or(HINT.to_owned(), |start| format!("Did you mean `{start}`?"));
        value.problem("unknown `start`", hint);
    }
    start
}
