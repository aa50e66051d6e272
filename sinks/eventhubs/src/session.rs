//! The AMQP connection as the links see it: each link has a session on it.

use std::time::Duration;

use fe2o3_amqp::Session;
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::session::SessionHandle;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::failure::Failure;

/// The source of sessions on one connection.
pub(crate) struct Sessions(Mutex<ConnectionHandle<()>>);

impl Sessions {
    pub(crate) fn new(amqp: ConnectionHandle<()>) -> Self {
        Self(Mutex::new(amqp))
    }

    pub(crate) async fn begin(&self) -> Result<SessionHandle<()>, Failure> {
        let begun = Session::begin(&mut *self.0.lock().await).await;
        begun.map_err(|error| Failure::of_begin(&error))
    }

    /// Closes the connection.
    pub(crate) async fn close(&self, limit: Duration) {
        // Every batch has been answered, so an error or a timeout changes nothing.
        drop(timeout(limit, async { self.0.lock().await.close().await }).await);
    }
}
