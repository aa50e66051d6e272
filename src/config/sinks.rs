//! `[sinks.<type>.<name>]`.

use super::accounts::names;
use super::budget::{Spending, spending};
use super::problem::meant;
use super::reader::Value;
use super::table::Table;
use super::{CosmosSink, Sink, WriteStrategy, defaults};

/// The types of sinks there are.
const TYPES: [&str; 1] = ["cosmos"];

/// A container in an account, by the names in the file.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) database: String,
    pub(super) container: String,
}

/// A sink as far as it could be read.
#[derive(Default)]
pub(super) struct Reading<'d> {
    pub(super) sink: Option<Sink>,
    pub(super) place: Option<Place>,
    pub(super) spending: Option<Spending<'d>>,
}

/// Every named sink, of whatever type; reports types that do not exist.
pub(super) fn entries<'d>(sinks: &Value<'d>) -> Vec<(&'d str, Value<'d>)> {
    let mut entries = Vec::new();
    for (kind, value) in sinks.named("a table of sink types").unwrap_or_default() {
        if TYPES.contains(&kind) {
            entries.extend(names(&value.shaped(format!("sinks.{kind}"))));
        } else {
            let hint = meant(kind, &TYPES, "sink type");
            value.problem_unshown("there is no such sink type", hint);
        }
    }
    entries
}

pub(super) fn sink<'d>(value: &Value<'d>, accounts: &[&str]) -> Reading<'d> {
    let Some(table) = value.table("a table", "") else { return Reading::default() };
    let place = place(&table, accounts);
    let write = table.or("write", WriteStrategy::Upsert, |write| {
        write.choice(&[
            ("upsert", WriteStrategy::Upsert),
            ("insert-if-absent", WriteStrategy::InsertIfAbsent),
            ("replace-if-present", WriteStrategy::ReplaceIfPresent),
        ])
    });
    let concurrency = table.or("concurrency", defaults::CONCURRENCY, |concurrency| {
        concurrency.integer(defaults::CONCURRENCIES)
    });
    let batch_changes = table
        .or("batch_changes", defaults::BATCH_CHANGES, |changes| changes.integer(defaults::BATCHES));
    let batch_bytes = table.or("batch_bytes", as_usize(defaults::BATCH_BYTES), |bytes| {
        bytes.size(&defaults::BATCH_SIZES)
    });
    let spending = spending(&table);
    table.finish();
    let sink = || {
        let Place { account, database, container } = place.clone()?;
        Some(Sink::Cosmos(CosmosSink {
            account,
            database,
            container,
            write: write?,
            concurrency: concurrency? as usize,
            batch_changes: batch_changes? as usize,
            batch_bytes: batch_bytes?,
            budget: spending.budget.clone()?,
            good_neighbour: spending.good_neighbour?,
        }))
    };
    Reading { sink: sink(), place, spending: Some(spending) }
}

/// `account`, `database` and `container`, which have no defaults.
pub(super) fn place(table: &Table<'_>, accounts: &[&str]) -> Option<Place> {
    let account = table
        .required("account", "Name one of the [accounts.NAME] tables.")
        .and_then(|value| reference(&value, accounts, "account"));
    let database = table
        .required("database", "Write the name of the database.")
        .and_then(|value| value.resource());
    let container = table
        .required("container", "Write the name of the container.")
        .and_then(|value| value.resource());
    Some(Place { account: account?, database: database?, container: container? })
}

/// The name of something that stands elsewhere in the file.
pub(super) fn reference(value: &Value<'_>, names: &[&str], what: &str) -> Option<String> {
    let written = value.text()?;
    if names.contains(&written) {
        return Some(written.to_owned());
    }
    let hint = match (what, names) {
        ("sink", []) => "There are no sinks: write [sinks.cosmos.NAME].".to_owned(),
        (_, []) => format!("There are no {what}s: write [{what}s.NAME]."),
        _ => meant(written, names, what),
    };
    value.problem(format!("no {what} is named `{written}`"), hint);
    None
}

/// Sizes up to 16 GiB; smaller machines are not supported.
pub(super) fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
