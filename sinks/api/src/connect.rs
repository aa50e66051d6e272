//! A connection that several writes share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// A connection that is opened when it is first needed, and by one caller at a time.
///
/// Callers that wait while another one fails to connect get the error of that attempt: an
/// unreachable target is asked once, not once for each write.
#[derive(Debug)]
pub struct SharedConnection<C, E> {
    /// Locked while a connection is being opened.
    slot: Mutex<Slot<C, E>>,
    /// The number of attempts that have ended.
    attempts: AtomicU64,
}

#[derive(Debug)]
struct Slot<C, E> {
    connection: Option<Arc<C>>,
    /// Why the last attempt failed.
    error: Option<E>,
}

impl<C, E> Default for SharedConnection<C, E> {
    fn default() -> Self {
        let slot = Slot { connection: None, error: None };
        Self { slot: Mutex::new(slot), attempts: AtomicU64::new(0) }
    }
}

impl<C, E: Clone> SharedConnection<C, E> {
    /// Returns the open connection if it is usable, or else the result of `open`.
    ///
    /// # Errors
    ///
    /// The error of `open`, or of an attempt of another caller that ended meanwhile.
    pub async fn get(
        &self,
        is_usable: impl FnOnce(&C) -> bool,
        open: impl Future<Output = Result<C, E>>,
    ) -> Result<Arc<C>, E> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut slot = self.slot.lock().await;
        slot.connection.take_if(|held| !is_usable(held));
        if let Some(connection) = &slot.connection {
            return Ok(Arc::clone(connection));
        }
        if let Some(error) = &slot.error
            && self.attempts.load(Ordering::Acquire) != before
        {
            return Err(error.clone());
        }
        let opened = open.await.map(Arc::new);
        self.attempts.fetch_add(1, Ordering::AcqRel);
        slot.error = opened.as_ref().err().cloned();
        slot.connection = opened.as_ref().ok().cloned();
        opened
    }

    /// Gives `connection` up, unless another one has replaced it.
    pub async fn forget(&self, connection: &Arc<C>) {
        let mut slot = self.slot.lock().await;
        slot.connection.take_if(|held| Arc::ptr_eq(held, connection));
    }

    /// Takes the connection out, to close it. The next [`Self::get`] opens another one.
    pub async fn take(&self) -> Option<Arc<C>> {
        self.slot.lock().await.connection.take()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use cosmos_bridge_corpus::Random;
    use tokio::join;
    use tokio::task::{JoinSet, yield_now};
    use tokio::time::timeout;

    use super::*;

    /// Opens connection `number` after other callers have had their turn.
    async fn open(count: &Cell<u32>, fails: bool) -> Result<u32, String> {
        count.set(count.get() + 1);
        let number = count.get();
        yield_now().await;
        if fails { Err(format!("attempt {number}")) } else { Ok(number) }
    }

    #[tokio::test]
    async fn callers_that_wait_get_the_result_of_the_attempt_under_way() {
        let count = Cell::new(0);
        let shared = SharedConnection::default();
        let failed = || shared.get(|_| true, open(&count, true));
        let (first, second, third) = join!(failed(), failed(), failed());
        for result in [first, second, third] {
            assert_eq!(result, Err("attempt 1".to_owned()));
        }
        // A later caller makes a new attempt.
        let opened = || shared.get(|_| true, open(&count, false));
        let (first, second) = join!(opened(), opened());
        assert_eq!((first, second), (Ok(Arc::new(2)), Ok(Arc::new(2))));
        assert_eq!(count.get(), 2);
    }

    #[tokio::test]
    async fn a_connection_is_replaced_when_it_is_unusable_forgotten_or_taken() {
        let count = Cell::new(0);
        let shared = SharedConnection::default();
        let get = |is_usable: bool| shared.get(move |_| is_usable, open(&count, false));
        let first = get(true).await.unwrap();
        assert_eq!((*first, *get(true).await.unwrap()), (1, 1));
        let second = get(false).await.unwrap();
        assert_eq!(*second, 2);
        // The first one was replaced already, so the second one stays.
        shared.forget(&first).await;
        assert_eq!(*get(true).await.unwrap(), 2);
        shared.forget(&second).await;
        assert_eq!(*get(true).await.unwrap(), 3);
        assert_eq!(shared.take().await.as_deref(), Some(&3));
        assert_eq!(shared.take().await, None);
        assert_eq!(*get(true).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn an_error_is_not_repeated_once_a_later_attempt_has_succeeded() {
        let count = Cell::new(0);
        let shared = SharedConnection::default();
        shared.get(|_| true, open(&count, true)).await.unwrap_err();
        let (opened, reopened) = join!(
            shared.get(|_| true, open(&count, false)),
            // Waits for the first one, which it does not like.
            shared.get(|_| false, open(&count, false)),
        );
        assert_eq!((*opened.unwrap(), *reopened.unwrap()), (2, 3));
    }

    /// Callers on several threads, of which some are dropped while they wait or open. loom does not see
    /// tokio's lock, so these are real threads.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn callers_on_several_threads_open_one_connection_at_a_time() {
        let (shared, attempts) = (Arc::new(SharedConnection::default()), Arc::default());
        let mut callers = JoinSet::new();
        for caller in 0..8 {
            let (shared, attempts) = (Arc::clone(&shared), Arc::clone(&attempts));
            callers.spawn(async move {
                let mut random = Random::new(caller);
                for _ in 0..1_000 {
                    call(&shared, &attempts, &mut random).await;
                }
            });
        }
        // A lock that is never given back would end in a wait without end.
        timeout(Duration::from_mins(1), callers.join_all()).await.unwrap();
    }

    #[derive(Default)]
    struct Attempts {
        under_way: AtomicU64,
        begun: AtomicU64,
        /// The number of the last one that ended.
        ended: AtomicU64,
    }

    /// Ends an attempt, also if it is dropped.
    struct Attempt<'a>(&'a Attempts, u64);

    impl Drop for Attempt<'_> {
        fn drop(&mut self) {
            self.0.ended.fetch_max(self.1, SeqCst);
            self.0.under_way.fetch_sub(1, SeqCst);
        }
    }

    /// One call, that the caller may give up; and then the connection may be given up.
    async fn call(shared: &SharedConnection<u64, u64>, attempts: &Attempts, random: &mut Random) {
        let (fails, turns) = (random.below(3) == 0, random.below(4));
        let open = async {
            assert_eq!(attempts.under_way.fetch_add(1, SeqCst), 0, "two attempts at a time");
            let attempt = Attempt(attempts, attempts.begun.fetch_add(1, SeqCst) + 1);
            for _ in 0..turns {
                yield_now().await;
            }
            if fails { Err(attempt.1) } else { Ok(attempt.1) }
        };
        let ended = attempts.ended.load(SeqCst);
        let get = shared.get(|number| number % 5 > 0, open);
        let got = if random.below(4) == 0 {
            tokio::select! {
                got = get => got,
                () = yield_now() => return,
            }
        } else {
            get.await
        };
        match got {
            Err(number) => assert!(number >= ended, "the error of attempt {number} after {ended}"),
            Ok(connection) if random.below(2) == 0 => {
                shared.forget(&connection).await;
                let now = shared.slot.lock().await.connection.clone();
                assert!(now.is_none_or(|now| !Arc::ptr_eq(&now, &connection)));
            }
            Ok(_) if random.below(8) == 0 => drop(shared.take().await),
            Ok(_) => {}
        }
    }
}
