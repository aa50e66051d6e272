//! `[pipelines.<name>]` and its source.

use jiff::Timestamp;
use toml::de::DeValue;

use super::budget::{Spending, spending};
use super::problem::closest;
use super::reader::Value;
use super::sinks::{Place, as_usize, place};
use super::table::Table;
use super::{Deletes, Pipeline, Route, SlowSinks, Source, Start, defaults, routes};
use crate::model::Mode;

/// A pipeline as far as it could be read, for the rules between tables.
pub(super) struct Reading<'d> {
    pub(super) pipeline: Option<Pipeline>,
    /// Where it reads.
    pub(super) from: Option<Place>,
    pub(super) spending: Option<Spending<'d>>,
    /// The sink of each route that names one, and where it is named.
    pub(super) to: Vec<(String, Value<'d>)>,
}

pub(super) fn pipeline<'d>(value: &Value<'d>, accounts: &[&str], sinks: &[&str]) -> Reading<'d> {
    let mut reading = Reading { pipeline: None, from: None, spending: None, to: Vec::new() };
    let Some(table) = value.table("a table", "") else { return reading };
    let source = table
        .required("source", &format!("Write [{}.source].", value.key))
        .and_then(|value| source(&value, accounts, &mut reading));
    let routes = routes_of(&table, sinks, &mut reading);
    let window = table.or("window", defaults::WINDOW, |window| window.integer(defaults::WINDOWS));
    let checkpoint_interval =
        table.or("checkpoint_interval", defaults::CHECKPOINT_INTERVAL, |interval| {
            interval.duration(&defaults::INTERVALS)
        });
    let read_ahead = table.or("read_ahead", as_usize(defaults::READ_AHEAD), |bytes| {
        bytes.size(&defaults::READ_AHEADS)
    });
    let spool =
        table.or("spool", as_usize(defaults::SPOOL), |bytes| bytes.size(&defaults::READ_AHEADS));
    let slow_sinks = table.or("slow_sinks", SlowSinks::FallBehind, |slow| {
        slow.choice(&[("fall-behind", SlowSinks::FallBehind), ("hold-all", SlowSinks::HoldAll)])
    });
    let deletes = table.or("deletes", Deletes::All, |deletes| {
        deletes.choice(&[
            ("all", Deletes::All),
            ("explicit", Deletes::Explicit),
            ("ignore", Deletes::Ignore),
        ])
    });
    if let (Some(source), Some(window)) = (&source, window)
        && source.page_size > window
    {
        let page = source.page_size;
        let message = format!("a window of {window} cannot take a page of {page} changes");
        let written = table.get("window").or_else(|| table.get("source")?.at("page_size"));
        let hint = "Write a window of at least one page, better of five, or a smaller page_size.";
        written.unwrap_or_else(|| value.clone()).problem(message, hint);
    }
    if let (Some(spool), Some(read_ahead)) = (spool, read_ahead)
        && spool < read_ahead
    {
        let written = table.get("spool").or_else(|| table.get("read_ahead"));
        let message = "a sink that holds less than is read ahead would fall behind at once";
        let hint = "Write a spool of at least read_ahead, better of twice as much.";
        written.unwrap_or_else(|| value.clone()).problem(message, hint);
    }
    table.finish();
    let whole = || {
        let (source, routes, deletes) = (source?, routes?, deletes?);
        let (window, read_ahead) = (window? as usize, read_ahead?);
        let checkpoint_interval = checkpoint_interval?;
        let (spool, slow_sinks) = (spool?, slow_sinks?);
        Some(Pipeline {
            source,
            routes,
            window,
            checkpoint_interval,
            read_ahead,
            spool,
            slow_sinks,
            deletes,
        })
    };
    Reading { pipeline: whole(), ..reading }
}

fn routes_of<'d>(
    table: &Table<'d>,
    sinks: &[&str],
    reading: &mut Reading<'d>,
) -> Option<Vec<Route>> {
    let header = format!("Write [[{}.routes]] and in it to = \"SINK\".", table.value().key);
    let items = table.required("routes", &header)?.list()?;
    if items.is_empty() {
        table.get("routes")?.problem("there is no route", header);
        return None;
    }
    let mut read = Vec::new();
    for item in &items {
        let route = routes::route(item, sinks, &mut reading.to);
        read.push(route);
    }
    read.into_iter().collect()
}

fn source<'d>(value: &Value<'d>, accounts: &[&str], reading: &mut Reading<'d>) -> Option<Source> {
    let table = value.table("a table", "")?;
    reading.from = place(&table, accounts);
    let mode = table.or("mode", Mode::LatestVersion, |mode| {
        mode.choice(&[
            ("latest-version", Mode::LatestVersion),
            ("all-versions-and-deletes", Mode::AllVersionsAndDeletes),
        ])
    });
    let written = table.required(
        "start",
        "Write \"beginning\" to copy what exists, \"now\" to leave it out, or a time.",
    );
    let start = written.as_ref().and_then(start);
    if let (Some(Mode::AllVersionsAndDeletes), Some(Start::Beginning | Start::Time(_)), Some(at)) =
        (mode, &start, &written)
    {
        at.problem(
            "the service serves all versions and deletes only from now or from a stored position",
            "Write start = \"now\"; copy what already exists with mode = \"latest-version\".",
        );
    }
    let page_size =
        table.or("page_size", defaults::PAGE_SIZE, |size| size.integer(defaults::PAGE_SIZES));
    let poll_interval = table.or("poll_interval", defaults::POLL_INTERVAL, |interval| {
        interval.duration(&defaults::INTERVALS)
    });
    let spending = reading.spending.insert(spending(&table));
    table.finish();
    let Place { account, database, container } = reading.from.clone()?;
    Some(Source {
        account,
        database,
        container,
        mode: mode?,
        start: start?,
        page_size: page_size?,
        poll_interval: poll_interval?,
        budget: spending.budget.clone()?,
        good_neighbour: spending.good_neighbour?,
    })
}

fn start(value: &Value<'_>) -> Option<Start> {
    const HINT: &str =
        "Write \"beginning\", \"now\", or a time with its offset: 2026-01-31T00:00:00Z.";
    value.is_a(|| "\"beginning\" or \"now\" or a time with its offset".to_owned());
    let text = match value.node {
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
    if start.is_none() {
        let hint = closest(&text, &["beginning", "now"]);
        let hint = hint.map_or(HINT.to_owned(), |start| format!("Did you mean `{start}`?"));
        value.problem("there is no such start", hint);
    }
    start
}
