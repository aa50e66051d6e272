//! A mutex without poisoning.

use std::fmt;
use std::sync::{MutexGuard, PoisonError};

/// [`std::sync::Mutex`] for data that is valid after each statement: a panic of one holder does not
/// concern the others.
#[derive(Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::Mutex;

    #[test]
    fn a_panic_of_one_holder_does_not_concern_the_next() {
        let mutex = Mutex::new(1);
        let held = catch_unwind(AssertUnwindSafe(|| {
            let mut value = mutex.lock();
            *value = 2;
            panic!("on purpose");
        }));
        assert!(held.is_err());
        assert_eq!(*mutex.lock(), 2);
    }
}
