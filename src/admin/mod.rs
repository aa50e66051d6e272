//! The address that tells how the bridge does: metrics, health, status. Nothing on it changes anything.
//!
//! It has a thread and a runtime of its own, so that it answers also when the work is stuck.

mod ask;
mod health;
mod heart;
mod metrics;
mod request;
mod serve;
mod show;
mod status;
mod view;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::task::JoinSet;
use tracing::{info, warn};

pub use ask::{Asked, ask};
pub use show::text;
pub use status::Report;

use crate::config;
use crate::exit_code;
use crate::observe::Meter;
use heart::Heartbeat;
use tokio_util::sync::CancellationToken;
use view::View;

/// Answers until dropped.
pub struct Admin {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// The heartbeat, on the runtime that does the work.
    _beat: JoinSet<()>,
}

/// Why there is no admin address.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot use the admin address {address}: {source}")]
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
                "Another process uses it, or this machine does not have it: write another \
                 admin.address, or end the other process."
                    .to_owned(),
            ),
            Self::Thread(_) => None,
        }
    }
}

impl Admin {
    /// Takes the address and answers from now on. Has to be called on the runtime that does the work,
    /// whose heartbeat it watches.
    pub fn open(settings: &config::Admin, meter: Arc<Meter>) -> Result<Self, AdminError> {
        let address = settings.address;
        let bind = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let heart = Arc::new(Heartbeat::new());
        let view = View::new(settings.clone(), meter, Arc::clone(&heart));
        let stop = CancellationToken::new();
        let served = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(AdminError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve::serve(listener, view, served)))
            .map_err(AdminError::Thread)?;
        let mut beat = JoinSet::new();
        beat.spawn(async move { heart.beat().await });
        info!(%address, "the admin address answers");
        if !address.ip().is_loopback() && settings.token.is_none() {
            warn!(
                %address,
                "whoever reaches the admin address can read metrics and status; admin.token asks for a token"
            );
        }
        Ok(Self { stop, thread: Some(thread), _beat: beat })
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
