//! `[sinks.cosmos.<name>]`: a container that documents are copied into.

use super::super::budget::spending;
use super::super::reader::Value;
use super::super::{CosmosSink, Sink, WriteStrategy, defaults};
use super::{Place, Reading, as_usize, place};

pub(in crate::config) fn read<'d>(value: &Value<'d>, accounts: &[&str]) -> Reading<'d> {
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
    Reading { sink: sink(), place, spending: Some(spending), secrets: Vec::new() }
}
