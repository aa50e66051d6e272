//! What has to survive a restart: positions and dead letters.

mod dead_letters;
mod error;
mod group_commit;
mod positions;
mod sqlite;

pub use dead_letters::DeadLetterStore;
pub use error::StateError;
pub use group_commit::GroupCommit;
pub use positions::{Conflict, PositionStore, PositionWrite, advance_conflict, divide_conflict};
pub use sqlite::SqliteState;
