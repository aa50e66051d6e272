//! A file: the sink, and a loop that writes as many lines and waits for the disk as often.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_event::ContentMode;
use cosmos_bridge_file::FileSink;
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{Change, Sink};
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::Failure;
use crate::contest::{Clock, Contest, Made, Took, event};

/// Lines per write.
const LINES: usize = 2000;

pub(crate) struct FileContest {
    folder: TempDir,
}

impl FileContest {
    /// A folder on a disk: `/tmp` may be in memory, where syncing costs nothing.
    pub(crate) fn start() -> Result<Self, Failure> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.jsonl")
    }
}

#[async_trait]
impl Contest for FileContest {
    fn name(&self) -> &'static str {
        "file"
    }

    fn changes(&self) -> u64 {
        100_000
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn sink(&self) -> Result<Arc<dyn Sink>, Failure> {
        let text = format!("path = '{}'\nrotate_bytes = \"1 TiB\"", self.path().display());
        Ok(Arc::new(FileSink::new("bench", from_toml(&text)?)))
    }

    async fn bare(&self, changes: &Arc<[Change]>, made: Made) -> Result<Took, Failure> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path())?;
        let mut lines = made.of(changes, 1, |changes| line(&changes[0])).peekable();
        block_in_place(|| {
            let clock = Clock::start();
            let mut text = Vec::new();
            while lines.peek().is_some() {
                text.clear();
                for line in lines.by_ref().take(LINES) {
                    text.extend_from_slice(&line);
                    text.push(b'\n');
                }
                file.write_all(&text)?;
                file.sync_data()?;
            }
            Ok(clock.stop())
        })
    }

    async fn arrived(&self, _count: usize) -> Result<Vec<String>, Failure> {
        Ok(std::fs::read_to_string(self.path())?.lines().map(str::to_owned).collect())
    }
}

fn line(change: &Change) -> Vec<u8> {
    event(ContentMode::Structured, change).body.unwrap_or_default()
}
