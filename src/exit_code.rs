//! Exit codes. They follow `sysexits.h` where it has a suitable one.

/// Stopped by a signal, or caught up.
pub const OK: u8 = 0;
/// Failed while running, for a reason without its own code.
pub const FAILED: u8 = 1;
/// Invalid command line.
pub const USAGE: u8 = 2;
/// `status`: the bridge answers but is not ready.
pub const NOT_READY: u8 = 3;
/// `dlq replay`: some dead letters are still stored.
pub const LETTERS_LEFT: u8 = 4;
/// `run --until-caught-up`, `backfill`: stopped by a signal before everything was delivered.
pub const STOPPED_EARLY: u8 = 5;
/// `run --until-caught-up`: caught up, but the conservation ledger does not balance. `ledger`: it does not balance.
pub const UNBALANCED: u8 = 6;
/// `backfill`: some documents cannot be written.
pub const NOT_WRITTEN: u8 = 7;
/// A pipeline needs operator action: its container was recreated, or too many of its changes became dead
/// letters.
pub const PARKED: u8 = 65;
/// A database, a container or a secret in a vault does not exist.
pub const MISSING: u8 = 66;
/// An account or a vault cannot be reached; for `status`: no bridge answers.
pub const UNREACHABLE: u8 = 69;
/// The admin address cannot be used.
pub const ADDRESS: u8 = 71;
/// The state file cannot be used, or another process uses it.
pub const STATE: u8 = 73;
/// A stop took longer than `stop_within`; work in flight was abandoned and is repeated.
pub const STOP_TIMEOUT: u8 = 75;
/// An account or a vault refuses the credential; for `status`: the bridge refuses the token.
pub const DENIED: u8 = 77;
/// The configuration is invalid, by itself or for the containers it names.
pub const CONFIG: u8 = 78;
