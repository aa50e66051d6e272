//! Types that several modules share. They depend on no other module.

mod change;
mod dead_letter;
mod label;
mod ledger;
mod partition;
mod position;
mod progress;
mod range;
mod source_identity;
mod target_identity;

pub use change::{Event, SourceChange};
pub use dead_letter::{DeadLetter, HASH_DIGITS, Stage, document_hash};
pub use label::Label;
pub use ledger::{Fate, Ledger, LedgerEntry};
pub use partition::PartitionId;
pub use position::{Position, StoredPosition, uncovered};
pub use progress::{RangeProgress, SinkProgress};
pub use range::FeedRange;
pub use source_identity::{Mode, SourceIdentity};
pub use target_identity::{TargetDifference, TargetIdentity};
