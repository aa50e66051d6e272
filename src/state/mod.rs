//! What has to survive a restart: positions and dead letters.

mod dead_letters;
mod error;
mod group_commit;
mod positions;
mod sqlite;

pub use dead_letters::{CauseCount, DeadLetterStore, LetterFilter, StoredLetter};
pub use error::StateError;
pub use group_commit::GroupCommit;
pub use positions::{Conflict, PositionStore, PositionWrite, advance_conflict, divide_conflict};
pub use sqlite::SqliteState;
pub use sqlite::letter_file::{LetterError, LetterFile};
