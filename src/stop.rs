//! One signal that everything ends on.

use std::future::Future;

use tokio::sync::watch;

/// Tells everybody to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Learns that it is time to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A stopper and what it stops.
pub fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when asked to stop, or when nobody is left to ask.
    pub async fn asked(&self) {
        let mut receiver = self.0.clone();
        // An error means that the stopper is gone, which is a reason to stop as well.
        receiver.wait_for(|stop| *stop).await.ok();
    }

    /// The future's result, unless a stop comes first.
    pub async fn within<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.asked() => None,
            result = future => Some(result),
        }
    }
}
