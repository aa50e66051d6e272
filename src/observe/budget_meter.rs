//! The budget of one direction of one container.

use std::sync::Arc;

use crate::governor::Governor;
use crate::model::Label;

/// The governor of one direction of one container, with what it is called.
#[derive(Debug)]
pub struct BudgetMeter {
    /// `account/database/container`.
    pub container: String,
    pub direction: Direction,
    pub governor: Arc<Governor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

impl Label for Direction {
    const ALL: &'static [Self] = &[Self::Read, Self::Write];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}
