//! A peer that sends given bytes, and what a test watches while it does.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Listens on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Peer {
    listener: Arc<TcpListener>,
    pub address: SocketAddr,
}

impl Peer {
    /// # Panics
    ///
    /// There is no free port.
    pub fn start() -> Self {
        let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Self { listener: Arc::new(listener), address })
        });
        bound.unwrap_or_else(|error| panic!("127.0.0.1: {error}"))
    }

    /// Sends the bytes to the next client, ends its own half of the connection, and reads until the client
    /// closes. The thread ends then.
    pub fn says(&self, bytes: Vec<u8>) -> JoinHandle<()> {
        let listener = Arc::clone(&self.listener);
        thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            // The client may close at any moment.
            if stream.write_all(&bytes).is_ok() {
                stream.shutdown(Shutdown::Write).ok();
            }
            stream.read_to_end(&mut Vec::new()).ok();
        })
    }
}

/// Counts the panics of all threads from now on, also those that a runtime catches.
pub fn count_panics() -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, before) = (Arc::clone(&count), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::Relaxed);
        before(panic);
    }));
    count
}

/// The most memory in bytes that this process ever used.
///
/// # Panics
///
/// The system does not tell.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no VmHWM in /proc/self/status")) * 1024
}
