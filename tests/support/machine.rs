//! The machine as a resource of one test binary: its tests run in parallel, and those that measure time
//! need the processors for themselves.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// For a test that measures time: no other test of the binary that uses this lock runs until the guard is
/// dropped.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

/// For a test that runs in parallel with others, in a binary that also has tests that run [`alone`].
pub(crate) async fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}
