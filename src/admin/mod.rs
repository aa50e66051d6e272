//! The admin address: read-only pages with metrics, health and status.
//!
//! It has its own thread and its own runtime, so that it responds even if the work is stuck.

mod client;
mod health;
mod heartbeat;
mod metrics;
mod observed_run;
mod report;
mod request;
mod serve;
mod slots;
mod status;
mod status_page;
mod status_text;
mod view;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use client::{StatusError, StatusResponse, fetch_status};
pub use report::StatusReport;
pub use status_text::status_text;

use crate::config;
use crate::exit_code;
use crate::observe::Meter;
use heartbeat::Heartbeat;
use view::View;

/// Serves the admin address until dropped.
pub struct Admin {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// The heartbeat, on the runtime that does the work.
    _heartbeat: JoinSet<()>,
}

/// Why the admin address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot listen on the admin address {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("cannot serve the admin address: {0}")]
    Thread(#[source] std::io::Error),
}

impl AdminError {
    pub fn exit_code(&self) -> u8 {
        exit_code::ADDRESS
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { .. } => Some(
                "Another process uses it, or it is not an address of this machine: change admin.address, \
                 or stop the other process."
                    .to_owned(),
            ),
            Self::Thread(_) => None,
        }
    }
}

impl Admin {
    /// Binds the address and serves it. Has to be called on the runtime that does the work, because the
    /// heartbeat runs there.
    pub fn open(settings: &config::Admin, meter: Arc<Meter>) -> Result<Self, AdminError> {
        let address = settings.address;
        let bind = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let heartbeat = Arc::new(Heartbeat::new());
        let view = View::new(settings.clone(), meter, Arc::clone(&heartbeat));
        let stop = CancellationToken::new();
        let served = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(AdminError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                runtime.block_on(serve::serve(listener, view, served));
                // A token file on a disk that hangs is read by a thread that the stop does not wait for.
                runtime.shutdown_background();
            })
            .map_err(AdminError::Thread)?;
        let mut beats = JoinSet::new();
        beats.spawn(async move { heartbeat.run().await });
        info!(%address, "the admin address is open");
        if !address.ip().is_loopback() && settings.token.is_none() {
            warn!(
                %address,
                "the admin address is open to other machines and needs no token: \
                 set admin.token to protect metrics and status"
            );
        }
        Ok(Self { stop, thread: Some(thread), _heartbeat: beats })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
