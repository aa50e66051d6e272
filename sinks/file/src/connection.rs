//! The open file, and its rotation. All functions block.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cosmos_bridge_sink::{Due, EventLog};
use jiff::Timestamp;

use crate::whole_lines::WholeLines;
use crate::{FileOptions, Output};

/// The block size of the search for the end of the last complete line.
const BLOCK: u64 = 64 * 1024;

/// The output, opened when the first line is written.
#[derive(Debug)]
pub(crate) struct Connection {
    options: FileOptions,
    open: Option<OpenFile>,
    standard: WholeLines,
    log: FileLog,
}

/// How often lines about the file are logged: another process may move it at any rate.
#[derive(Debug, Default)]
struct FileLog {
    moved: EventLog,
    cut: EventLog,
}

/// A file that holds complete lines up to `length`.
#[derive(Debug)]
struct OpenFile {
    file: File,
    length: u64,
    created: SystemTime,
}

impl Connection {
    pub(crate) fn new(options: FileOptions) -> Self {
        let (standard, log) = (WholeLines::default(), FileLog::default());
        Self { options, open: None, standard, log }
    }

    /// Proves that lines could be written, without leaving anything behind.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.checked(|| ())
    }

    /// `before_lock` is called once the file is made, if it was not there.
    fn checked(&self, before_lock: impl FnOnce()) -> io::Result<()> {
        let Output::File(path) = &self.options.path else { return Ok(()) };
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if let Some(open) = &self.open
            && leads_to(path, &open.file)?
        {
            return Ok(());
        }
        // Opened as for a write: only that detects missing permissions and read-only file systems.
        let made = OpenOptions::new().append(true).create_new(true).open(path);
        let exists = |error: &io::Error| error.kind() == io::ErrorKind::AlreadyExists;
        let file = match made {
            Err(error) if exists(&error) => match path.canonicalize() {
                Ok(_) => return lock(&OpenOptions::new().append(true).open(path)?),
                // A link to a file that a write would make.
                Err(_) => OpenOptions::new().append(true).create(true).open(path)?,
            },
            made => made?,
        };
        before_lock();
        let locked = lock(&file);
        // A writer that was faster has the lock, and keeps its file.
        if !locked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
            std::fs::remove_file(path.canonicalize()?)?;
        }
        locked
    }

    /// Writes lines and waits until they are on the disk. After an error none of the lines counts.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let FileOptions { path, rotate_bytes, rotate_after, .. } = &self.options;
        let Output::File(path) = path else {
            // Without the buffer of the standard output, which may keep a part of a line after an error.
            let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return self.standard.write(&mut output, lines);
        };
        let mut open = match self.open.take() {
            Some(open) => open.or_reopen(path, &self.log)?,
            None => OpenFile::at(path, &self.log)?,
        };
        if open.is_finished(*rotate_bytes, *rotate_after) {
            // The file stays locked until it is renamed.
            rename_finished(path)?;
            open = OpenFile::at(path, &self.log)?;
        }
        let written = open.append(lines);
        if let Ok(open) = written {
            self.open = Some(open);
            return Ok(());
        }
        // The next open removes the incomplete line.
        written.map(drop)
    }

    /// Nothing is buffered: delivered lines are on the disk.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}

impl OpenFile {
    fn at(path: &Path, log: &FileLog) -> io::Result<Self> {
        Self::opened(path, log, || ())
    }

    /// `before_lock` is called once the file is open.
    fn opened(path: &Path, log: &FileLog, before_lock: impl FnOnce()) -> io::Result<Self> {
        let existed = path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        before_lock();
        lock(&file)?;
        if !existed {
            sync_folder(path)?;
        }
        if !leads_to(path, &file)? {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "it was moved or deleted while it was opened",
            ));
        }
        let length = complete_length(&mut file)?;
        if length < file.metadata()?.len() {
            if let Some(Due { not_logged }) = log.cut.due() {
                tracing::warn!(file = %path.display(), not_logged, "removed an incomplete last line");
            }
            file.set_len(length)?;
            file.sync_all()?;
        }
        let created = file.metadata()?.created().unwrap_or_else(|_| SystemTime::now());
        Ok(Self { file, length, created })
    }

    fn or_reopen(self, path: &Path, log: &FileLog) -> io::Result<Self> {
        if leads_to(path, &self.file)? {
            return Ok(self);
        }
        if let Some(Due { not_logged }) = log.moved.due() {
            tracing::warn!(
                file = %path.display(),
                not_logged,
                "the file was moved or deleted; opened it again"
            );
        }
        let open = Self::at(path, log)?;
        // The process that created the file may not have synced the folder.
        sync_folder(path)?;
        Ok(open)
    }

    fn append(mut self, lines: &[u8]) -> io::Result<Self> {
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // If this fails, the next open does it.
            drop(self.file.set_len(self.length));
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(self)
    }

    fn is_finished(&self, max_bytes: u64, max_age: Option<Duration>) -> bool {
        let is_old = |max| self.created.elapsed().is_ok_and(|age| age >= max);
        self.length >= max_bytes || (self.length > 0 && max_age.is_some_and(is_old))
    }
}

