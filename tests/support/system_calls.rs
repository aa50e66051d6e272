//! The system calls of a bridge, recorded by strace, and which of its bytes they have made durable. A loss of power
//! takes what was not synced; a killed process keeps it, so no test that only kills can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::Bridge;

/// The calls that change files, names in folders, or what is durable of them.
const CALLS: &str = "trace=openat,write,writev,pwrite64,pwritev,ftruncate,fsync,fdatasync,rename,renameat,renameat2";

/// A bridge whose system calls are recorded.
pub(crate) struct Recorded {
    pub(crate) bridge: Bridge,
    file: PathBuf,
    /// The names in the folder of the configuration before it started.
    names: BTreeSet<String>,
}

/// What a bridge did, in order.
pub(crate) struct Recording {
    text: String,
    names: BTreeSet<String>,
}

/// How much of each file and folder is durable.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The number of writes to a file, or of new names in a folder, and how many of them are synced.
    written: BTreeMap<String, u64>,
    synced: BTreeMap<String, u64>,
}

impl Recorded {
    /// Starts a bridge under strace; `options` are added to those of strace.
    pub(crate) fn start(config: &Path, arguments: &[&str], options: &[&str]) -> Self {
        let folder = config.parent().unwrap();
        let names = std::fs::read_dir(folder).unwrap();
        let names = names.map(|entry| entry.unwrap().path().display().to_string()).collect();
        let file = folder.join("calls");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-y", "-qq", "-s", "0", "-e", CALLS])
            .args(options)
            .arg("-o")
            .arg(&file);
        // The bridge ends with strace, however that ends.
        command.args(["setpriv", "--pdeathsig", "KILL", env!("CARGO_BIN_EXE_cosmos-bridge")]);
        command.args(arguments).arg("--config").arg(config);
        Self { bridge: Bridge::spawn(command, config, &[]), file, names }
    }

    /// Sends SIGKILL to the bridge, and not to strace.
    pub(crate) async fn kill(self) -> Recording {
        let calls = std::fs::read_to_string(&self.file).unwrap();
        let first = calls.split(' ').next().unwrap().to_owned();
        let sent = Command::new("kill").args(["-KILL", &first]).status().await.unwrap();
        assert!(sent.success());
        self.ended(None).await
    }

    /// Waits for the end of the bridge, with this exit code; `None` if it was killed.
    pub(crate) async fn ended(self, code: Option<i32>) -> Recording {
        let ended = self.bridge.ended().await;
        assert_eq!(ended.code(), code, "{}", ended.log);
        let text = std::fs::read_to_string(&self.file).unwrap();
        std::fs::remove_file(&self.file).unwrap();
        Recording { text, names: self.names }
    }
}

impl Recording {
    /// Calls `on_write` with the path and the disk before each write to a file. Returns the disk at the end.
    pub(crate) fn replay(self, mut on_write: impl FnMut(&str, &Disk)) -> Disk {
        let (mut disk, mut names) = (Disk::default(), self.names);
        // Calls that were interrupted by those of other threads: the path, and what the call can sync.
        let mut pending: BTreeMap<&str, (String, u64)> = BTreeMap::new();
        for line in self.text.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            let succeeds = call.contains(") ") && call.ends_with("= 0");
            if call.starts_with("<... f") {
                if let Some((path, until)) = pending.remove(thread).filter(|_| succeeds) {
                    disk.sync(path, until);
                }
                continue;
            }
            let Some((name, arguments)) = call.split_once('(') else { continue };
            match name {
                "write" | "writev" | "pwrite64" | "pwritev" | "ftruncate" => {
                    let path = descriptor(arguments);
                    on_write(&path, &disk);
                    disk.write(path);
                }
                "fsync" | "fdatasync" => {
                    let path = descriptor(arguments);
                    let until = disk.written.get(&path).copied().unwrap_or(0);
                    if succeeds {
                        disk.sync(path, until);
                    } else {
                        pending.insert(thread, (path, until));
                    }
                }
                // The last path is the one that is made.
                "openat" if !arguments.contains("O_CREAT") => {}
                _ => {
                    let paths: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
                    let path = (*paths.last().unwrap()).to_owned();
                    if name != "openat" {
                        names.remove(paths[0]);
                        names.remove(&path);
                    }
                    if names.insert(path.clone()) {
                        disk.write(Path::new(&path).parent().unwrap().display().to_string());
                    }
                }
            }
        }
        disk
    }
}

impl Disk {
    /// True if all that was written to a file, or all names that were made in a folder, survive a loss of power.
    pub(crate) fn is_durable(&self, path: &str) -> bool {
        self.written.get(path) <= self.synced.get(path)
    }

    /// The number of writes to a file so far.
    pub(crate) fn writes(&self, path: &str) -> u64 {
        self.written.get(path).copied().unwrap_or(0)
    }

    fn write(&mut self, path: String) {
        *self.written.entry(path).or_default() += 1;
    }

    fn sync(&mut self, path: String, until: u64) {
        let synced = self.synced.entry(path).or_default();
        *synced = until.max(*synced);
    }
}

/// The path of the first argument, a descriptor: `12</folder/file>, ..`.
fn descriptor(arguments: &str) -> String {
    let path = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    path.map_or_else(String::new, |(path, _)| path.to_owned())
}
