//! One signal that everything ends on.

use std::future::Future;

use tokio::sync::watch;

/// Tells everybody to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Learns that it is time to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    receiver: watch::Receiver<bool>,
    /// What ends a part of the work also ends on this.
    or: Option<watch::Receiver<bool>>,
}

/// A stopper and what it stops.
pub fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop { receiver, or: None })
}

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    pub fn is_asked(&self) -> bool {
        *self.receiver.borrow() || self.or.as_ref().is_some_and(|or| *or.borrow())
    }

    /// The same, and a stopper that stops who listens to this one and nobody else. A part is not divided
    /// again.
    pub fn part(&self) -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Self { receiver, or: Some(self.receiver.clone()) })
    }

    /// Returns when asked to stop, or when nobody is left to ask.
    pub async fn asked(&self) {
        let asked = async |receiver: &watch::Receiver<bool>| {
            // An error means that the stopper is gone, which is a reason to stop as well.
            receiver.clone().wait_for(|stop| *stop).await.ok();
        };
        match &self.or {
            None => asked(&self.receiver).await,
            Some(or) => tokio::select! {
                () = asked(&self.receiver) => {}
                () = asked(or) => {}
            },
        }
    }

    /// Returns when the part that listens to this one is stopped, and not when everything is.
    pub async fn part_asked(&self) {
        match &self.or {
            None => std::future::pending().await,
            Some(_) => drop(self.receiver.clone().wait_for(|stop| *stop).await),
        }
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