/// True if the path leads to this file. Another process may have moved, deleted or replaced the file; lines
/// written to it would be lost.
fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let held = file.metadata()?;
    match path.metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks the file: the lines of two writers would be mixed.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another writer has it open"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The length up to the end of the last complete line.
fn complete_length(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Renames a finished file: `events.jsonl` becomes
/// `events-20260131T000000Z.jsonl`.
fn rename_finished(path: &Path) -> io::Result<()> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = |number: u32| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let again = if number == 0 { String::new() } else { format!("-{number}") };
        let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy()));
        path.with_file_name(format!("{stem}-{time}{again}{}", ending.unwrap_or_default()))
    };
    let free = (0..u32::MAX).map(name).find(|path| !path.exists());
    match std::fs::rename(path, free.unwrap_or_else(|| name(u32::MAX))) {
        // Another process has renamed or deleted it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    sync_folder(path)
}

/// Syncs the folder: without that, a new name may not survive a power loss.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder: PathBuf = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => ".".into(),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::time::{Duration, SystemTime};

    use cosmos_bridge_options::from_toml;

    use super::{Connection, FileLog, OpenFile, leads_to, rename_finished};

    /// `check` of another process makes the file and removes it again.
    #[test]
    fn a_file_that_is_removed_before_it_is_locked_gets_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let removed =
            OpenFile::opened(&path, &FileLog::default(), || fs::remove_file(&path).unwrap());
        let error = removed.unwrap_err().to_string();
        assert_eq!(error, "it was moved or deleted while it was opened");
        OpenFile::at(&path, &FileLog::default()).unwrap().append(b"{}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
    }

    /// The other way round: a writer is faster than the check that made its file.
    #[test]
    fn a_check_leaves_the_file_that_a_writer_has_locked_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let connection =
            || Connection::new(from_toml(&format!("path = '{}'", path.display())).unwrap());
        let mut writer = connection();
        let error = connection().checked(|| writer.append(b"{\"id\":1}\n").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "another writer has it open");
        writer.append(b"{\"id\":2}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"id\":1}\n{\"id\":2}\n");
        // Alone, it leaves nothing behind.
        drop(writer);
        fs::remove_file(&path).unwrap();
        connection().check().unwrap();
        assert!(!path.exists());
    }

    /// What a failed write cuts the file back to.
    #[test]
    fn the_length_counts_every_line_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        for opened in 0..2 {
            let mut open = OpenFile::at(&path, &FileLog::default()).unwrap();
            for lines in ["{}\n", "{\"id\":1}\n{}\n", "{\"id\":23}\n"] {
                open = open.append(lines.as_bytes()).unwrap();
                assert_eq!(open.length, fs::metadata(&path).unwrap().len(), "{opened}: {lines}");
            }
        }
    }

    #[test]
    fn a_file_is_finished_by_its_size_or_its_age_and_by_no_age_while_it_is_empty() {
        let hour = Duration::from_hours(1);
        // Bytes of the file, its age in hours, the largest size and age, and whether it is finished.
        let cases = [
            (0, 0, 100, None, false),
            (0, 3, 100, Some(2 * hour), false),
            (99, 0, 100, None, false),
            (99, 3, 100, None, false),
            (100, 0, 100, None, true),
            (101, 0, 100, None, true),
            (1, 1, 100, Some(2 * hour), false),
            (1, 3, 100, Some(2 * hour), true),
            (100, 1, 100, Some(2 * hour), true),
        ];
        for (length, hours, bytes, age, finished) in cases {
            let created = SystemTime::now() - hours * hour;
            let open = OpenFile { file: tempfile::tempfile().unwrap(), length, created };
            let case = format!("{length} bytes, {hours} h, of {bytes} bytes, {age:?}");
            assert_eq!(open.is_finished(bytes, age), finished, "{case}");
        }
    }

    #[test]
    fn only_a_missing_file_counts_as_moved() {
        let folder = tempfile::tempdir().unwrap();
        let [held, other, missing] =
            ["held", "other", "missing"].map(|name| folder.path().join(name));
        let file = File::create(&held).unwrap();
        File::create(&other).unwrap();
        assert!(leads_to(&held, &file).unwrap());
        assert!(!leads_to(&other, &file).unwrap());
        assert!(!leads_to(&missing, &file).unwrap());
        // What stands in the way is told, not taken for a file that is gone.
        let below = held.join("events.jsonl");
        assert_eq!(leads_to(&below, &file).unwrap_err().kind(), ErrorKind::NotADirectory);
    }

    #[test]
    fn a_finished_file_that_cannot_be_renamed_is_an_error_unless_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        rename_finished(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(&path, "{}\n").unwrap();
        let below = path.join("events.jsonl");
        assert_eq!(rename_finished(&below).unwrap_err().kind(), ErrorKind::NotADirectory);
        rename_finished(&path).unwrap();
        let renamed = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        assert_ne!(renamed, path);
        assert_eq!(fs::read(renamed).unwrap(), b"{}\n");
    }
}
