//! One feed range: a pure state machine, and the shell that performs its effects.

mod arrivals;
mod arrived;
mod backlog;
mod cursor;
mod cursor_state;
mod done;
mod earlier_writes;
mod event;
mod exit;
#[cfg(test)]
mod exploration;
mod in_flight;
#[cfg(test)]
mod ledger_tests;
mod notices;
mod patience;
#[cfg(test)]
mod played;
mod positions;
#[cfg(test)]
mod progress_tests;
mod read_rooms;
mod reading;
mod shared_pages;
mod state;
mod worker;

pub(super) use earlier_writes::EarlierWrites;
pub(super) use notices::Notices;
pub(super) use positions::{PlanError, Planned, plan};
pub(super) use worker::{Ended, RangeExit, RangeWorker};
