//! The machine as a resource of one test binary: its tests run in parallel, and those that measure time
//! need the processors for themselves.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit};

static MACHINE: RwLock<()> = RwLock::const_new(());
static TWO: Semaphore = Semaphore::const_new(2);

/// For a test that measures time: no other test of the binary that uses this lock runs until the guard is
/// dropped.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

/// For a test that runs in parallel with others, in a binary that also has tests that run [`alone`].
pub(crate) async fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}

/// For a test that measures rates, which change with a few milliseconds of delay: at most two of the binary run at a
/// time, and none that runs [`alone`].
pub(crate) async fn one_of_two() -> (SemaphorePermit<'static>, RwLockReadGuard<'static, ()>) {
    let permit = TWO.acquire().await.unwrap();
    (permit, shared().await)
}
