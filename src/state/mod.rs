//! What has to survive a restart: positions, what the names of sinks refer to, and dead letters.

mod dead_letters;
mod error;
mod group_commit;
mod positions;
mod sqlite;
mod targets;

pub use dead_letters::{CauseCount, DeadLetterStore, LetterFilter, StoredLetter};
pub use error::StateError;
pub use group_commit::GroupCommit;
pub use positions::{
    Conflict, PositionStore, PositionWrite, StoredPipeline, StoredSweep, advance_conflict,
    divide_conflict,
};
pub use sqlite::SqliteState;
pub use sqlite::ledgers::stored_ledgers;
pub use sqlite::letter_file::{LetterError, LetterFile};
pub use sqlite::log_watch::LogSize;
pub use sqlite::targets::compare_targets;
pub use targets::{ChangedTarget, Settled, TargetChoice, TargetUse, settle};
