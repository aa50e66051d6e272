//! The state file belongs to one process at a time.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_WRLCK, SEEK_SET, flock};

/// What SQLite uses for its own locks are the 512 bytes from here on, which never hold data.
/// <https://sqlite.org/fileformat2.html#the_lock_byte_page>
const SQLITE_LOCKS: i64 = 1 << 30;

/// The byte behind those, which SQLite never locks.
const OUR_BYTE: i64 = SQLITE_LOCKS + 512;

/// Only the user of the bridge may read the state: dead letters hold documents.
const MODE: u32 = 0o600;

/// Held until it is dropped, or until the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    /// To be closed after the last connection of this process: closing it ends the locks that SQLite
    /// holds.
    _file: File,
}

impl Lock {
    /// Creates the file if it does not exist, and locks it; `None` if another process holds it. The lock is
    /// on the file and not on its path: a link or another mount leads to the same lock.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let file = file.open(path)?;
        let kind = libc_kind(F_WRLCK)?;
        let byte = flock {
            l_type: kind,
            l_whence: libc_kind(SEEK_SET)?,
            l_start: OUR_BYTE,
            l_len: 1,
            l_pid: 0,
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&byte)) {
            Ok(_) => Ok(Some(Self { _file: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn libc_kind(number: i32) -> io::Result<i16> {
    i16::try_from(number).map_err(io::Error::other)
}

/// Takes the file of an earlier version from others than the user of the bridge. SQLite gives its two
/// other files the mode of the first when it creates them.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    // Beside the file itself, not beside a link to it.
    let path = path.canonicalize()?;
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let file = PathBuf::from(file);
        match std::fs::metadata(&file) {
            Ok(found) if found.permissions().mode() & 0o777 != MODE => {
                std::fs::set_permissions(&file, Permissions::from_mode(MODE))?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
