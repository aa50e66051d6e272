//! The options of `[sinks.cosmos.NAME]` that concern how documents are written.

use cosmos_bridge_options::{choice, integer, options, size};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

options! {
    /// How documents are written into a container.
    pub struct CosmosOptions {
        /// "upsert" keeps the target equal to the source; "insert-if-absent" never overwrites what the
        /// target has; "replace-if-present" never adds to it.
        write: Strategy = "upsert", choice(vec![
            ("upsert", Strategy::Upsert),
            ("insert-if-absent", Strategy::InsertIfAbsent),
            ("replace-if-present", Strategy::ReplaceIfPresent),
        ]);
        /// Requests in flight.
        // Fills a container of 10,000 RU/s with 1 KiB documents at a round trip of 20 ms. One connection
        // carries 100 HTTP/2 streams by default; more than ten connections gain nothing.
        concurrency: usize = 32, integer(1..=1000);
        /// Changes per transactional batch, 1 to 100; 1 switches batches off.
        // The service accepts at most 100 operations and 2 MiB in one transactional batch.
        batch_changes: usize = 100, integer(1..=100);
        /// Bytes per transactional batch; the service accepts 2 MiB.
        // Leaves room for the batch's own text below that.
        batch_bytes: usize = "1.5 MiB", size(KIB..=2 * MIB);
    }
}

/// How a write depends on the document in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Upsert,
    /// A document that exists in the target is not changed.
    InsertIfAbsent,
    /// A document that does not exist in the target is not created.
    ReplaceIfPresent,
}
