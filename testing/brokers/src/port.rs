//! Ports that stay reserved for a broker while it is down.

use std::fs::{File, create_dir_all};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::error::BrokerError;

/// Below the ports that Linux gives to outgoing connections (32768 to 60999). With one of those, a
/// client that tries again and again while the broker is down can in the end connect to itself, and
/// another process can be given the port before the broker is back.
const RANGE: Range<u16> = 20_000..32_000;

/// A port on 127.0.0.1, held by a lock on a file for as long as this value lives, so that two test
/// processes on one machine never take the same.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    pub fn number(&self) -> u16 {
        self.number
    }

    /// # Errors
    ///
    /// When every port of the range is taken, or the folder for the locks cannot be made.
    pub fn free() -> Result<Self, BrokerError> {
        let folder = std::env::temp_dir().join("cosmos-bridge-ports");
        create_dir_all(&folder).map_err(|source| BrokerError::File {
            doing: "make the folder",
            path: folder.clone(),
            source,
        })?;
        // Processes begin at different places, so that they seldom meet.
        let begin = RANGE.start + u16::try_from(std::process::id() * 37 % 12_000).unwrap_or(0);
        for number in (begin..RANGE.end).chain(RANGE.start..begin) {
            let Ok(lock) = File::create(folder.join(number.to_string())) else { continue };
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(BrokerError::NoPort { range: RANGE })
    }
}
